package operation

import (
	"testing"

	"freshet/internal/policy"
)

const policySchema = `
	directive @cacheControl(maxAge: Int, scope: CacheControlScope, inheritMaxAge: Boolean)
		on FIELD_DEFINITION | OBJECT | INTERFACE | UNION
	directive @authenticated on FIELD_DEFINITION
	directive @requiresScopes(scopes: [[String!]!]!) on FIELD_DEFINITION
	enum CacheControlScope { PUBLIC PRIVATE }
	type Query {
		bare: Dog
		scalar: Int
		kept: Int @cacheControl(maxAge: 100)
		pets: [Pet!] @cacheControl(maxAge: 90)
		either: Either @cacheControl(maxAge: 80)
		page: Page @cacheControl(maxAge: 70)
		member: Dog @cacheControl(maxAge: 60) @authenticated
		admin: Dog @cacheControl(maxAge: 60) @requiresScopes(scopes: [["admin"]])
	}
	type Mutation { change: Int @cacheControl(maxAge: 100) }
	type Subscription { news: Int @cacheControl(maxAge: 100) }
	interface Pet { name: String!, owner: Owner, friends: [Pet!] @cacheControl(maxAge: 50) }
	type Dog implements Pet {
		name: String!
		owner: Owner
		friends: [Pet!] @cacheControl(maxAge: 50)
		tag: Int @cacheControl(maxAge: 5)
		chip: Int @cacheControl(scope: PRIVATE)
		vet: Owner @authenticated
	}
	type Cat implements Pet {
		name: String! @cacheControl(maxAge: 40)
		owner: Owner @cacheControl(maxAge: 3)
		friends: [Pet!] @cacheControl(maxAge: 10)
		lives: Int @cacheControl(maxAge: 9, scope: PRIVATE)
	}
	type Stone { name: String @cacheControl(maxAge: 20), weight: Int @cacheControl(maxAge: 0) }
	union Either = Dog | Stone
	type Owner @cacheControl(maxAge: 30) { name: String, secret: Int @cacheControl(scope: PRIVATE) }
	type Page @cacheControl(inheritMaxAge: true) { dogs: [Dog!] @cacheControl(inheritMaxAge: true), next: Page, info: Stone }
`

func (p Policy) words() string {
	text := p.MaxAge.String()
	if p.AgeBy+p.AgeRule != "" {
		text += " by " + p.AgeBy + " of " + p.AgeRule
	}
	if p.Scope == policy.Private {
		text += ", private by " + p.ScopeBy + " of " + p.ScopeRule
	}
	if p.Authorised {
		text += ", authorised"
	}
	return text
}

