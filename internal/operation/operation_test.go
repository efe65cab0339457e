package operation

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/policy"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// compiler is for the schema in the text.
func compilerFor(t testing.TB, text string, o Options) *Compiler {
	t.Helper()
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphqls", Input: text})
	if err != nil {
		t.Fatal(err)
	}
	o.Schema = schema
	if o.Policy, err = policy.Read(schema); err != nil {
		t.Fatal(err)
	}
	return NewCompiler(o)
}

// realCompiler is for the schema that Freshet serves.
func realCompiler(t testing.TB, o Options) *Compiler {
	t.Helper()
	text, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	return compilerFor(t, string(text), o)
}

// only compiles a document of one operation.
func only(t testing.TB, c *Compiler, text string) *Operation {
	t.Helper()
	d, errs := c.Compile(text)
	if errs != nil {
		t.Fatalf("compile %s: got %v, want a document", text, errs)
	}
	o, err := d.Operation("")
	if err != nil {
		t.Fatalf("operation of %s: got %v, want the only one", text, err)
	}
	return o
}

// with are the operation's variables.
func with(t testing.TB, o *Operation, given map[string]any) *Variables {
	t.Helper()
	v, errs := o.Variables(given)
	if errs != nil {
		t.Fatalf("variables %v of %s: got %v, want none refused", given, o.Normalised(), errs)
	}
	return v
}

func TestCompile_Feed(t *testing.T) {
	t.Parallel()
	o := only(t, realCompiler(t, Options{}), `query Feed($first: Int) { feed(first: $first) { nodes { id counts { likes } } } }`)
	v := with(t, o, map[string]any{"first": int64(50), "undeclared": true})
	if want := `query Feed($first:Int){feed(first:$first){nodes{id counts{likes}}}}`; o.Normalised() != want {
		t.Errorf("normalised: got %s, want %s", o.Normalised(), want)
	}
	if want := `{"first":50}`; v.Canonical != want {
		t.Errorf("variables: got %s, want %s", v.Canonical, want)
	}
	want := Policy{
		MaxAge: 30 * time.Second, AgeBy: "feed.nodes.counts", AgeRule: "PostCounts",
		Scope: policy.Private, ScopeBy: "feed", ScopeRule: "Query.feed", Authorised: true,
	}
	if got := o.Policy(v); got != want {
		t.Errorf("policy: got %+v, want %+v", got, want)
	}
}

