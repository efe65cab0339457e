package server

import "testing"

func TestRequest_MalformedBodies(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	for body, want := range map[string]string{
		"":                                     "the body is empty",
		"  ":                                   "the body is empty",
		`{"query":`:                            "the body is not JSON: unexpected end of JSON input at byte 9",
		`{"query":"{a}"} x`:                    "the body is not JSON: invalid character 'x' after top-level value at byte 17",
		`query=x`:                              "the body is not JSON: invalid character 'q' looking for beginning of value at byte 1",
		`[{"query":"{a}"}]`:                    "batches are not supported: send one operation a request",
		`"{a}"`:                                "the body must be a JSON object",
		`null`:                                 "the body must be a JSON object",
		"{\"query\":\"{a\xff}\"}":              "the body is not valid UTF-8",
		`{"query":"{a}","variables":{"a":01}}`: "the body is not JSON: invalid character '1' after object key:value pair at byte 34",
		`{"query":5}`:                          "query must be a string",
		`{"query":["{a}"]}`:                    "query must be a string",
		`{"Query":"{__typename}"}`:             "GraphQL operations must contain a non-empty `query` or a `persistedQuery` extension.",
		`{"query":" "}`:                        "GraphQL operations must contain a non-empty `query` or a `persistedQuery` extension.",
		`{"query":null}`:                       "GraphQL operations must contain a non-empty `query` or a `persistedQuery` extension.",
		`{"query":"{a}","operationName":1}`:    "operationName must be a string",
		`{"query":"{a}","variables":[]}`:       "variables must be a JSON object",
		`{"query":"{a}","variables":"{}"}`:     "variables must be a JSON object",
		`{"query":"{a}","extensions":1}`:       "extensions must be a JSON object",
		`{"documentId":1}`:                     "documentId must be a string",
		`{"query":"{a}","extensions":{"persistedQuery":1}}`: "Unsupported persisted query version",
		`{"extensions":{"persistedQuery":{"version":1}}}`:   "extensions.persistedQuery.sha256Hash must be a string",
	} {
		a := s.do(t, request{method: "POST", header: []string{jsonBody}, body: body})
		e := a.errorOf(t)
		if a.status != 400 || e.Message != want || e.Extensions["code"] != "BAD_REQUEST" {
			t.Errorf("%.60q: got %d %q %v, want 400 %q", body, a.status, e.Message, e.Extensions["code"], want)
		}
	}
}

func TestRequest_MalformedAddresses(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	for path, want := range map[string]string{
		"/graphql":                                   "GraphQL operations must contain a non-empty `query` or a `persistedQuery` extension.",
		"/graphql?query=%zz":                         "the address is malformed behind the question mark",
		"/graphql?query=%ff":                         "query is not valid UTF-8",
		"/graphql?query={a}&query={b}":               "query is given twice",
		"/graphql?query={a}&variables=[]":            "variables must be a JSON object",
		"/graphql?query={a}&variables={":             "variables must be a JSON object",
		"/graphql?query={a}&extensions=true":         "extensions must be a JSON object",
		"/graphql?query={a}&variables=%22%7B%7D%22":  "variables must be a JSON object",
		"/graphql?query={a}&variables={}%20{}":       "variables must be a JSON object",
		"/graphql?query=&operationName=&variables={": "variables must be a JSON object",
	} {
		a := s.do(t, request{method: "GET", path: path})
		if e := a.errorOf(t); a.status != 400 || e.Message != want {
			t.Errorf("%s: got %d %q, want 400 %q", path, a.status, e.Message, want)
		}
	}
}

func TestRequest_TakesWhatIsLegal(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	const want = `{"data":{"__typename":"Query"}}`
	for _, body := range []string{
		`{"query":"{__typename}","unknown":[1],"variables":null,"extensions":null,"operationName":null}`,
		`{"query":"query A{__typename} query B{a:__typename}","operationName":"A"}`,
		`{"query":"{__typename}","id":"sha256:ab"}`,
		"\n {\"query\": \"{__typename}\", \"extensions\": {\"tracing\": 1e3}} \n",
	} {
		if a := s.do(t, request{method: "POST", header: []string{jsonBody}, body: body}); a.body != want {
			t.Errorf("%s: got %d %s, want %s", body, a.status, a.body, want)
		}
	}
	path := get("query", "{__typename}", "variables", "", "operationName", "", "extensions", "{}")
	if a := s.do(t, request{method: "GET", path: path}); a.body != want {
		t.Errorf("%s: got %d %s, want %s", path, a.status, a.body, want)
	}
}

// TestRequest_WrongArguments has input that the schema's types refuse; each error names the argument.
func TestRequest_WrongArguments(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	const (
		byID   = "query($id:ID!){post(id:$id){id}}"
		byFeed = "query($first:Int,$filter:FeedFilter,$order:FeedOrder!=NEWEST){feed(first:$first,filter:$filter,order:$order){nodes{id}}}"
		update = "mutation($input:UpdateProfileInput!){updateProfile(input:$input){userErrors{code}}}"
	)
	for _, c := range []struct {
		query, variables string
		status           int
		argument         string
		message          string
	}{
		{byID, `{}`, 400, "id", "variable $id: must be defined"},
		{byID, `{"id":null}`, 400, "id", "variable $id: cannot be null"},
		{byID, `{"id":1.5}`, 400, "id", "variable $id: cannot use a fraction as ID"},
		{byID, `{"id":"abc"}`, 400, "id", `variable $id: "abc" is not an ID`},
		{byID, `{"id":99999999999999999999}`, 400, "id", `variable $id: "99999999999999999999" is not an ID`},
		{byFeed, `{"first":"ten"}`, 400, "first", "variable $first: cannot use a string as Int"},
		{byFeed, `{"first":1.5}`, 400, "first", "variable $first: cannot use a fraction as Int"},
		{byFeed, `{"filter":{"since":"yesterday"}}`, 400, "filter.since", `variable $filter.since: "yesterday" is not a DateTime such as 2026-03-01T09:30:00Z`},
		{byFeed, `{"filter":{"tags":["a"]}}`, 400, "filter.tags", "variable $filter.tags: unknown field"},
		{byFeed, `{"filter":{"languages":[1]}}`, 400, "filter.languages[0]", "variable $filter.languages[0]: cannot use a whole number as String"},
		{byFeed, `{"order":"BEST"}`, 400, "order", "variable $order: BEST is not a valid FeedOrder"},
		{byFeed, `{"first":0}`, 200, "first", "first: must be 1 to 100, got 0"},
		{byFeed, `{"first":20.0}`, 200, "first", "first: must be 1 to 100, got 20"},
		{update, `{"input":{"name":5}}`, 400, "input.name", "variable $input.name: cannot use a whole number as String"},
		{update, `{"input":"x"}`, 400, "input", "variable $input: must be a UpdateProfileInput, not a string"},
	} {
		a := s.post(t, c.query, c.variables, "Authorization: Bearer good")
		e := a.errorOf(t)
		if a.status != c.status || e.Message != c.message {
			t.Errorf("%s: got %d %q, want %d %q", c.variables, a.status, e.Message, c.status, c.message)
		}
		if e.Extensions["argument"] != c.argument || e.Extensions["code"] != "BAD_USER_INPUT" {
			t.Errorf("%s: got %v, want argument %s of BAD_USER_INPUT", c.variables, e.Extensions, c.argument)
		}
	}
}
