package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

const prelude = `
	directive @cacheControl(maxAge: Int, scope: CacheControlScope, inheritMaxAge: Boolean)
		on FIELD_DEFINITION | OBJECT | INTERFACE | UNION
	directive @cacheTag(format: String!) repeatable on FIELD_DEFINITION | OBJECT
	enum CacheControlScope { PUBLIC PRIVATE }
`

func parse(t *testing.T, text string) *ast.Schema {
	t.Helper()
	schema, err := gqlparser.LoadSchema(&ast.Source{Input: prelude + text})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func read(t *testing.T, text string) *Table {
	t.Helper()
	table, err := Read(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// What Apollo Server's plugin does, written out place by place: static hints of the returned type, the field's over
// them, then the default of 0 for root fields and for fields that return objects.
func TestRules_Apollo(t *testing.T) {
	t.Parallel()
	table := read(t, `
		type Query {
			bare: Plain
			scalar: Int
			kept: Kept
			keptList: [Kept!]!
			shorter: Kept @cacheControl(maxAge: 5)
			uncached: Kept @cacheControl(maxAge: 0)
			inheritingRoot: Plain @cacheControl(inheritMaxAge: true)
			inheritingScalarRoot: Int @cacheControl(inheritMaxAge: true)
			page: Page
			scalarKept: Int @cacheControl(maxAge: 7)
			either: Either
			named: Named
			mine: Mine
			mineForAll: Mine @cacheControl(scope: PUBLIC)
			privately: Kept @cacheControl(scope: PRIVATE)
		}
		type Mutation { change: Kept, plain: Plain }
		type Subscription { news: Int }
		type Plain {
			scalar: Int
			list: [Int!]!
			enum: CacheControlScope
			object: Plain
			kept: Kept
			page: Page
			inheriting: Plain @cacheControl(inheritMaxAge: true)
			inheritingPrivately: Plain @cacheControl(inheritMaxAge: true, scope: PRIVATE)
			inheritingKept: Kept @cacheControl(inheritMaxAge: true)
			inheritingAndMaxAge: Plain @cacheControl(inheritMaxAge: true, maxAge: 9)
			notInheriting: Plain @cacheControl(inheritMaxAge: false)
			timedPage: Page @cacheControl(maxAge: 3)
			secret: Int @cacheControl(scope: PRIVATE)
			short: Int @cacheControl(maxAge: 2)
			both: Both
		}
		type Kept @cacheControl(maxAge: 60) { id: ID }
		type Page @cacheControl(inheritMaxAge: true) { id: ID }
		type Both @cacheControl(inheritMaxAge: true, maxAge: 50) { id: ID }
		type Mine @cacheControl(maxAge: 30, scope: PRIVATE) { id: ID }
		interface Named @cacheControl(maxAge: 40) { name: String }
		type Person implements Named { name: String }
		union Either @cacheControl(maxAge: 20) = Kept | Page
	`)
	for coordinate, want := range map[string]string{
		"Query.bare":                 "not cached",
		"Query.scalar":               "not cached",
		"Query.kept":                 "1 min",
		"Query.keptList":             "1 min",
		"Query.shorter":              "5 s",
		"Query.uncached":             "not cached",
		"Query.inheritingRoot":       "not cached",
		"Query.inheritingScalarRoot": "not cached",
		"Query.page":                 "not cached",
		"Query.scalarKept":           "7 s",
		"Query.either":               "20 s",
		"Query.named":                "40 s",
		"Query.mine":                 "30 s, private",
		"Query.mineForAll":           "30 s",
		"Query.privately":            "1 min, private",
		"Mutation.change":            "1 min",
		"Mutation.plain":             "not cached",
		"Subscription.news":          "not cached",
		"Plain":                      "not cached",
		"Plain.scalar":               "as its parent",
		"Plain.list":                 "as its parent",
		"Plain.enum":                 "as its parent",
		"Plain.object":               "not cached",
		"Plain.kept":                 "1 min",
		"Plain.page":                 "as its parent",
		"Plain.inheriting":           "as its parent",
		"Plain.inheritingPrivately":  "as its parent, private",
		"Plain.inheritingKept":       "1 min",
		"Plain.inheritingAndMaxAge":  "as its parent",
		"Plain.notInheriting":        "not cached",
		"Plain.timedPage":            "3 s",
		"Plain.secret":               "as its parent, private",
		"Plain.short":                "2 s",
		"Plain.both":                 "as its parent",
		"Kept":                       "1 min",
		"Page":                       "as its parent",
		"Both":                       "as its parent",
		"Mine":                       "30 s, private",
		"Named":                      "40 s",
		"Either":                     "20 s",
		"Person":                     "not cached", // an interface's hint is not its implementations'
	} {
		rule, known := table.Rule(coordinate)
		if got := rule.String(); !known || got != want {
			t.Errorf("%s: got %q, known %v, want %q", coordinate, got, known, want)
		}
	}
}

func TestRules_ListsEveryPlaceOnce(t *testing.T) {
	t.Parallel()
	table := read(t, `type Query { b: Int, a: Thing } type Thing { id: ID } input In { x: Int }`)
	var got []string
	for _, rule := range table.Rules() {
		got = append(got, rule.Coordinate)
	}
	if want := []string{"Query", "Query.a", "Query.b", "Thing", "Thing.id"}; !slices.Equal(got, want) {
		t.Errorf("coordinates: got %q, want %q", got, want)
	}
	if rule, known := table.Rule("Query.c"); known {
		t.Errorf("a field that is not there: got the rule %v, want none", rule)
	}
}

func TestRules_Tags(t *testing.T) {
	t.Parallel()
	table := read(t, `
		type Query {
			thing(id: ID!): Thing @cacheTag(format: "asked:{$args.id}")
			mine: Thing @cacheControl(scope: PRIVATE) @cacheTag(format: "mine:{$viewer.id}") @cacheTag(format: "all")
		}
		type Thing @cacheTag(format: "thing:{$key.id}") { id: ID, name: String @cacheTag(format: "name:{$key.id}") }
	`)
	for coordinate, want := range map[string]string{
		"Query.thing": "thing:{$key.id} asked:{$args.id}",
		"Query.mine":  "thing:{$key.id} mine:{$viewer.id} all",
		"Thing":       "thing:{$key.id}",
		"Thing.name":  "name:{$key.id}",
		"Thing.id":    "",
	} {
		rule, _ := table.Rule(coordinate)
		if got := strings.Join(rule.Tags, " "); got != want {
			t.Errorf("tags of %s: got %q, want %q", coordinate, got, want)
		}
	}
}

func TestRead_RefusesTagsThatCannotBeFilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, place string }{
		{`type Query { a: Thing } type Thing @cacheTag(format: "thing:{$key.name}") { id: ID }`, "Thing:"},
		{`type Query { a(id: ID): Int @cacheTag(format: "a:{$args.name}") }`, "Query.a:"},
		{`type Query { a: Thing } type Thing @cacheTag(format: "thing:{$args.id}") { id: ID }`, "Thing:"},
		{`type Query { a: Int @cacheTag(format: "a:{$viewer.id}") }`, "Query.a:"},
		{`type Query { a: Int @cacheControl(scope: PRIVATE) @cacheTag(format: "a:{$viewer.name}") }`, "Query.a:"},
		{`type Query { a: Thing } type Thing @cacheTag(format: "t:{$viewer.id}") { id: ID }`, "Thing:"},
		{`type Query { a: Int @cacheTag(format: "a:{id}") }`, "Query.a:"},
		{`type Query { a: Int @cacheTag(format: "a:{}") }`, "Query.a:"},
		{`type Query { a(id: ID): Int @cacheTag(format: "a:{$args.id") }`, "Query.a:"},
		{`type Query { a(id: ID): Int @cacheTag(format: "a:$args.id}") }`, "Query.a:"},
		{`type Query { a(id: ID): Int @cacheTag(format: "ok:{$args.id}") @cacheTag(format: "a:{$args.id}:{$args.x}") }`, "Query.a:"},
	} {
		_, err := Read(parse(t, c.schema))
		if err == nil || !strings.Contains(err.Error(), c.place) {
			t.Errorf("%s: got %v, want an error that names %q", c.schema, err, c.place)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	table := read(t, `
		type Query {
			thing(id: ID!): Thing @cacheTag(format: "asked:{$args.id}")
			mine: [Thing] @cacheControl(maxAge: 10, scope: PRIVATE) @cacheTag(format: "mine:{$viewer.id}")
			alsoMine: Thing @cacheControl(maxAge: 10, scope: PRIVATE) @cacheTag(format: "also:{$viewer.id}")
		}
		type Thing @cacheControl(maxAge: 60) @cacheTag(format: "thing:{$key.id}") {
			id: ID
			liked: Boolean @cacheControl(maxAge: 20, scope: PRIVATE)
		}
	`)
	got, err := table.Resolve([]Kind{
		{Name: "thing", Follows: []string{"Thing"}},
		{Name: "liked", Follows: []string{"Thing.liked"}},
		{Name: "mine", Follows: []string{"Query.mine", "Query.alsoMine"}},
	}, []string{"thing", "mine", "also"})
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]Effective{
		"thing": {TTL: time.Minute, Scope: Public, Tags: []string{"thing:{$key.id}"}},
		"liked": {TTL: 20 * time.Second, Scope: Private},
		"mine":  {TTL: 10 * time.Second, Scope: Private, Tags: []string{"mine:{$viewer.id}", "also:{$viewer.id}"}},
	} {
		if g := got[kind]; g.TTL != want.TTL || g.Scope != want.Scope || !slices.Equal(g.Tags, want.Tags) {
			t.Errorf("kind %s: got %+v, want %+v", kind, g, want)
		}
	}
}

func TestResolve_RefusalsNameThePlace(t *testing.T) {
	t.Parallel()
	table := read(t, `
		type Query {
			minute: Int @cacheControl(maxAge: 60)
			hour: Int @cacheControl(maxAge: 3600)
			mine: Int @cacheControl(maxAge: 60, scope: PRIVATE)
			never: Int
			thing: Thing
		}
		type Thing @cacheControl(maxAge: 60) @cacheTag(format: "thing:{$key.id}") {
			id: ID
			liked: Boolean @cacheControl(scope: PRIVATE)
		}
		type Page @cacheControl(inheritMaxAge: true) { id: ID }
	`)
	for _, c := range []struct {
		name    string
		kind    Kind
		emitted []string
		want    []string
	}{
		{"nowhere", Kind{"k", []string{"Query.none"}}, nil, []string{"kind k", "Query.none", "not in the schema"}},
		{"not cached", Kind{"k", []string{"Query.never"}}, nil, []string{"kind k", "Query.never"}},
		{"inheriting", Kind{"k", []string{"Page"}}, nil, []string{"kind k", "Page"}},
		{"two TTLs", Kind{"k", []string{"Query.minute", "Query.hour"}}, nil, []string{"kind k", "Query.minute", "1m0s", "Query.hour", "1h0m0s"}},
		{"two scopes", Kind{"k", []string{"Query.minute", "Query.mine"}}, nil, []string{"kind k", "PUBLIC", "Query.mine", "PRIVATE"}},
		{"tag that nothing emits", Kind{"k", []string{"Thing"}}, []string{"things"}, []string{"kind k", "thing:{$key.id}"}},
		{"PRIVATE in PUBLIC", Kind{"k", []string{"Thing"}}, []string{"thing"}, []string{"kind k", "Thing.liked", "PRIVATE"}},
	} {
		_, err := table.Resolve([]Kind{c.kind}, c.emitted)
		for _, part := range c.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %v, want an error with %q", c.name, err, part)
			}
		}
	}
	_, err := table.Resolve([]Kind{{"one", []string{"Query.none"}}, {"two", []string{"Query.never"}}}, nil)
	if err == nil || !strings.Contains(err.Error(), "Query.none") || !strings.Contains(err.Error(), "Query.never") {
		t.Errorf("two kinds that can't hold: got %v, want an error that names both", err)
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	values := map[string]string{"$key.id": "42", "$viewer.id": "{$key.id}", "$args.x": ""}
	for template, want := range map[string]string{
		"":                                "",
		"plain":                           "plain",
		"post:{$key.id}":                  "post:42",
		"liked:{$viewer.id}:{$key.id}:on": "liked:{$key.id}:42:on", // what a value holds stays as it is
		"x:{$args.x}":                     "x:",
		"open:{$key.id":                   "open:",
		"}{$key.id}{":                     "}42",
	} {
		if got := Fill(template, func(name string) string { return values[name] }); got != want {
			t.Errorf("Fill(%q): got %q, want %q", template, got, want)
		}
	}
}
