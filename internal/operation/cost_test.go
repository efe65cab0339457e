package operation

import (
	"math"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
)

const costSchema = `
	directive @cacheControl(maxAge: Int) on FIELD_DEFINITION
	directive @cost(weight: String!) on ARGUMENT_DEFINITION | ENUM | FIELD_DEFINITION | INTERFACE | OBJECT | SCALAR | UNION
	directive @listSize(assumedSize: Int, slicingArguments: [String!], sizedFields: [String!], requireOneSlicingArgument: Boolean = true)
		on FIELD_DEFINITION
	type Query {
		leaf: Int
		thing: Thing
		things: [Thing]
		dear: Dear
		dearer: Dear @cost(weight: "7")
		search(text: String @cost(weight: "2.5"), n: Int): Thing
		scalars: [Int] @listSize(assumedSize: 1000)
		assumed: [Thing] @listSize(assumedSize: 5)
		sliced(first: Int, last: Int): [Thing] @listSize(slicingArguments: ["first", "last"])
		loose(first: Int = 3, last: Int): [Thing]
			@listSize(assumedSize: 4, slicingArguments: ["first", "last"], requireOneSlicingArgument: false)
		page(first: Int = 20): Page @listSize(assumedSize: 50, slicingArguments: ["first"], sizedFields: ["edges", "nodes"])
		cheap: Cheap
		named: Named
	}
	type Mutation { leaf: Int, thing: Thing, dear: Dear, free: Int @cost(weight: "0") }
	type Thing implements Named { name: String, next: Thing, page(first: Int = 20): Page @listSize(slicingArguments: ["first"], sizedFields: ["nodes"]) }
	type Page { edges: [Edge], nodes: [Thing], info: Int }
	type Edge @cost(weight: "0") { node: Thing }
	type Dear implements Named @cost(weight: "3") { name: String @cost(weight: "4"), lists: [Dear] @listSize(assumedSize: 2) }
	type Cheap @cost(weight: "0.3") { name: String }
	interface Named { name: String }
`

func TestCost_Fields(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, costSchema, Options{Introspection: true, Limits: Limits{Cost: math.MaxInt32}})
	for text, want := range map[string]int{
		`{leaf __typename}`:                                    0,
		`{thing{name}}`:                                        1,
		`{thing{next{next{name}}}}`:                            3,
		`{things{name}}`:                                       10,
		`{things{next{name}}}`:                                 20,
		`{dear{name}}`:                                         7,
		`{dearer{lists{name}}}`:                                7 + 2*7,
		`{search{name}}`:                                       1,
		`{search(n:1){name}}`:                                  1,
		`{search(text:"a"){name}}`:                             4, // 3.5, rounded up
		`{scalars}`:                                            0,
		`{assumed{next{name}}}`:                                10,
		`{sliced(first:7){name}}`:                              7,
		`{sliced(last:0){name}}`:                               0,
		`{sliced(first:-5){name}}`:                             0,
		`{sliced(first:null){name}}`:                           10,
		`{loose{name}}`:                                        3,
		`{loose(last:9){name}}`:                                9,
		`{loose(first:2,last:1){name}}`:                        2,
		`{page{info}}`:                                         1,
		`{page{nodes{name}}}`:                                  21,
		`{page(first:3){nodes{name} edges{node{name}}}}`:       1 + 3 + 3,
		`{page(first:null){nodes{name}}}`:                      51,
		`{page(first:3){n:nodes{page(first:2){nodes{name}}}}}`: 1 + 3*(1+1+2),
		`{page(first:2){...{...F}}} fragment F on Page{nodes{name}}`:      3,
		`{page(first:2){nodes{name} nodes{name}}}`:                        5,
		`{cheap{name} a:cheap{name}}`:                                     1, // 0.6
		`{named{name}}`:                                                   5, // as the dearest that it can be
		`{named{...on Thing{name}}}`:                                      1,
		`mutation{leaf thing{name}}`:                                      20,
		`mutation{dear{name}}`:                                            14,
		`mutation{free}`:                                                  0,
		`{__schema{types{fields{name}}}}`:                                 weightIntrospection,
		`{thing @skip(if:true){name} ...@include(if:false){thing{name}}}`: 0,
	} {
		o := only(t, c, text)
		if got := o.Cost(nil); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
		if got := o.Cost(with(t, o, nil)); got != want {
			t.Errorf("%s with variables: got %d, want %d", text, got, want)
		}
	}
}

