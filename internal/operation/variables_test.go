package operation

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

const variablesSchema = `
	directive @cacheControl(maxAge: Int) on FIELD_DEFINITION
	scalar DateTime
	scalar Any
	enum Order { NEWEST TOP }
	input Filter { ids: [ID!], since: DateTime, order: Order = TOP, size: Int, inner: Filter, share: Float }
	type Query {
		post(id: ID!): Int
		posts(ids: [ID!], matrix: [[Int]], filter: Filter, filters: [Filter!]): Int
		plain(s: String, i: Int, f: Float, b: Boolean, o: Order, d: DateTime, x: Any, many: [String!]): Int
		must(i: Int! = 3, o: Order! = TOP): Int
	}
`

// decoded is JSON as a request brings it: whole numbers as int64.
func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var into map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&into); err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	settleNumbers(into)
	return into
}

func settleNumbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			value[key] = settleNumbers(member)
		}
	case []any:
		for i, item := range value {
			value[i] = settleNumbers(item)
		}
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		if float, err := value.Float64(); err == nil && math.Abs(float) < math.MaxInt64 {
			return float
		}
	}
	return value
}

func TestVariables_Canonical(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, variablesSchema, Options{})
	for _, r := range []struct{ text, given, want string }{
		{`query($id:ID!){post(id:$id)}`, `{"id":7}`, `{"id":"7"}`},
		{`query($id:ID!){post(id:$id)}`, `{"id":"7","other":[1]}`, `{"id":"7"}`},
		{`query($id:ID!=8){post(id:$id)}`, `{}`, `{"id":"8"}`},
		{`query($a:String,$b:String){plain(s:$a) x:plain(s:$b)}`, `{"b":"1","a":null}`, `{"a":null,"b":"1"}`},
		{`query($a:String,$b:String){plain(s:$a) x:plain(s:$b)}`, `{"b":"1"}`, `{"b":"1"}`},
		{`query($a:String="d"){plain(s:$a)}`, `{}`, `{"a":"d"}`},
		{`query($a:String="d"){plain(s:$a)}`, `{"a":null}`, `{"a":null}`},
		{`query($i:Int,$f:Float){plain(i:$i,f:$f)}`, `{"f":1,"i":1}`, `{"f":1,"i":1}`},
		{`query($f:Float){plain(f:$f)}`, `{"f":1.5}`, `{"f":1.5}`},
		{`query($f:Float){plain(f:$f)}`, `{"f":100000000000000000000}`, `{"f":100000000000000000000}`},
		{`query($f:Float=2){plain(f:$f)}`, `{}`, `{"f":2}`},
		{`query($i:[ID!]){posts(ids:$i)}`, `{"i":[1,"2",3]}`, `{"i":["1","2","3"]}`},
		{`query($i:[ID!]){posts(ids:$i)}`, `{"i":1}`, `{"i":["1"]}`},
		{`query($i:[ID!]){posts(ids:$i)}`, `{"i":[]}`, `{"i":[]}`},
		{`query($i:[ID!]=4){posts(ids:$i)}`, `{}`, `{"i":["4"]}`},
		{`query($m:[[Int]]){posts(matrix:$m)}`, `{"m":5}`, `{"m":[[5]]}`},
		{`query($m:[[Int]]){posts(matrix:$m)}`, `{"m":[[1,null],null,[]]}`, `{"m":[[1,null],null,[]]}`},
		{`query($f:Filter){posts(filter:$f)}`, `{"f":{"size":1,"ids":2}}`, `{"f":{"ids":["2"],"order":"TOP","size":1}}`},
		{`query($f:Filter){posts(filter:$f)}`, `{"f":{"order":"TOP","ids":["2"],"size":1,"__typename":"Filter"}}`, `{"f":{"ids":["2"],"order":"TOP","size":1}}`},
		{`query($f:Filter){posts(filter:$f)}`, `{"f":{"order":null,"ids":null}}`, `{"f":{"ids":null,"order":null}}`},
		{`query($f:Filter={size:2}){posts(filter:$f)}`, `{}`, `{"f":{"order":"TOP","size":2}}`},
		{`query($f:[Filter!]){posts(filters:$f)}`, `{"f":{"inner":{"share":2}}}`, `{"f":[{"inner":{"order":"TOP","share":2},"order":"TOP"}]}`},
		{`query($o:Order,$b:Boolean){plain(o:$o,b:$b)}`, `{"o":"TOP","b":false}`, `{"b":false,"o":"TOP"}`},
		{`query($d:DateTime){plain(d:$d)}`, `{"d":"2026-03-01T09:30:00Z"}`, `{"d":"2026-03-01T09:30:00Z"}`},
		{`query($x:Any){plain(x:$x)}`, `{"x":{"b":[1,1.5,"1",null,true],"a":{}}}`, `{"x":{"a":{},"b":[1,1.5,"1",null,true]}}`},
		{`{plain}`, `{"x":1}`, `{}`},
	} {
		given := decoded(t, r.given)
		v, errs := only(t, c, r.text).Variables(given)
		if errs != nil {
			t.Errorf("%s %s: got %v, want %s", r.text, r.given, errs, r.want)
			continue
		}
		if v.Canonical != r.want {
			t.Errorf("%s %s: got %s, want %s", r.text, r.given, v.Canonical, r.want)
		}
		if before, after := decoded(t, r.given), given; mustJSON(t, before) != mustJSON(t, after) {
			t.Errorf("%s %s: got it changed to %v, want it as it was", r.text, r.given, after)
		}
	}
}