func TestCompile_Refuses(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	for text, want := range map[string]string{
		"":                       "GRAPHQL_VALIDATION_FAILED: the document has no operation",
		"# nothing":              "GRAPHQL_VALIDATION_FAILED: the document has no operation",
		"{":                      "GRAPHQL_PARSE_FAILED: Expected Name, found <EOF>",
		"{\xff}":                 "GRAPHQL_PARSE_FAILED: the document is not valid UTF-8",
		"{nope}":                 `GRAPHQL_VALIDATION_FAILED: Cannot query field "nope" on type "Query".`,
		"{post(id:1)}":           `GRAPHQL_VALIDATION_FAILED: Field "post" of type "Post" must have a selection of subfields.`,
		"{__schema{__typename}}": "GRAPHQL_VALIDATION_FAILED: introspection is off: __schema is not answered",
		"{...on Query{t:__type(name:\"Post\"){name}}}":   "GRAPHQL_VALIDATION_FAILED: introspection is off: __type is not answered",
		"{...@defer{__typename}}":                        "GRAPHQL_VALIDATION_FAILED: @defer is not supported",
		"{...F} fragment F($a:Int) on Query{__typename}": "GRAPHQL_PARSE_FAILED: fragments have no variables of their own",
		"query($a:Int){__typename}":                      `GRAPHQL_VALIDATION_FAILED: Variable "$a" is never used.`,
		"subscription{news}":                             `GRAPHQL_VALIDATION_FAILED: Schema does not support operation type "subscription"`,
		"{a:__typename a:post(id:1){id}}":                `GRAPHQL_VALIDATION_FAILED: Fields "a" conflict because "__typename" and "post" are different fields. Use different aliases on the fields to fetch both if this was intentional.`,
	} {
		_, errs := c.Compile(text)
		if len(errs) == 0 {
			t.Errorf("%q: got a document, want %s", text, want)
			continue
		}
		if got := errs[0].Extensions["code"].(string) + ": " + errs[0].Message; got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestCompile_BoundsErrors(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	_, errs := c.Compile("{post(id:1){" + many(100, "nope# ") + "}}")
	if len(errs) != mostErrors {
		t.Errorf("100 unknown fields: got %d errors, want %d", len(errs), mostErrors)
	}
	_, errs = c.Compile("{post(id:1){" + many(5, strings.Repeat("nope", 1_000)+"# ") + "}}")
	size := 0
	for _, err := range errs {
		size += len(err.Message)
	}
	if len(errs) != 3 || size > 3*(longestMessage+len("…")) {
		t.Errorf("names of 4 kB: got %d errors of %d bytes, want 3 shortened ones", len(errs), size)
	}
}

func TestCompile_Suggests(t *testing.T) {
	t.Parallel()
	off, on := realCompiler(t, Options{}), realCompiler(t, Options{Introspection: true})
	for _, text := range []string{
		`{poste(id:1){id}}`, `{post(idd:1,id:1){id}}`, `{post(id:1){titel}}`, `{...F} fragment F on Quer{__typename}`,
		`{feed(order:NEWES){nodes{id}}}`, `{feed(order:"NEWEST"){nodes{id}}}`, `{feed(filter:{language:"en"}){nodes{id}}}`, `{post(id:1)}`,
	} {
		if _, errs := off.Compile(text); errs == nil || strings.Contains(errs.Error(), "Did you mean") {
			t.Errorf("off, %s: got %v, want an error without a suggestion", text, errs)
		}
		if _, errs := on.Compile(text); !strings.Contains(errs.Error(), "Did you mean") {
			t.Errorf("on, %s: got %v, want a suggestion", text, errs)
		}
	}
}

func TestOperation_ByName(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	several, errs := c.Compile(`query A{__typename} mutation B{signOut{endedSessionId}}`)
	if errs != nil {
		t.Fatal(errs)
	}
	one, errs := c.Compile(`query A{__typename}`)
	if errs != nil {
		t.Fatal(errs)
	}
	anonymous, errs := c.Compile(`{__typename}`)
	if errs != nil {
		t.Fatal(errs)
	}
	for _, r := range []struct {
		document   *Document
		name, want string
	}{
		{several, "A", "query A"},
		{several, "B", "mutation B"},
		{several, "", "OPERATION_RESOLUTION_FAILURE: the document has several operations: name one in operationName"},
		{several, "C", "OPERATION_RESOLUTION_FAILURE: the document has no operation C"},
		{one, "", "query A"},
		{one, "A", "query A"},
		{one, "B", "OPERATION_RESOLUTION_FAILURE: the document has no operation B"},
		{anonymous, "", "query "},
		{anonymous, "A", "OPERATION_RESOLUTION_FAILURE: the document has no operation A"},
	} {
		o, err := r.document.Operation(r.name)
		got := ""
		if err != nil {
			got = err.Extensions["code"].(string) + ": " + err.Message
		} else {
			got = string(o.Type) + " " + o.Name
		}
		if got != r.want {
			t.Errorf("%q of %s: got %s, want %s", r.name, r.document.Text, got, r.want)
		}
	}
}

// TestDocument_KeepsDefaultsApart where operations share a fragment with a variable: gqlgen asks the tree for defaults.
func TestDocument_KeepsDefaultsApart(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	d, errs := c.Compile(`query A($d:DateTime){...F} query B($d:DateTime="2026-03-01T09:30:00Z"){...F} fragment F on Query{feed(filter:{since:$d}){nodes{id}}}`)
	if errs != nil {
		t.Fatal(errs)
	}
	for name, want := range map[string]string{"A": "map[filter:map[] first:20 order:NEWEST]", "B": "map[filter:map[since:2026-03-01T09:30:00Z] first:20 order:NEWEST]"} {
		o, err := d.Operation(name)
		if err != nil {
			t.Fatal(err)
		}
		feed := o.Definition.SelectionSet[0].(*ast.FragmentSpread).Definition.SelectionSet[0].(*ast.Field)
		if got := fmt.Sprint(feed.ArgumentMap(with(t, o, nil).Values)); got != want {
			t.Errorf("arguments in %s: got %s, want %s", name, got, want)
		}
	}
}

// TestCompile_Concurrently is for the race detector.
func TestCompile_Concurrently(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	const text = `query($n:Int,$x:Boolean!){feed(first:$n){nodes{id @include(if:$x) counts{likes}}}}`
	shared := only(t, c, text)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, o := range []*Operation{shared, only(t, c, text)} {
				v := with(t, o, map[string]any{"n": int64(5), "x": true})
				if o.Hash != shared.Hash || o.Cost(v) != 7 || o.Policy(v).MaxAge != 30*time.Second {
					t.Errorf("operation: got cost %d and %+v, want what one alone gets", o.Cost(v), o.Policy(v))
				}
			}
		})
	}
	group.Wait()
}