func TestPolicy_Apollo(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, policySchema, Options{Introspection: true})
	for text, want := range map[string]string{
		`{__typename}`:      "0s",
		`{kept __typename}`: "1m40s by kept of Query.kept",
		`{scalar}`:          "0s by scalar of Query.scalar",
		`{bare{name}}`:      "0s by bare of Query.bare",
		`{kept page{next{next{next{__typename}}}}}`:             "1m10s by page of Query.page",
		`{kept page{dogs{name}}}`:                               "1m10s by page of Query.page",
		`{a:page{d:dogs{t:tag}}}`:                               "5s by a.d.t of Dog.tag",
		`{page{info{name}}}`:                                    "0s by page.info of Page.info",
		`{page{dogs{owner{name}}}}`:                             "30s by page.dogs.owner of Owner",
		`{page{dogs{chip}} kept}`:                               "1m10s by page of Query.page, private by page.dogs.chip of Dog.chip",
		`{pets{name}}`:                                          "40s by pets.name of Cat.name",
		`{pets{...on Dog{name}}}`:                               "1m30s by pets of Query.pets",
		`{pets{...on Cat{name}}}`:                               "40s by pets.name of Cat.name",
		`{pets{owner{name}}}`:                                   "3s by pets.owner of Cat.owner",
		`{pets{friends{...on Dog{tag}}}}`:                       "5s by pets.friends.tag of Dog.tag",
		`{pets{...{...on Pet{...F}}}} fragment F on Cat{lives}`: "9s by pets.lives of Cat.lives, private by pets.lives of Cat.lives",
		`{pets{...F ...G}} fragment F on Dog{tag} fragment G on Cat{...on Pet{owner{secret}}}`: "3s by pets.owner of Cat.owner, private by pets.owner.secret of Owner.secret",
		`{pets{...F}} fragment F on Dog{name}`:                                                 "1m30s by pets of Query.pets",
		// What no object can be is never there.
		`{pets{...on Dog{name ...on Pet{...on Cat{lives}}}}}`: "1m30s by pets of Query.pets",
		`{either{__typename}}`:                                "1m20s by either of Query.either",
		`{either{...on Stone{name}}}`:                         "20s by either.name of Stone.name",
		`{either{...on Stone{weight} ...on Dog{name}}}`:       "0s by either.weight of Stone.weight",
		`{either{...on Pet{name}}}`:                           "1m20s by either of Query.either",
		`{member{name}}`:                                      "1m0s by member of Query.member, authorised",
		`{admin{name}}`:                                       "1m0s by admin of Query.admin, authorised",
		`{page{dogs{vet{name}}}}`:                             "30s by page.dogs.vet of Owner, authorised",
		`{kept __type(name:"Dog"){name}}`:                     "0s by __type of Query.__type",
		`{kept s:__schema{types{name}}}`:                      "0s by s of Query.__schema",
		`{kept scalar @skip(if:true)}`:                        "1m40s by kept of Query.kept",
		`{kept scalar @include(if:false)}`:                    "1m40s by kept of Query.kept",
		`{kept scalar @skip(if:false)}`:                       "0s by scalar of Query.scalar",
		`{kept ...@include(if:false){scalar} ...F@skip(if:true)} fragment F on Query{scalar}`: "1m40s by kept of Query.kept",
		`mutation{change}`:     "0s by  of Mutation",
		`mutation{__typename}`: "0s by  of Mutation",
		`subscription{news}`:   "0s by  of Subscription",
	} {
		o := only(t, c, text)
		if got := o.Policy(nil).words(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		if got := o.Policy(with(t, o, nil)); got != o.Policy(nil) {
			t.Errorf("%s with variables: got %s, want %s", text, got.words(), o.Policy(nil).words())
		}
		if got, want := o.Cacheable(), o.Policy(nil).MaxAge > 0; got != want {
			t.Errorf("%s: got cacheable %v, want %v", text, got, want)
		}
	}
}

func TestPolicy_Conditions(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, policySchema, Options{})
	for _, r := range []struct {
		text                           string
		whenTrue, whenFalse, strictest string
		cacheable                      bool
	}{
		{`query($x:Boolean!){kept scalar @include(if:$x)}`, "0s by scalar of Query.scalar", "1m40s by kept of Query.kept", "0s by scalar of Query.scalar", true},
		{`query($x:Boolean!){kept scalar @skip(if:$x)}`, "1m40s by kept of Query.kept", "0s by scalar of Query.scalar", "0s by scalar of Query.scalar", true},
		{`query($x:Boolean=true){kept scalar @include(if:$x)}`, "0s by scalar of Query.scalar", "1m40s by kept of Query.kept", "0s by scalar of Query.scalar", true},
		{`query($x:Boolean!){kept ...@include(if:$x){page{dogs{tag}}}}`, "5s by page.dogs.tag of Dog.tag", "1m40s by kept of Query.kept", "5s by page.dogs.tag of Dog.tag", true},
		{`query($x:Boolean!){kept ...F @include(if:$x)} fragment F on Query{page{dogs{chip}}}`, "1m10s by page of Query.page, private by page.dogs.chip of Dog.chip", "1m40s by kept of Query.kept", "1m10s by page of Query.page, private by page.dogs.chip of Dog.chip", true},
		{`query($x:Boolean!){kept scalar @skip(if:$x) @include(if:$x)}`, "1m40s by kept of Query.kept", "1m40s by kept of Query.kept", "0s by scalar of Query.scalar", true},
		{`query($x:Boolean!){kept @include(if:$x) scalar}`, "0s by scalar of Query.scalar", "0s by scalar of Query.scalar", "0s by scalar of Query.scalar", false},
		{`query($x:Boolean!){kept @include(if:$x)}`, "1m40s by kept of Query.kept", "0s", "1m40s by kept of Query.kept", true},
		{`query($x:Boolean!){bare @include(if:$x){name}}`, "0s by bare of Query.bare", "0s", "0s by bare of Query.bare", false},
		{`query($x:Boolean!){page @include(if:$x){info{name}}}`, "0s by page.info of Page.info", "0s", "0s by page.info of Page.info", true},
		{`mutation($x:Boolean!){change @include(if:$x)}`, "0s by  of Mutation", "0s by  of Mutation", "0s by  of Mutation", false},
	} {
		o := only(t, c, r.text)
		for x, want := range map[bool]string{true: r.whenTrue, false: r.whenFalse} {
			if got := o.Policy(with(t, o, map[string]any{"x": x})).words(); got != want {
				t.Errorf("%s, x %v: got %s, want %s", r.text, x, got, want)
			}
		}
		if got := o.Policy(nil).words(); got != r.strictest {
			t.Errorf("%s, any x: got %s, want %s", r.text, got, r.strictest)
		}
		if got := o.Cacheable(); got != r.cacheable {
			t.Errorf("%s: got cacheable %v, want %v", r.text, got, r.cacheable)
		}
	}
}