// TestVariables_Numbers come in one form, in whichever Go type they were given.
func TestVariables_Numbers(t *testing.T) {
	t.Parallel()
	o := only(t, compilerFor(t, variablesSchema, Options{}), `query($i:Int,$f:Float,$id:ID!){plain(i:$i,f:$f) post(id:$id)}`)
	for _, given := range []map[string]any{
		{"i": int64(20), "f": int64(2), "id": int64(7)},
		{"i": float64(20), "f": float64(2), "id": "7"},
		{"i": json.Number("20"), "f": json.Number("2.0"), "id": json.Number("7")},
	} {
		v := with(t, o, given)
		if want := `{"f":2,"i":20,"id":"7"}`; v.Canonical != want {
			t.Errorf("%#v: got %s, want %s", given, v.Canonical, want)
		}
		if v.Values["i"] != int64(20) || v.Values["f"] != float64(2) || v.Values["id"] != "7" {
			t.Errorf("%#v: got %#v, want int64, float64 and string", given, v.Values)
		}
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestVariables_Refused(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, variablesSchema, Options{})
	for _, r := range []struct{ text, given, argument, message string }{
		{`query($id:ID!){post(id:$id)}`, `{"id":"abc"}`, "id", `"abc" is not an ID`},
		{`query($id:ID!){post(id:$id)}`, `{"id":""}`, "id", `"" is not an ID`},
		{`query($id:ID!){post(id:$id)}`, `{"id":0}`, "id", `"0" is not an ID`},
		{`query($id:ID!){post(id:$id)}`, `{"id":"07"}`, "id", `"07" is not an ID`},
		{`query($id:ID!){post(id:$id)}`, `{"id":99999999999999999999}`, "id", `"99999999999999999999" is not an ID`},
		{`query($id:ID!){post(id:$id)}`, `{"id":1.5}`, "id", `cannot use a fraction as ID`},
		{`query($id:ID!){post(id:$id)}`, `{"id":true}`, "id", `cannot use a boolean as ID`},
		{`query($id:ID!){post(id:$id)}`, `{"id":null}`, "id", `cannot be null`},
		{`query($id:ID!){post(id:$id)}`, `{}`, "id", `must be defined`},
		{`query($id:ID!="x"){post(id:$id)}`, `{}`, "", ""}, // a literal: refused before
		{`query($i:[ID!]){posts(ids:$i)}`, `{"i":[1,"x"]}`, "i[1]", `"x" is not an ID`},
		{`query($i:[ID!]){posts(ids:$i)}`, `{"i":[1,null]}`, "i[1]", `cannot be null`},
		{`query($i:[ID!]){posts(ids:$i)}`, `{"i":"x"}`, "i", `"x" is not an ID`},
		{`query($i:[ID!]){posts(ids:$i)}`, `{"i":[[1]]}`, "i[0]", `cannot use a list as ID`},
		{`query($f:[Filter!]){posts(filters:$f)}`, `{"f":[{"inner":{"since":"now"}}]}`, "f[0].inner.since", `"now" is not a DateTime such as 2026-03-01T09:30:00Z`},
		{`query($f:Filter){posts(filter:$f)}`, `{"f":{"ids":["1","-1"]}}`, "f.ids[1]", `"-1" is not an ID`},
		{`query($f:Filter){posts(filter:$f)}`, `{"f":{"nope":1}}`, "f.nope", `unknown field`},
		{`query($f:Filter){posts(filter:$f)}`, `{"f":[{"size":1}]}`, "f", `must be a Filter, not a slice`},
		{`query($f:Filter){posts(filter:$f)}`, `{"f":{"order":"top"}}`, "f.order", `top is not a valid Order`},
		{`query($i:Int){plain(i:$i)}`, `{"i":"20"}`, "i", `cannot use a string as Int`},
		{`query($i:Int){plain(i:$i)}`, `{"i":"many"}`, "i", `cannot use a string as Int`},
		{`query($i:Int){plain(i:$i)}`, `{"i":1.5}`, "i", `cannot use a fraction as Int`},
		{`query($i:Int){plain(i:$i)}`, `{"i":2147483648}`, "i", `cannot use 2147483648 as Int: it has more than 32 bits`},
		{`query($i:Int){plain(i:$i)}`, `{"i":1e300}`, "i", `cannot use 1e300 as Int: it has more than 32 bits`},
		{`query($i:Int){plain(i:$i)}`, `{"i":99999999999999999999}`, "i", `cannot use 99999999999999999999 as Int: it has more than 32 bits`},
		{`query($f:Float){plain(f:$f)}`, `{"f":"1.5"}`, "f", `cannot use a string as Float`},
		{`query($f:Float){plain(f:$f)}`, `{"f":1e999}`, "f", `cannot use 1e999 as Float: it has more than 64 bits`},
		{`query($s:String){plain(s:$s)}`, `{"s":5}`, "s", `cannot use a whole number as String`},
		{`query($s:String){plain(s:$s)}`, `{"s":99999999999999999999}`, "s", `cannot use a number as String`},
		{`query($s:String){plain(s:$s)}`, `{"s":{}}`, "s", `cannot use an object as String`},
		{`query($o:Order){plain(o:$o)}`, `{"o":"newest"}`, "o", `newest is not a valid Order`},
		{`query($o:Order){plain(o:$o)}`, `{"o":1}`, "o", `cannot use a number as Order`},
		{`query($d:DateTime){plain(d:$d)}`, `{"d":5}`, "d", `a DateTime is a string`},
		{`query($d:DateTime){plain(d:$d)}`, `{"d":["2026-03-01T09:30:00Z"]}`, "d", `a DateTime is a string`},
		{`query($x:Boolean=true){plain @include(if:$x)}`, `{"x":null}`, "x", `cannot be null`},
		{`query($i:Int=1){must(i:$i)}`, `{"i":null}`, "i", `cannot be null`},
		{`query($i:Int){must(i:$i)}`, `{"i":null}`, "i", `cannot be null`},
		{`query($x:Boolean){plain @include(if:$x)}`, `{}`, "", ""},
	} {
		d, errs := c.Compile(r.text)
		if r.argument == "" {
			if errs == nil {
				t.Errorf("%s: got a document, want it refused", r.text)
			}
			continue
		}
		if errs != nil {
			t.Errorf("%s: got %v, want a document", r.text, errs)
			continue
		}
		o, _ := d.Operation("")
		_, errs = o.Variables(decoded(t, r.given))
		if len(errs) != 1 {
			t.Errorf("%s %s: got %v, want one error", r.text, r.given, errs)
			continue
		}
		if want := "variable $" + r.argument + ": " + r.message; errs[0].Message != want {
			t.Errorf("%s %s: got %s, want %s", r.text, r.given, errs[0].Message, want)
		}
		if e := errs[0].Extensions; e["code"] != "BAD_USER_INPUT" || e["argument"] != r.argument {
			t.Errorf("%s %s: got %v, want BAD_USER_INPUT of %s", r.text, r.given, e, r.argument)
		}
	}
}

func TestCompile_RefusesLiterals(t *testing.T) {
	t.Parallel()
	c := compilerFor(t, variablesSchema, Options{})
	for _, r := range []struct{ text, argument, message string }{
		{`{post(id:"abc")}`, "id", `"abc" is not an ID`},
		{`{post(id:-1)}`, "id", `"-1" is not an ID`},
		{`{post(id:"""a""")}`, "id", `"a" is not an ID`},
		{`{posts(ids:[1,"x"])}`, "ids[1]", `"x" is not an ID`},
		{`{posts(ids:"x")}`, "ids", `"x" is not an ID`},
		{`{posts(filters:[{size:1},{inner:{ids:["0"]}}])}`, "filters[1].inner.ids[0]", `"0" is not an ID`},
		{`{posts(filter:{since:"now"})}`, "filter.since", `"now" is not a DateTime such as 2026-03-01T09:30:00Z`},
		{`{posts(filter:{since:5})}`, "filter.since", `a DateTime is a string`},
		{`{posts(filter:{since:["2026-03-01T09:30:00Z"]})}`, "filter.since", `a DateTime is a string`},
		{`{posts(filter:{since:{a:1}})}`, "filter.since", `a DateTime is a string`},
		{`{posts(filter:{since:[]})}`, "filter.since", `a DateTime is a string`},
		{`{plain(i:2147483648)}`, "i", `cannot use 2147483648 as Int: it has more than 32 bits`},
		{`query($id:ID!="x"){post(id:$id)}`, "$id", `"x" is not an ID`},
		{`query($f:Filter={ids:["x"]}){posts(filter:$f)}`, "$f.ids[0]", `"x" is not an ID`},
		{`{...F} fragment F on Query{post(id:"abc")}`, "id", `"abc" is not an ID`},
	} {
		_, errs := c.Compile(r.text)
		if len(errs) == 0 {
			t.Errorf("%s: got a document, want it refused", r.text)
			continue
		}
		if want := "argument " + r.argument + ": " + r.message; errs[0].Message != want || len(errs[0].Locations) != 1 {
			t.Errorf("%s: got %v, want %s with its place", r.text, errs, want)
		}
		if e := errs[0].Extensions; e["code"] != "GRAPHQL_VALIDATION_FAILED" || e["argument"] != r.argument {
			t.Errorf("%s: got %v, want GRAPHQL_VALIDATION_FAILED of %s", r.text, e, r.argument)
		}
	}
	for _, text := range []string{
		`{post(id:7)}`, `{post(id:"7")}`, `{posts(ids:null)}`, `{posts(ids:[])}`, `{posts(filter:{since:null})}`, `{plain(i:-2147483648)}`,
		`{plain(x:[1,{a:"b"}],d:"2026-03-01T09:30:00Z",many:"one")}`,
	} {
		if _, errs := c.Compile(text); errs != nil {
			t.Errorf("%s: got %v, want a document", text, errs)
		}
	}
}
