package operation

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// many writes a format n times, with the number.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(i)))
	}
	return b.String()
}

func nested(n int, open, inside, end string) string {
	return strings.Repeat(open, n) + inside + strings.Repeat(end, n)
}

// chain is n fragments on Post, each with fields and spreads of the next.
func chain(n int, fields, spread string) string {
	var b strings.Builder
	for i := range n {
		next := fields
		if i < n-1 {
			next += " " + strings.ReplaceAll(spread, "#", fmt.Sprint(i+1))
		}
		fmt.Fprintf(&b, " fragment f%d on Post{%s}", i, next)
	}
	return b.String()
}

// abusive documents: some that a limit refuses, and some that are just within all of them.
func abusive() map[string]string {
	return map[string]string{
		"deep":              "{post(id:1){" + nested(120, "author{posts{nodes{", "id", "}}}") + "}}",
		"wide":              "{post(id:1){" + many(330, "id title body ") + "}}",
		"wide, distinct":    "{post(id:1){" + many(120, "a#:id") + "}" + many(7, "...{post(id:1){id title body category language publishedAt editedAt}} ") + "}",
		"aliases":           "{post(id:1){" + many(320, "a#:id ") + "}}",
		"root aliases":      "{" + many(90, "a#:post(id:#){id}") + "}",
		"same fields":       "{post(id:1){" + many(45, "id ") + "}}",
		"same nested":       "{post(id:1){" + many(100, "author{id name handle}") + "}}",
		"same pairs":        "{" + many(9, "post(id:1){author{posts{nodes{id}}}} ") + "}",
		"same, deep":        "{" + many(3, "post(id:1){"+many(3, "author{"+many(3, "posts{"+many(3, "nodes{id}")+"}")+"}")+"}") + "}",
		"same with lists":   "{" + many(9, "feed(filter:{categories:["+many(90, `"a" `)+"]}){nodes{id}}") + "}",
		"same with objects": "{" + many(20, "feed(filter:{categories:null languages:null since:null}){nodes{id}}") + "}",
		"conflicts":         "{post(id:1){" + many(22, "a:title a:body ") + "}}",
		"exponential":       "{post(id:1){...f0}}" + chain(30, "id", "author{posts{nodes{...f# ...f#}}}"),
		"exponential, flat": "{post(id:1){...f0}}" + chain(30, "id", "...f# ...f#"),
		"exponential, half": "{post(id:1){...f0}}" + chain(7, "id", "...f# ...f#"),
		"chain":             "{post(id:1){...f0}}" + chain(20, "id title body category", "...f#"),
		"chain within":      "{post(id:1){...f0}}" + chain(14, "id", "...f#"),
		"fragments":         "{post(id:1){...f0}}" + chain(90, "id", "...f#"),
		"cycle":             "{post(id:1){...f0}}" + chain(20, "id", "...f#") + " fragment f on Post{...g} fragment g on Post{...f}",
		"cycle of all":      "{post(id:1){...f0}} fragment f0 on Post{" + many(40, "...f#") + "}" + many(39, " fragment f# on Post{...f0 ...f39}"),
		"spreads":           "{post(id:1){" + many(300, "...f ") + "}} fragment f on Post{id}",
		"inline fragments":  "{post(id:1){" + nested(300, "...{", many(20, "id "), "}") + "}}",
		"inline, many":      "{post(id:1){" + many(240, "...{id}") + "}}",
		"inline, nested":    "{post(id:1){" + nested(150, "...{", "id title body category language publishedAt editedAt", "}") + "}}",
		"directives":        "{post(id:1){" + many(100, "id @include(if:true) ") + "}}",
		"directives at one": "{post(id:1){id " + many(300, "@a ") + "}}",
		"variables":         "query(" + many(190, "$a#:ID!") + "){post(id:1){id}}",
		"variables, used":   "query(" + many(99, "$a#:String!") + "){feed(filter:{categories:[" + many(99, "$a98 $a# ") + "]}){nodes{id}}}",
		"operations":        many(80, "query q#{post(id:1){id}} "),
		"operations, short": many(190, "query q#{a} "),
		"operations within": many(90, "query q#{...f} ") + "fragment f on Query{post(id:1){id title body}}",
		"shared fragment":   many(60, "query q#{...f} ") + "fragment f on Query{post(id:1){" + many(20, "id title ") + "}}",
		"string":            `{profileByHandle(handle:"` + strings.Repeat("a", 32_700) + `"){id}}`,
		"escapes":           `{profileByHandle(handle:"` + strings.Repeat(`\u00e9`, 5_440) + `"){id}}`,
		"quotes":            `{profileByHandle(handle:"` + strings.Repeat(`\"`, 16_340) + `"){id}}`,
		"block string":      `{profileByHandle(handle:"""` + strings.Repeat("a\n", 8_150) + `"""){id}}`,
		"block, indented":   `{profileByHandle(handle:"""` + strings.Repeat("          a\n", 1_350) + `"""){id}}`,
		"bad strings":       `{feed(order:"` + strings.Repeat("a", 32_700) + `"){nodes{id}}}`,
		"huge string":       `{profileByHandle(handle:"` + strings.Repeat("a", 1<<20) + `"){id}}`,
		"comments":          strings.Repeat("#\n", 900) + "{post(id:1){id}}",
		"comment":           "{post(id:1){id}}#" + strings.Repeat("a", 32_700),
		"white space":       strings.Repeat(" \n", 16_350) + "{post(id:1){id}}",
		"deep list":         "{post(id:" + nested(480, "[", "1", "]") + "){id}}",
		"list":              "{feed(filter:{categories:[" + many(970, `"a" `) + "]}){nodes{id}}}",
		"list, wrong":       "{feed(filter:{categories:[" + many(970, `1 `) + "]}){nodes{id}}}",
		"object":            "{feed(filter:{" + many(300, "a#:1 ") + "}){nodes{id}}}",
		"arguments":         "{post(" + many(300, "a#:1 ") + "){id}}",
		"unknown fields":    "{post(id:1){" + many(980, "nope# ") + "}}",
		"unknown, long":     "{" + many(19, strings.Repeat("nope", 400)+"# ") + "}",
		"unknown types":     "{post(id:1){" + many(20, "...f# ") + "}}" + many(20, " fragment f# on Nope{id}"),
		"type":              "query($a:" + nested(480, "[", "ID", "]") + "){post(id:$a){id}}",
	}
}