func TestCost_Variables(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, costSchema, Options{Limits: Limits{Cost: math.MaxInt32}})
	for _, r := range []struct {
		text, given string
		want, any   int
	}{
		{`query($n:Int){page(first:$n){nodes{name}}}`, `{"n":5}`, 6, 21},
		{`query($n:Int){page(first:$n){nodes{name}}}`, `{}`, 21, 21},
		{`query($n:Int=2){page(first:$n){nodes{name}}}`, `{}`, 3, 3},
		{`query($n:Int=2){page(first:$n){nodes{name}}}`, `{"n":4}`, 5, 3},
		{`query($n:Int){page(first:$n){nodes{page(first:$n){nodes{name}}}}}`, `{"n":3}`, 1 + 3*(2+3), 1 + 20*(2+20)},
		{`query($n:Int){sliced(first:$n){name}}`, `{}`, 10, 10},
		{`query($n:Int){sliced(first:$n){name}}`, `{"n":2000000000}`, 2_000_000_000, 10},
		{`query($n:Int){page(first:$n){nodes{page(first:$n){nodes{page(first:$n){nodes{name}}}}}}}`, `{"n":2000000000}`, 1<<31 - 1, 8841},
		{`query($x:Boolean!){thing @include(if:$x){name}}`, `{"x":false}`, 0, 1},
		{`query($x:Boolean!){thing @include(if:$x){name}}`, `{"x":true}`, 1, 1},
	} {
		o := only(t, c, r.text)
		if got := o.Cost(with(t, o, decoded(t, r.given))); got != r.want {
			t.Errorf("%s %s: got %d, want %d", r.text, r.given, got, r.want)
		}
		if got := o.Cost(nil); got != r.any {
			t.Errorf("%s, nothing given: got %d, want %d", r.text, got, r.any)
		}
	}
}

func TestCost_RequiresOneSlicingArgument(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, costSchema, Options{})
	for text, ok := range map[string]bool{
		`{sliced{name}}`: false, `{sliced(first:1,last:1){name}}`: false, `{sliced(last:1){name}}`: true, `{loose(first:1,last:1){name}}`: true, `{page{info}}`: true,
	} {
		_, errs := c.Compile(text)
		if ok != (errs == nil) {
			t.Errorf("%s: got %v, want a document: %v", text, errs, ok)
		}
		if want := `Field "sliced" needs exactly one of the arguments "first" or "last".`; !ok && errs[0].Message != want {
			t.Errorf("%s: got %s, want %s", text, errs[0].Message, want)
		}
	}
}

func TestCost_Limit(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	three := only(t, c, `query($n:Int){feed(first:$n){nodes{author{posts(first:$n){nodes{author{posts(first:$n){nodes{id}}}}}}}}}`)
	_, errs := three.Variables(map[string]any{"n": int64(100)})
	if len(errs) != 1 || errs[0].Extensions["code"] != "COST_ESTIMATED_TOO_EXPENSIVE" {
		t.Fatalf("three lists of 100: got %v, want COST_ESTIMATED_TOO_EXPENSIVE", errs)
	}
	if want := "the operation costs 1030301 by estimate, and the limit is 5000: ask for fewer entries of lists"; errs[0].Message != want {
		t.Errorf("message: got %s, want %s", errs[0].Message, want)
	}
	with(t, three, map[string]any{"n": int64(5)})
}

// TestCost_Screens has what an app asks for at most in one screen: a tenth of the limit.
func TestCost_Screens(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	for text, want := range map[string]int{
		`{feed(first:100){nodes{id title author{handle avatarUrl} counts{likes} viewerHasLiked} pageInfo{endCursor}}}`:                                     241,
		`{feed{edges{cursor node{id author{name counts{followers} viewerFollows posts(first:3){nodes{id title}}} counts{likes}}}}}`:                        133,
		`{profile(id:1){name counts{followers} posts(first:50){nodes{id counts{likes}}} followers{nodes{handle viewerFollows}} following{nodes{handle}}}}`: 109,
		`{viewer{profile{handle} settings{theme} sessions{device}} config(platform:IOS){features{name enabled} values{key value}}}`:                        14,
		`mutation{publishPost(input:{title:"a",body:"b",category:"c",language:"en"}){post{id author{name}} userErrors{message}}}`:                          12,
	} {
		if got := only(t, c, text).Cost(nil); got != want || got > c.limits.Cost/10 {
			t.Errorf("%s: got %d, want %d, and %d at most", text, got, want, c.limits.Cost/10)
		}
	}
}

// TestCost_EveryListHasASize so that the default for lists is for none that reads anything.
func TestCost_EveryListHasASize(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	sized := map[string]bool{}
	for field, p := range c.prices {
		if p.list != nil {
			for _, name := range p.list.sized {
				sized[field.Type.Name()+"."+name] = true
			}
		}
	}
	for name, def := range c.schema.Types {
		for _, field := range def.Fields {
			isList := def.Kind == ast.Object && field.Type.Elem != nil && c.schema.Types[field.Type.Name()].IsCompositeType()
			free := c.prices[field] != nil && c.prices[field].weight == 0
			if isList && !free && !strings.HasPrefix(name, "__") && !sized[name+"."+field.Name] && field.Directives.ForName("listSize") == nil {
				t.Errorf("%s.%s: got no @listSize, want one", name, field.Name)
			}
		}
	}
}
