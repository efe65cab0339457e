package operation

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

const normaliseSchema = `
	directive @on(a: String, n: Int, e: E, f: Float, l: [Int], i: In)
		on FIELD | QUERY | FRAGMENT_SPREAD | INLINE_FRAGMENT | FRAGMENT_DEFINITION | VARIABLE_DEFINITION
	directive @twice(n: Int) repeatable on FIELD
	enum E { A B }
	input In { a: String, n: Int, in: In }
	scalar Any
	interface Node { id: Int, any(x: Any, s: String, l: [Int], i: In, n: Int): Int, node: Node }
	type Query implements Node { id: Int, any(x: Any, s: String, l: [Int], i: In, n: Int): Int, node: Node, other: Node, list: [Node] }
`

// TestHash_Same has documents that mean the same, one a line of alternatives.
func TestHash_Same(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, normaliseSchema, Options{})
	for _, same := range [][]string{
		{`{id}`, "query {\n  id\n}", "query{id,}", "# c\n{ id # d\n}", "\ufeff{id}", `"about" query {id}`},
		{`{a:id id}`, "{a : id\r\n,,,id:id}"},
		{`{...F ...G} fragment F on Query{id} fragment G on Query{...F}`, "fragment G on Query { ...F }\nfragment F on Query { id }\n{ ...F ...G }"},
		{`{any(s:"a\n\"b\"")}`, "{any(s:\"\"\"a\n\"b\"\"\"\")}", "{any(s:\"\\u0061\\u000a\\u0022b\\\"\")}", "{any(s:\"\"\"\n   a\n   \"b\"\n\"\"\")}"},
		{`query Q($a:Int=1@on){any(n:$a)}`, "query Q ( $a : Int = 1 @on ) { any ( n : $a ) }"},
	} {
		first := only(t, c, same[0])
		for _, text := range same[1:] {
			if o := only(t, c, text); o.Hash != first.Hash {
				t.Errorf("%q: got %q, want %q", text, o.Normalised(), first.Normalised())
			}
		}
	}
}

// TestHash_Different has documents that differ in what they ask.
func TestHash_Different(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, normaliseSchema, Options{})
	seen := map[[32]byte]string{}
	for _, text := range []string{
		`{id}`, `query A{id}`, `query B{id}`, `{id id}`, `{a:id}`, `{id:any}`, `{any}`, `{id any}`, `{any id}`,
		`{any(s:"a")}`, `{any(s:"a ")}`, `{any(s:" a")}`, `{any(s:"A")}`, `{any(s:"a\\n")}`, `{any(s:"a\n")}`, `{any(s:"")}`,
		`{any(s:"\"")}`, `{any(s:"\\\"")}`, `{any(s:"){id")}`, `{any(s:"#")}`, `{any(s:",")}`, `{any(s:"\u00e9")}`, `{any(s:"e\u0301")}`,
		"{any(s:\"\"\"a\nb\"\"\")}", "{any(s:\"\"\"a\n  b\"\"\")}", "{any(s:\"\"\"a\\nb\"\"\")}",
		`{any(s:null)}`, `{any(x:A)}`, `{any(x:"A")}`, `{any(x:1)}`, `{any(x:"1")}`, `{any(x:1.0)}`, `{any(x:true)}`, `{any(x:"true")}`,
		`{any(x:null)}`, `{any(x:"null")}`, `{any(x:[])}`, `{any(x:[[]])}`, `{any(x:{})}`, `{any(x:[{}])}`, `{any(x:[1,2])}`, `{any(x:[2,1])}`,
		`{any(x:[12])}`, `{any(x:["1,2"])}`, `{any(x:{a:1,b:2})}`, `{any(x:{a:{b:2}})}`, `{any(x:"{a:1}")}`,
		`query($a:Any){any(x:$a)}`, `query($b:Any){any(x:$b)}`, `query($a:Any){any(x:[$a])}`, `{any(x:"$a")}`,
		`query($a:Int){any(n:$a)}`, `query($a:Int!){any(n:$a)}`, `query($a:Int=1){any(n:$a)}`, `query($a:Int=2){any(n:$a)}`,
		`query($a:Int=null){any(n:$a)}`, `query($a:Int!=1){any(n:$a)}`, `query($a:[Int]){any(l:$a)}`, `query($a:[Int!]){any(l:$a)}`, `query($a:[Int]!){any(l:$a)}`,
		`query($a:String="1"){any(s:$a)}`, `query($a:String="a"){any(s:$a)}`, `query($a:Int@on){any(n:$a)}`,
		`query($a:Int,$b:Int){any(n:$a) b:any(n:$b)}`, `query($b:Int,$a:Int){any(n:$a) b:any(n:$b)}`,
		`{id @skip(if:true)}`, `{id @skip(if:false)}`, `{id @include(if:true)}`, `{id @on}`, `{id @on(a:"x")}`, `{id @on(n:1)}`, `{id @on(f:1)}`,
		`{id @on(e:A)}`, `{id @on(a:"A")}`, `{id @twice(n:1) @twice(n:2)}`, `{id @twice(n:2) @twice(n:1)}`, `query @on{id}`, `query @on(n:1){id}`,
		`{...{id}}`, `{...on Query{id}}`, `{...on Node{id}}`, `{...@on{id}}`, `{...@on(n:1){id}}`, `{...on Query@on{id}}`,
		`{...F} fragment F on Query{id}`, `{...F} fragment F on Node{id}`, `{...F@on} fragment F on Query{id}`, `{...F} fragment F on Query@on{id}`,
		`{...G} fragment G on Query{id}`, `{...F} fragment F on Query{id any}`,
		`{node{id}}`, `{node{id node{id}}}`, `{node{id} node{id}}`, `{other{id}}`, `{node{id} id}`,
	} {
		o := only(t, c, text)
		if other, dup := seen[o.Hash]; dup {
			t.Errorf("%s and %s: got one hash of %s, want two", text, other, o.Normalised())
		}
		seen[o.Hash] = text
	}
}

