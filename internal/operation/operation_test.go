package operation

import (
	"os"
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