// Conditions on fragments of interfaces, unions and their types count for the types that are left.
func TestPolicy_ConditionsOnAbstractTypes(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, policySchema, Options{})
	const (
		pets    = "1m30s by pets of Query.pets"
		either  = "1m20s by either of Query.either"
		name    = "40s by pets.name of Cat.name"
		lives   = "9s by pets.lives of Cat.lives, private by pets.lives of Cat.lives"
		chip    = "1m30s by pets of Query.pets, private by pets.chip of Dog.chip"
		oneChip = "1m20s by either of Query.either, private by either.chip of Dog.chip"
		weight  = "0s by either.weight of Stone.weight"
	)
	for _, r := range []struct{ text, whenTrue, whenFalse, strictest string }{
		{`query($x:Boolean!){pets{...on Dog{name} ...on Cat@include(if:$x){lives}}}`, lives, pets, lives},
		{`query($x:Boolean!){pets{...on Dog{name} ...on Cat@skip(if:$x){lives}}}`, pets, lives, lives},
		{`query($x:Boolean!){pets{...on Dog{chip@include(if:$x)} ...on Cat{__typename}}}`, chip, pets, chip},
		{`query($x:Boolean!){pets{...on Pet@include(if:$x){...on Dog{chip}} ...F@skip(if:$x)}} fragment F on Cat{name}`, chip, name, name + ", private by pets.chip of Dog.chip"},
		{`query($x:Boolean!){pets{...on Dog{...on Pet@skip(if:$x){...F}}}} fragment F on Cat{lives}`, pets, pets, pets},
		{`query($x:Boolean!){pets{...F@include(if:$x)}} fragment F on Dog{name owner{__typename}}`, "30s by pets.owner of Owner", pets, "30s by pets.owner of Owner"},
		{`query($x:Boolean!){pets{...F@include(if:$x) ...F@skip(if:$x)}} fragment F on Cat{lives}`, lives, lives, lives},
		{`query($x:Boolean!){pets{...on Cat@skip(if:$x)@include(if:$x){lives} ...on Dog{name}}}`, pets, pets, lives},
		{`query($x:Boolean!){pets{name:__typename ...on Dog@include(if:$x){n:name} ...on Cat@skip(if:$x){n:name}}}`, pets, "40s by pets.n of Cat.name", "40s by pets.n of Cat.name"},
		{`query($x:Boolean!){either{...on Stone@include(if:$x){weight} ...on Dog{name}}}`, weight, either, weight},
		{`query($x:Boolean!){either{...on Pet@include(if:$x){...on Dog{chip}} ...on Stone@skip(if:$x){weight}}}`, oneChip, weight, weight + ", private by either.chip of Dog.chip"},
		{`query($x:Boolean!){either{...on Either@skip(if:$x){...on Stone{weight}} __typename}}`, either, weight, weight},
		{`query($x:Boolean!){pets{...on Dog@include(if:$x){vet{__typename}}}}`, "30s by pets.vet of Owner, authorised", pets, "30s by pets.vet of Owner, authorised"},
	} {
		o := only(t, c, r.text)
		for x, want := range map[bool]string{true: r.whenTrue, false: r.whenFalse} {
			if got := o.Policy(with(t, o, map[string]any{"x": x})).words(); got != want {
				t.Errorf("%s, x %v: got %s, want %s", r.text, x, got, want)
			}
		}
		if got := o.Policy(nil).words(); got != r.strictest {
			t.Errorf("%s, any x: got %s, want %s", r.text, got, r.strictest)
		}
		if !o.Cacheable() {
			t.Errorf("%s: got not cacheable, want cacheable", r.text)
		}
	}
}