func TestNormalised_HasOnlyWhatTheOperationUses(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, normaliseSchema, Options{})
	d, errs := c.Compile(`query B{...G} fragment H on Query{id} fragment G on Query{...H} query A{id ...F} fragment F on Query{any}`)
	if errs != nil {
		t.Fatal(errs)
	}
	for name, want := range map[string]string{
		"A": `query A{id ...F} fragment F on Query{any}`,
		"B": `query B{...G} fragment G on Query{...H} fragment H on Query{id}`,
	} {
		o, err := d.Operation(name)
		if err != nil || o.Normalised() != want {
			t.Errorf("%s: got %s, %v, want %s", name, o.Normalised(), err, want)
		}
		if o.Hash != sha256.Sum256([]byte(want)) {
			t.Errorf("%s: got hash %x, want that of the text", name, o.Hash)
		}
	}
}

// TestNormalised_SaysTheSame reads what was written again, and compares the trees.
func TestNormalised_SaysTheSame(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	compared := 0
	for seed := range uint64(300) {
		d, errs := c.Compile(generate(seed, c.schema))
		if errs != nil {
			continue
		}
		for _, o := range d.operations {
			compareNormalised(t, o)
			compared++
		}
	}
	if compared < 30 {
		t.Errorf("random documents: got %d operations, want more than 30 to compare", compared)
	}
}