// abusiveVariables are for the operation of abused.
func abusiveVariables() map[string]map[string]any {
	list := func(n int, of any) []any { return slices.Repeat([]any{of}, n) }
	deep := any("a")
	for range 3_400 {
		deep = []any{deep}
	}
	object := map[string]any{}
	for i := range 3_400 {
		object[fmt.Sprint("a", i)] = int64(i)
	}
	return map[string]map[string]any{
		"list":          {"categories": list(3_400, "science")},
		"list, too big": {"categories": list(1_000_000, "science")},
		"list of ids":   {"categories": list(3_400, int64(1))},
		"string":        {"categories": strings.Repeat("a", 256_000)},
		"escapes":       {"categories": strings.Repeat("\x01", 256_000)},
		"too long":      {"categories": strings.Repeat("a", 1<<20)},
		"deep":          {"categories": deep},
		"object":        {"filter": object},
		"date":          {"filter": map[string]any{"since": strings.Repeat("2026-03-01T09:30:00Z", 12_000)}},
		"dates":         {"filter": map[string]any{"since": list(3_400, "2026-03-01T09:30:00Z")}},
	}
}

const abused = `query($categories:[String!],$filter:FeedFilter){
	feed(filter:{categories:$categories}){nodes{id}} other:feed(filter:$filter){nodes{id}}}`

// cheap is in bytes that an answer may allocate: work costs memory here, and unlike time it is the same on every machine.
// It is above what anything below takes, and far below what it took without limits; the benchmark tells the time.
const cheap = 2 << 20

// allocated is how many bytes a run allocates.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestCompile_AbuseIsCheap(t *testing.T) {
	c := realCompiler(t, Options{})
	for name, text := range abusive() {
		if took := allocated(func() { c.Compile(text) }); took > cheap {
			t.Errorf("%s: got %d bytes, want at most %d", name, took, uint64(cheap))
		}
	}
	o := only(t, c, abused)
	for name, given := range abusiveVariables() {
		if took := allocated(func() { o.Variables(given) }); took > cheap {
			t.Errorf("variables, %s: got %d bytes, want at most %d", name, took, cheap)
		}
	}
}

func TestCompile_RandomDocumentsAreCheap(t *testing.T) {
	c := realCompiler(t, Options{})
	passed := 0
	for seed := range uint64(600) {
		text := generate(seed, c.schema)
		var errs gqlerror.List
		if took := allocated(func() { _, errs = c.Compile(text) }); took > cheap {
			t.Errorf("%s: got %d bytes, want at most %d", text, took, cheap)
		}
		if errs == nil {
			passed++
		}
	}
	if passed < 30 {
		t.Errorf("random documents: got %d that pass, want 30 at least", passed)
	}
}

// BenchmarkAbuse tells what each abusive document takes, whether or not it is refused.
func BenchmarkAbuse(b *testing.B) {
	c := realCompiler(b, Options{})
	docs := abusive()
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		b.Run(name, func(b *testing.B) {
			measureCPU(b, func() gqlerror.List { _, errs := c.Compile(docs[name]); return errs })
		})
	}
}

// BenchmarkAbuse_Variables is the same for values.
func BenchmarkAbuse_Variables(b *testing.B) {
	o := only(b, realCompiler(b, Options{}), abused)
	values := abusiveVariables()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.Run(name, func(b *testing.B) {
			measureCPU(b, func() gqlerror.List { _, errs := o.Variables(values[name]); return errs })
		})
	}
}