// What a name of a result is made of tells apart selections of an abstract type that differ in a type, an alias or a
// condition.
func TestPolicy_NamesOnAbstractTypesDiffer(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, policySchema, Options{})
	known := map[[32]byte]string{}
	for _, text := range []string{
		`query($x:Boolean!){pets{...on Dog@include(if:$x){name}}}`,
		`query($x:Boolean!){pets{...on Dog@skip(if:$x){name}}}`,
		`query($x:Boolean!){pets{...on Cat@include(if:$x){name}}}`,
		`query($x:Boolean!){pets{...on Pet@include(if:$x){name}}}`,
		`query($x:Boolean!){pets{...@include(if:$x){name}}}`,
		`query($x:Boolean!){pets{...on Dog{name@include(if:$x)}}}`,
		`query($x:Boolean!){pets{...on Dog@include(if:$x){n:name}}}`,
		`query($x:Boolean!){pets{...F@include(if:$x)}} fragment F on Dog{name}`,
		`query($x:Boolean!){pets{...F@include(if:$x)}} fragment F on Cat{name}`,
		`query($x:Boolean!){either{...on Dog@include(if:$x){name}}}`,
		`query($x:Boolean!){either{...on Stone@include(if:$x){name}}}`,
	} {
		o := only(t, c, text)
		if other := known[o.Hash]; other != "" {
			t.Errorf("%s: got the hash of %s, want its own", text, other)
		}
		known[o.Hash] = text
		if on, off := with(t, o, map[string]any{"x": true}).Canonical, with(t, o, map[string]any{"x": false}).Canonical; on == off {
			t.Errorf("%s: got %s for either value of x, want two", text, on)
		}
	}
}

func TestPolicy_RealSchema(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	for text, want := range map[string]string{
		`{feed{nodes{id title}}}`:                                            "1m0s by feed of Query.feed, private by feed of Query.feed, authorised",
		`{feed{edges{node{counts{likes}}} pageInfo{endCursor}}}`:             "30s by feed.edges.node.counts of PostCounts, private by feed of Query.feed, authorised",
		`{post(id:1){title body author{name}}}`:                              "5m0s by post of Post",
		`{post(id:1){title viewerHasLiked}}`:                                 "5m0s by post of Post, private by post.viewerHasLiked of Post.viewerHasLiked",
		`{profile(id:1){name posts{nodes{title}}}}`:                          "2m0s by profile.posts of Profile.posts",
		`{p:profileByHandle(handle:"a"){c:counts{followers}}}`:               "30s by p.c of ProfileCounts",
		`{config(platform:IOS){version features{name enabled} values{key}}}`: "1h0m0s by config of Query.config",
		`{viewer{settings{theme} profile{name}}}`:                            "5m0s by viewer of Query.viewer, private by viewer of Query.viewer, authorised",
		`{viewer{sessions{device current}}}`:                                 "0s by viewer.sessions.current of Session.current, private by viewer of Query.viewer, authorised",
		`mutation{follow(input:{profileId:1}){profile{id}}}`:                 "0s by follow of Mutation.follow, authorised",
	} {
		if got := only(t, c, text).Policy(nil).words(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
