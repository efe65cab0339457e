package operation

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql/introspection"
)

// TestLimits_Refuse has for each limit a document that just keeps it, and one that does not.
func TestLimits_Refuse(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]struct {
		limits        Limits
		code, message string
		keeps, breaks string
	}{
		"bytes": {
			Limits{Bytes: 20},
			"MAX_BYTES_LIMIT", "the document has 21 bytes, and the limit is 20",
			"{__typename}        ", "{__typename}         ",
		},
		"bytes with block strings": {
			Limits{Bytes: 60},
			"MAX_BYTES_LIMIT", "the document has 31 bytes, and the limit is 30",
			`"""abc""" query{__typename}   `, `"""abc""" query{__typename}    `,
		},
		"tokens": {
			Limits{Tokens: 5},
			"MAX_TOKENS_LIMIT", "the document has more than 5 tokens",
			"{a:__typename}", "{a:__typename __typename}",
		},
		"comments are tokens": {
			Limits{Tokens: 5},
			"MAX_TOKENS_LIMIT", "the document has more than 5 tokens",
			"#\n#\n{__typename}", "#\n#\n#\n{__typename}",
		},
		"depth": {
			Limits{Depth: 3},
			"MAX_DEPTH_LIMIT", "fields or values nest 4 deep, and the limit is 3",
			"{post(id:1){author{id}}}", "{post(id:1){author{posts{__typename}}}}",
		},
		"depth in fragments": {
			Limits{Depth: 3},
			"MAX_DEPTH_LIMIT", "fields or values nest 4 deep, and the limit is 3",
			"{post(id:1){...A}} fragment A on Post{...{author{id}}}", "{post(id:1){...A}} fragment A on Post{...{author{posts{__typename}}}}",
		},
		"depth in fragments that are not used": {
			Limits{Depth: 2},
			"MAX_DEPTH_LIMIT", "fields or values nest 3 deep, and the limit is 2",
			"{__typename ...A} fragment A on Query{post(id:1){id}}", "{__typename} fragment A on Query{post(id:1){author{id}}}",
		},
		"depth of values": {
			Limits{Depth: 2},
			"MAX_DEPTH_LIMIT", "fields or values nest 3 deep, and the limit is 2",
			`{feed(filter:{categories:["a"]}){__typename}}`, `{feed(filter:{categories:[["a"]]}){__typename}}`,
		},
		"depth of defaults": {
			Limits{Depth: 2},
			"MAX_DEPTH_LIMIT", "fields or values nest 3 deep, and the limit is 2",
			`query($f:FeedFilter={categories:["a"]}){feed(filter:$f){__typename}}`, `query($f:FeedFilter={categories:[["a"]]}){feed(filter:$f){__typename}}`,
		},
		"aliases": {
			Limits{Aliases: 2},
			"MAX_ALIASES_LIMIT", "the operation has 3 aliases, and the limit is 2",
			"{a:__typename b:__typename __typename}", "{a:__typename b:__typename c:__typename}",
		},
		"aliases in fragments": {
			Limits{Aliases: 2},
			"MAX_ALIASES_LIMIT", "the operation has 3 aliases, and the limit is 2",
			"{...F ...F} fragment F on Query{a:__typename}", "{...F ...F ...F} fragment F on Query{a:__typename}",
		},
		"root fields": {
			Limits{RootFields: 2},
			"MAX_ROOT_FIELDS_LIMIT", "the operation has 3 root fields, and the limit is 2",
			"{post(id:1){id title body} __typename}", "{post(id:1){id} __typename __typename}",
		},
		"root fields in fragments": {
			Limits{RootFields: 2},
			"MAX_ROOT_FIELDS_LIMIT", "the operation has 3 root fields, and the limit is 2",
			"{...{__typename} ...F} fragment F on Query{__typename}", "{...{__typename} ...F ...F} fragment F on Query{__typename}",
		},
		"directives": {
			Limits{Directives: 2},
			"MAX_DIRECTIVES_LIMIT", "the operation has 3 directives, and the limit is 2",
			"{__typename @skip(if:false) @include(if:true)}", "{__typename @skip(if:false) @include(if:true) ...@skip(if:true){__typename}}",
		},
		"fragments": {
			Limits{Fragments: 1},
			"MAX_FRAGMENTS_LIMIT", "the document has 2 fragments, and the limit is 1",
			"{...F} fragment F on Query{__typename}", "{...F} fragment F on Query{...G} fragment G on Query{__typename}",
		},
		"nodes": { // an operation, its spread, what is in it, and that once more
			Limits{Nodes: 8},
			"MAX_NODES_LIMIT", "the document has 10 fields, spreads, directives and values with its fragments written out, and the limit is 8",
			"{...F} fragment F on Query{post(id:1){id}}", "{...F} fragment F on Query{post(id:1){id title}}",
		},
		"nodes of all operations": {
			Limits{Nodes: 4},
			"MAX_NODES_LIMIT", "the document has 6 fields, spreads, directives and values with its fragments written out, and the limit is 4",
			"query A{__typename} query B{__typename}", "query A{__typename} query B{__typename} query C{__typename}",
		},
		"overlaps": {
			Limits{Overlaps: 3},
			"MAX_OVERLAPS_LIMIT", "the document has 6 pairs of fields with the same response name in the same place, and the limit is 3",
			"{__typename __typename __typename}", "{__typename __typename __typename __typename}",
		},
		"overlaps below fields that are merged": { // 1 pair of posts with an argument each, 1 of ids
			Limits{Overlaps: 3},
			"MAX_OVERLAPS_LIMIT", "the document has 5 pairs of fields with the same response name in the same place, and the limit is 3",
			"{post(id:1){id} post(id:1){id}}", "{post(id:1){id} post(id:1){id id}}",
		},
		"overlaps in inline fragments": { // around each other, they are compared once more each
			Limits{Overlaps: 3},
			"MAX_OVERLAPS_LIMIT", "the document has 4 pairs of fields with the same response name in the same place, and the limit is 3",
			"{...{...{__typename __typename}}}", "{...{...{...{__typename __typename}}}}",
		},
		"overlaps of spreads": { // 3 pairs of spreads, and 3 of what they bring; 6 and 6
			Limits{Overlaps: 6},
			"MAX_OVERLAPS_LIMIT", "the document has 12 pairs of fields with the same response name in the same place, and the limit is 6",
			"{...F ...F ...F} fragment F on Query{__typename}", "{...F ...F ...F ...F} fragment F on Query{__typename}",
		},
		"cost": {
			Limits{Cost: 10},
			"COST_ESTIMATED_TOO_EXPENSIVE", "the operation costs 11 by estimate, and the limit is 10: ask for fewer entries of lists",
			"{feed(first:9){nodes{id}}}", "{feed(first:10){nodes{id}}}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := realCompiler(t, Options{Limits: r.limits})
			d, errs := c.Compile(r.keeps)
			if errs != nil {
				t.Fatalf("%s: got %v, want a document", r.keeps, errs)
			}
			with(t, d.operations[0], nil)
			d, errs = c.Compile(r.breaks)
			if r.code == "COST_ESTIMATED_TOO_EXPENSIVE" {
				_, errs = d.operations[0].Variables(nil)
			}
			if len(errs) != 1 || errs[0].Extensions["code"] != r.code || errs[0].Message != r.message {
				t.Errorf("%s: got %v, want %s: %s", r.breaks, errs, r.code, r.message)
			}
		})
	}
}