// BenchmarkAbuse_Random tells what the slowest of 2,000 random documents takes.
func BenchmarkAbuse_Random(b *testing.B) {
	c := realCompiler(b, Options{})
	slowest, text := int64(0), ""
	for seed := range uint64(2_000) {
		one := generate(seed, c.schema)
		least := int64(math.MaxInt64)
		for range 5 {
			before := usedCPU(b)
			c.Compile(one)
			least = min(least, usedCPU(b)-before)
		}
		if least > slowest {
			slowest, text = least, one
		}
	}
	measureCPU(b, func() gqlerror.List { _, errs := c.Compile(text); return errs })
}

// measureCPU reports the time of the processor, with that of the garbage collector: other processes change it little.
func measureCPU(b *testing.B, run func() gqlerror.List) {
	var errs gqlerror.List
	before := usedCPU(b)
	for b.Loop() {
		errs = run()
	}
	b.ReportMetric(float64(usedCPU(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(min(1, len(errs))), "refused")
}

func usedCPU(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

// generator writes random documents that are mostly valid.
type generator struct {
	*rand.Rand
	schema                                             *ast.Schema
	b                                                  strings.Builder
	left                                               int      // selections to go
	fragments                                          []string // names with their type behind a colon
	aliases, same, inline, spreads, directives, values float64  // how often
}

func generate(seed uint64, schema *ast.Schema) string {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), schema: schema}
	for _, often := range []*float64{&g.aliases, &g.same, &g.inline, &g.spreads, &g.directives, &g.values} {
		if g.IntN(3) > 0 {
			*often = g.Float64() * g.Float64()
		}
	}
	g.left = g.IntN(600)
	for i := range g.IntN(30) {
		g.fragments = append(g.fragments, fmt.Sprintf("f%d:%s", i, []string{"Post", "Profile", "Query"}[g.IntN(3)]))
	}
	all, each := g.fragments, g.left/(len(g.fragments)+1)
	for i, f := range all {
		name, on, _ := strings.Cut(f, ":")
		g.fragments, g.left = all[i+1:], each // spreads the later ones: no cycles
		g.b.WriteString(" fragment " + name + " on " + on)
		g.selections(schema.Types[on], 0)
	}
	g.fragments, g.left = all, each
	g.b.WriteString(" query main")
	g.selections(schema.Query, 0)
	text := g.b.String()
	for _, f := range all { // a fragment that is not used would be refused
		if name, on, _ := strings.Cut(f, ":"); !strings.Contains(text, "..."+name+" ") {
			text += map[string]string{
				"Post": " query " + name + "{post(id:1){..." + name + " }}", "Query": " query " + name + "{..." + name + " }",
				"Profile": " query " + name + "{profile(id:1){..." + name + " }}",
			}[on]
		}
	}
	return text
}

func (g *generator) often(chance float64) bool { return g.Float64() < chance }

func (g *generator) selections(on *ast.Definition, depth int) {
	g.b.WriteString("{")
	for n := 1 + g.IntN(12); n > 0; n-- {
		g.left--
		switch {
		case g.often(g.inline):
			g.b.WriteString("...")
			g.directive()
			g.selections(on, depth)
		case g.often(g.spreads) && g.spread(on):
		default:
			g.field(on, depth)
		}
		if g.left < 0 {
			break
		}
	}
	g.b.WriteString(" __typename}")
}

func (g *generator) spread(on *ast.Definition) bool {
	for _, i := range g.Perm(len(g.fragments)) {
		if name, of, _ := strings.Cut(g.fragments[i], ":"); of == on.Name {
			g.b.WriteString("..." + name + " ")
			g.directive()
			return true
		}
	}
	return false
}

func (g *generator) field(on *ast.Definition, depth int) {
	f := on.Fields[g.IntN(len(on.Fields))]
	if g.often(g.same) {
		f = on.Fields[0]
	}
	if strings.HasPrefix(f.Name, "__") {
		return
	}
	if g.often(g.aliases) {
		fmt.Fprintf(&g.b, " a%d:", g.IntN(5))
	}
	g.b.WriteString(" " + f.Name)
	for _, a := range f.Arguments {
		switch {
		case a.Type.Name() == "ID":
			g.b.WriteString("(id:1)")
		case a.Name == "handle":
			g.b.WriteString(`(handle:"a")`)
		case a.Name == "platform":
			g.b.WriteString("(platform:IOS)")
		case a.Name == "input":
			g.b.WriteString("(input:null)")
		case a.Name == "filter" && g.often(g.values):
			g.b.WriteString("(filter:{categories:[" + many(g.IntN(80), `"a#" `) + "]})")
		}
	}
	g.directive()
	if of := g.schema.Types[f.Type.Name()]; of.IsCompositeType() {
		if depth > 7 || g.left < 0 {
			g.b.WriteString("{__typename}")
		} else {
			g.selections(of, depth+1)
		}
	}
}

func (g *generator) directive() {
	if g.often(g.directives) {
		g.b.WriteString("@include(if:true)")
	}
}