func FuzzNormalised(f *testing.F) {
	for _, text := range []string{
		`{any(s:"\ud83d\ude00\u0000\b\f\r\u0085é")}`, "{any(s:\"\"\"\\\"\"\" \\n \x7f\"\"\")}", `{any(x:{a:[1 -2.5e+3 A true null "" $v] b:{}})}`,
		"query Q($v:[In!]!={a:\"x\" in:{n:1}}@on(l:[1])){...F@on ...on Query@on{a:list{id}}} fragment F on Query@on{any(i:{a:$v})}",
		`{any(s:"\ud800")}`, `{any(s:"\u{1F600}")}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := &Compiler{limits: Limits{}.withDefaults()}
		if parsed, refused := c.parse(text); refused == nil && c.limits.check(parsed) == nil && link(parsed) {
			for _, o := range parsed.Operations {
				compareTrees(t, o, normalise(o))
			}
		}
	})
}

// link does for spreads what validation does. It returns false if a fragment is missing.
func link(d *ast.QueryDocument) bool {
	complete := true
	var visit func(ast.SelectionSet)
	visit = func(set ast.SelectionSet) {
		for _, selection := range set {
			switch selection := selection.(type) {
			case *ast.Field:
				visit(selection.SelectionSet)
			case *ast.InlineFragment:
				visit(selection.SelectionSet)
			case *ast.FragmentSpread:
				selection.Definition = d.Fragments.ForName(selection.Name)
				complete = complete && selection.Definition != nil
			}
		}
	}
	for _, o := range d.Operations {
		visit(o.SelectionSet)
	}
	for _, f := range d.Fragments {
		visit(f.SelectionSet)
	}
	return complete
}

func compareNormalised(t *testing.T, o *Operation) {
	t.Helper()
	compareTrees(t, o.Definition, o.Normalised())
	again := only(t, o.compiler, o.Normalised())
	if again.Normalised() != o.Normalised() {
		t.Errorf("normalised twice: got %s, want %s", again.Normalised(), o.Normalised())
	}
}

func compareTrees(t *testing.T, o *ast.OperationDefinition, normalised string) {
	t.Helper()
	again, err := parser.ParseQuery(&ast.Source{Input: normalised})
	if err != nil {
		t.Fatalf("parse %q: got %v, want what was written", normalised, err)
	}
	link(again)
	if got, want := tree(again.Operations[0]), tree(o); got != want {
		t.Errorf("tree of %q: got %s, want %s", normalised, got, want)
	}
}

// tree tells an operation and its fragments apart from every other, in a way of its own: all by fmt with %q.
func tree(o *ast.OperationDefinition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", o.Operation, o.Name)
	for _, v := range o.VariableDefinitions {
		fmt.Fprintf(&b, " [%q %s %s %s]", v.Variable, typeTree(v.Type), valueTree(v.DefaultValue), directiveTree(v.Directives))
	}
	b.WriteString(directiveTree(o.Directives) + selectionTree(o.SelectionSet))
	for _, f := range fragmentsOf(o) {
		fmt.Fprintf(&b, " <%q %q %s %s>", f.Name, f.TypeCondition, directiveTree(f.Directives), selectionTree(f.SelectionSet))
	}
	return b.String()
}

func typeTree(t *ast.Type) string {
	if t.Elem != nil {
		return fmt.Sprintf("list(%s %v)", typeTree(t.Elem), t.NonNull)
	}
	return fmt.Sprintf("(%q %v)", t.NamedType, t.NonNull)
}

func selectionTree(set ast.SelectionSet) (text string) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			text += fmt.Sprintf("field(%q %q %s %s %s)", s.Alias, s.Name, argumentTree(s.Arguments), directiveTree(s.Directives), selectionTree(s.SelectionSet))
		case *ast.FragmentSpread:
			text += fmt.Sprintf("spread(%q %s)", s.Name, directiveTree(s.Directives))
		case *ast.InlineFragment:
			text += fmt.Sprintf("inline(%q %s %s)", s.TypeCondition, directiveTree(s.Directives), selectionTree(s.SelectionSet))
		}
	}
	return "{" + text + "}"
}

func directiveTree(list ast.DirectiveList) (text string) {
	for _, d := range list {
		text += fmt.Sprintf("directive(%q %s)", d.Name, argumentTree(d.Arguments))
	}
	return text
}

func argumentTree(list ast.ArgumentList) (text string) {
	for _, a := range list {
		text += fmt.Sprintf("argument(%q %s)", a.Name, valueTree(a.Value))
	}
	return text
}

func valueTree(v *ast.Value) string {
	if v == nil {
		return "none"
	}
	kind := v.Kind
	if kind == ast.BlockValue {
		kind = ast.StringValue
	}
	text := fmt.Sprintf("%d:%q", kind, v.Raw)
	for _, child := range v.Children {
		text += fmt.Sprintf(" (%q %s)", child.Name, valueTree(child.Value))
	}
	return "[" + text + "]"
}