func TestLimits_Variables(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{Limits: Limits{VariableBytes: 1_000}})
	_, errs := c.Compile("query(" + many(101, "$a#:ID! ") + "){post(id:$a1){id}}")
	if len(errs) != 1 || errs[0].Extensions["code"] != "MAX_VARIABLES_LIMIT" {
		t.Errorf("101 variables: got %v, want MAX_VARIABLES_LIMIT", errs)
	}
	o := only(t, c, `query($h:String!,$f:FeedFilter){profileByHandle(handle:$h){id} feed(filter:$f){nodes{id}}}`)
	list := func(n int) any { return map[string]any{"categories": slices.Repeat([]any{"a"}, n)} }
	for name, r := range map[string]struct {
		given   map[string]any
		message string
	}{
		"a long string":         {map[string]any{"h": strings.Repeat("a", 1_001)}, "the variables have more than 1000 bytes"},
		"escapes":               {map[string]any{"h": strings.Repeat("\x01", 200)}, "the variables have more than 1000 bytes"},
		"many short ones":       {map[string]any{"h": "a", "f": list(400)}, "the variables have more than 1000 bytes"},
		"a long name":           {map[string]any{"h": "a", "f": map[string]any{strings.Repeat("a", 1_001): 1}}, "the variables have more than 1000 bytes"},
		"within":                {map[string]any{"h": strings.Repeat("a", 500), "f": list(100)}, ""},
		"what nothing declares": {map[string]any{"h": "a", "x": strings.Repeat("a", 1_001)}, ""},
	} {
		_, errs := o.Variables(r.given)
		if r.message == "" && errs == nil {
			continue
		}
		if len(errs) != 1 || errs[0].Message != r.message || errs[0].Extensions["code"] != "MAX_VARIABLES_LIMIT" {
			t.Errorf("%s: got %v, want %q of MAX_VARIABLES_LIMIT", name, errs, r.message)
		}
	}
	o = only(t, realCompiler(t, Options{}), `query($f:FeedFilter){feed(filter:$f){nodes{id}}}`)
	_, errs = o.Variables(map[string]any{"f": list(3_500)})
	if len(errs) != 1 || errs[0].Message != "the variables have more than 3500 values" {
		t.Errorf("3,501 values: got %v, want a limit", errs)
	}
}

// TestLimits_LetPass what clients send.
func TestLimits_LetPass(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{Introspection: true})
	texts := map[string]string{
		"introspection": introspection.Query,
		"nested":        `{feed(first:10){nodes{author{posts(first:5){nodes{author{posts(first:5){nodes{author{handle followers(first:3){nodes{id}}}}}}}}}}}}`,
	}
	samples, err := filepath.Glob("../playground/web/samples/*.graphql")
	if err != nil || len(samples) == 0 {
		t.Fatalf("samples: got %d, %v, want some", len(samples), err)
	}
	for _, name := range samples {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		o := only(t, c, texts[name])
		if cost := o.Cost(nil); cost > c.limits.Cost {
			t.Errorf("%s: got a cost of %d, want at most %d", name, cost, c.limits.Cost)
		}
	}
}

func TestLimits_Cycles(t *testing.T) {
	t.Parallel()
	c := realCompiler(t, Options{})
	for _, text := range []string{
		`{...F} fragment F on Query{...F}`,
		`{...F} fragment F on Query{...G} fragment G on Query{...{...F}}`,
		`{__typename} fragment F on Query{...G} fragment G on Query{...F}`,
		`{post(id:1){...F}} fragment F on Post{author{posts{nodes{...F ...F}}}}`,
	} {
		_, errs := c.Compile(text)
		want := `Cannot spread fragment "F" within itself.`
		if len(errs) != 1 || errs[0].Message != want || errs[0].Extensions["code"] != "GRAPHQL_VALIDATION_FAILED" {
			t.Errorf("%s: got %v, want %s", text, errs, want)
		}
	}
}
