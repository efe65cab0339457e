package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"

	"freshet/models"

	"github.com/99designs/gqlgen/graphql"
)

const (
	acceptGraphQL = "Accept: application/graphql-response+json"
	acceptJSON    = "Accept: application/json"
	acceptAny     = "Accept: */*"
)

// get is the path of a query by GET.
func get(parameters ...string) string {
	values := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		values.Set(parameters[i], parameters[i+1])
	}
	return "/graphql?" + values.Encode()
}

func body(members map[string]any) string {
	text, _ := json.Marshal(members)
	return string(text)
}

func apq(query, hash string, version any) string {
	members := map[string]any{"extensions": map[string]any{
		"persistedQuery": map[string]any{"version": version, "sha256Hash": hash},
	}}
	if query != "" {
		members["query"] = query
	}
	return body(members)
}

func hashOf(query string) string {
	sum := sha256.Sum256([]byte(query))
	return hex.EncodeToString(sum[:])
}

type statusRow struct {
	name     string
	request  request
	statuses [3]int // GraphQL's type, application/json, anything
	code     string // of the error, if there is no result
	header   string // "Name: value" that must be there
}

// TestEndpoint_Statuses has the rows of the table of statuses; each runs with every kind of Accept.
func TestEndpoint_Statuses(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	post := func(body string) request { return request{method: "POST", header: []string{jsonBody}, body: body} }
	rows := []statusRow{
		{"result", post(`{"query":"{__typename}"}`), [3]int{200, 200, 200}, "", "Cache-Control: no-store"},
		{"result by GET", request{method: "GET", path: get("query", "{__typename}")}, [3]int{200, 200, 200}, "", ""},
		{"parse error", post(`{"query":"{"}`), [3]int{400, 200, 400}, "GRAPHQL_PARSE_FAILED", ""},
		{"parse error by GET", request{method: "GET", path: get("query", "{")}, [3]int{400, 200, 400}, "GRAPHQL_PARSE_FAILED", ""},
		{"unknown field", post(`{"query":"{nope}"}`), [3]int{400, 200, 400}, "GRAPHQL_VALIDATION_FAILED", ""},
		{"literal of a custom type", post(`{"query":"{post(id:\"abc\"){id}}"}`), [3]int{400, 200, 400}, "GRAPHQL_VALIDATION_FAILED", ""},
		{"too deep", post(`{"query":"{post(id:1){` + strings.Repeat("author{posts{nodes{", 8) + "id" + strings.Repeat("}}}", 8) + `}}"}`), [3]int{400, 200, 400}, "MAX_DEPTH_LIMIT", ""},
		{"too dear", post(`{"query":"{feed(first:100){nodes{author{posts(first:100){nodes{id}}}}}}"}`), [3]int{400, 200, 400}, "COST_ESTIMATED_TOO_EXPENSIVE", ""},
		{"empty document", post(`{"query":"# nothing"}`), [3]int{400, 200, 400}, "GRAPHQL_VALIDATION_FAILED", ""},
		{"variable missing", post(`{"query":"query($id:ID!){post(id:$id){id}}"}`), [3]int{400, 200, 400}, "BAD_USER_INPUT", ""},
		{"unknown operation", post(`{"query":"query A{__typename}","operationName":"B"}`), [3]int{400, 200, 400}, "OPERATION_RESOLUTION_FAILURE", ""},
		{"ambiguous operation", post(`{"query":"query A{__typename} query B{__typename}"}`), [3]int{400, 200, 400}, "OPERATION_RESOLUTION_FAILURE", ""},
		{"malformed JSON", post(`{"query":`), [3]int{400, 400, 400}, "BAD_REQUEST", ""},
		{"query missing", post(`{}`), [3]int{400, 400, 400}, "BAD_REQUEST", ""},
		{"query not a string", post(`{"query":{}}`), [3]int{400, 400, 400}, "BAD_REQUEST", ""},
		{"APQ without document", post(apq("", hashOf("{a}"), 1)), [3]int{200, 200, 200}, "PERSISTED_QUERY_NOT_SUPPORTED", "Cache-Control: private, no-cache, must-revalidate"},
		{"APQ hash mismatch", post(apq("{__typename}", hashOf("{a}"), 1)), [3]int{400, 400, 400}, "PERSISTED_QUERY_HASH_MISMATCH", ""},
		{"APQ version", post(apq("{__typename}", hashOf("{__typename}"), 2)), [3]int{400, 400, 400}, "BAD_REQUEST", ""},
		{"APQ hash right", post(apq("{__typename}", hashOf("{__typename}"), 1)), [3]int{200, 200, 200}, "", ""},
		{"APQ hash with prefix", post(apq("{__typename}", "sha256:"+hashOf("{__typename}"), 1)), [3]int{200, 200, 200}, "", ""},
		{"documentId", post(`{"documentId":"sha256:ab"}`), [3]int{404, 404, 404}, "PERSISTED_QUERY_NOT_IN_LIST", "Cache-Control: private, no-cache, must-revalidate"},
		{"doc_id", post(`{"doc_id":"ab"}`), [3]int{404, 404, 404}, "PERSISTED_QUERY_NOT_IN_LIST", ""},
		{"id", post(`{"id":"ab"}`), [3]int{404, 404, 404}, "PERSISTED_QUERY_NOT_IN_LIST", ""},
		{"documentId by GET", request{method: "GET", path: get("documentId", "ab")}, [3]int{404, 404, 404}, "PERSISTED_QUERY_NOT_IN_LIST", ""},
		{"mutation by GET", request{method: "GET", path: get("query", "mutation{signOut{endedSessionId}}")}, [3]int{405, 405, 405}, "BAD_REQUEST", "Allow: POST"},
		{"mutation by GET, variables wrong", request{method: "GET", path: get("query", "mutation($i:FollowInput!){follow(input:$i){profile{id}}}")}, [3]int{405, 405, 405}, "BAD_REQUEST", "Allow: POST"},
		{"PUT", request{method: "PUT", header: []string{jsonBody}, body: `{}`}, [3]int{405, 405, 405}, "BAD_REQUEST", "Allow: GET, HEAD, OPTIONS, POST"},
		{"DELETE", request{method: "DELETE"}, [3]int{405, 405, 405}, "BAD_REQUEST", "Allow: GET, HEAD, OPTIONS, POST"},
		{"no content type", request{method: "POST", body: `{"query":"{__typename}"}`}, [3]int{415, 415, 415}, "BAD_REQUEST", ""},
		{"content type of a form", request{method: "POST", header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: "query={a}"}, [3]int{415, 415, 415}, "BAD_REQUEST", ""},
		{"another charset", request{method: "POST", header: []string{jsonBody + "; charset=latin1"}, body: `{"query":"{__typename}"}`}, [3]int{415, 415, 415}, "BAD_REQUEST", ""},
		{"charset named", request{method: "POST", header: []string{jsonBody + "; charset=UTF-8"}, body: `{"query":"{__typename}"}`}, [3]int{200, 200, 200}, "", ""},
		{"compressed body", request{method: "POST", header: []string{jsonBody, "Content-Encoding: gzip"}, body: "x"}, [3]int{415, 415, 415}, "BAD_REQUEST", ""},
		{"address too long", request{method: "GET", path: get("query", "{"+strings.Repeat("a ", 10000)+"}")}, [3]int{414, 414, 414}, "BAD_REQUEST", ""},
		{"token unknown", request{method: "POST", header: []string{jsonBody, "Authorization: Bearer stale"}, body: `{"query":"{__typename}"}`}, [3]int{401, 401, 401}, "UNAUTHENTICATED", `WWW-Authenticate: Bearer error="invalid_token"`},
		{"token malformed", request{method: "POST", header: []string{jsonBody, "Authorization: Basic YTpi"}, body: `{"query":"{__typename}"}`}, [3]int{401, 401, 401}, "UNAUTHENTICATED", `WWW-Authenticate: Bearer error="invalid_request"`},
		{"sessions unavailable", request{method: "POST", header: []string{jsonBody, "Authorization: Bearer unavailable"}, body: `{"query":"{__typename}"}`}, [3]int{503, 503, 503}, "SERVICE_UNAVAILABLE", "Retry-After: 1"},
		{"sessions broken", request{method: "POST", header: []string{jsonBody, "Authorization: Bearer broken"}, body: `{"query":"{__typename}"}`}, [3]int{500, 500, 500}, "INTERNAL_SERVER_ERROR", ""},
	}
	for _, row := range rows {
		for i, accept := range []string{acceptGraphQL, acceptJSON, acceptAny} {
			t.Run(row.name+" "+accept, func(t *testing.T) {
				t.Parallel()
				r := row.request
				r.header = append([]string{accept}, r.header...)
				row.check(t, s.do(t, r), i)
			})
		}
	}
}

// check compares with the row's column.
func (row statusRow) check(t *testing.T, a answer, column int) {
	t.Helper()
	if a.status != row.statuses[column] {
		t.Errorf("status: got %d, want %d; body %s", a.status, row.statuses[column], a.body)
	}
	types := []string{"application/graphql-response+json", "application/json", "application/json"}
	if got, want := a.header.Get("Content-Type"), types[column]+"; charset=utf-8"; got != want {
		t.Errorf("Content-Type: got %q, want %q", got, want)
	}
	if name, want, given := strings.Cut(row.header, ": "); given && a.header.Get(name) != want {
		t.Errorf("%s: got %q, want %q", name, a.header.Get(name), want)
	}
	if a.hasData(t) != (row.code == "") {
		t.Errorf("data: got %v in %s, want %v", a.hasData(t), a.body, row.code == "")
	}
	if row.code == "" {
		return
	}
	e := a.errorOf(t)
	if e.Extensions["code"] != row.code {
		t.Errorf("code: got %v, want %s", e.Extensions["code"], row.code)
	}
	if id := a.header.Get("X-Request-Id"); id == "" || e.Extensions["requestId"] != id {
		t.Errorf("requestId: got %v, want the header's %q", e.Extensions["requestId"], id)
	}
}

func TestEndpoint_FieldErrorsStandBesideData(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	for _, accept := range []string{acceptGraphQL, acceptJSON, acceptAny} {
		a := s.post(t, `{viewer{scopes} post(id:"1"){id}}`, "", accept)
		e := a.errorOf(t)
		if a.status != 200 || e.Extensions["code"] != "UNAUTHENTICATED" || e.Path[0] != "viewer" {
			t.Errorf("%s: got %d %+v, want 200 with UNAUTHENTICATED at viewer", accept, a.status, e)
		}
		if !strings.Contains(a.body, `"data":{"viewer":null,"post":{"id":"1"}}`) {
			t.Errorf("%s: got %s, want the post beside the error", accept, a.body)
		}
	}
}

func TestEndpoint_SizeLimit(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, func(o *Options) { o.BodyLimit = 200 })
	long := `{"query":"{__typename}","variables":{"a":"` + strings.Repeat("x", 200) + `"}}`
	if a := s.do(t, request{method: "POST", header: []string{jsonBody}, body: long}); a.status != 413 {
		t.Errorf("with a length: got %d, want 413", a.status)
	}
	if status := s.postChunked(t, long); status != 413 {
		t.Errorf("chunked: got %d, want 413", status)
	}
	if status := s.postChunked(t, `{"query":"{__typename}"}`); status != 200 {
		t.Errorf("chunked and short: got %d, want 200", status)
	}
}

func TestEndpoint_Head(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	a := s.do(t, request{method: "HEAD", path: get("query", "{__typename}")})
	if a.status != 200 || a.body != "" || a.header.Get("Content-Length") == "" {
		t.Errorf("HEAD: got %d, body %q, Content-Length %q, want 200, none, a length", a.status, a.body, a.header.Get("Content-Length"))
	}
	if a := s.do(t, request{method: "OPTIONS"}); a.status != 204 || a.header.Get("Allow") != methods {
		t.Errorf("OPTIONS: got %d, Allow %q, want 204, %q", a.status, a.header.Get("Allow"), methods)
	}
}

func TestEndpoint_Accept(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	for accept, want := range map[string]string{
		"":  "application/json",
		",": "",
		"application/graphql-response+json, application/json;q=0.9":      "application/graphql-response+json",
		"application/graphql-response+json;q=0.1, application/json":      "application/json",
		"application/json, application/graphql-response+json":            "application/graphql-response+json",
		"application/json, text/plain, */*":                              "application/json",
		"Application/JSON; Charset=UTF-8":                                "application/json",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=.8": "application/json",
		"application/*":                     "application/json",
		"text/html":                         "",
		"application/json;q=0":              "",
		"application/json;charset=latin1":   "",
		"application/json;q=high":           "",
		"*/*;q=0.1, text/html":              "application/json",
		"application/graphql+json, text/ev": "",
	} {
		var header []string
		if accept != "" {
			header = []string{"Accept: " + accept}
		}
		a := s.post(t, "{__typename}", "", header...)
		status := 200
		if want == "" {
			status, want = 406, "application/json"
		}
		if a.status != status || a.header.Get("Content-Type") != want+"; charset=utf-8" {
			t.Errorf("Accept %q: got %d %s, want %d %s", accept, a.status, a.header.Get("Content-Type"), status, want)
		}
		if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Accept") {
			t.Errorf("Accept %q: got Vary %q, want Accept in it", accept, a.header.Values("Vary"))
		}
	}
}

func TestEndpoint_NumbersStayExact(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	const id = "9007199254740993" // 2^53 + 1
	for _, variables := range []string{`{"id":` + id + `}`, `{"id":"` + id + `"}`} {
		a := s.post(t, "query($id:ID!){post(id:$id){id}}", variables)
		if want := `{"data":{"post":{"id":"` + id + `"}}}`; a.body != want {
			t.Errorf("variables %s: got %s, want %s", variables, a.body, want)
		}
	}
	a := s.do(t, request{method: "GET", path: get("query", "query($id:ID!){post(id:$id){id}}", "variables", `{"id":`+id+`}`)})
	if want := `{"data":{"post":{"id":"` + id + `"}}}`; a.body != want {
		t.Errorf("by GET: got %s, want %s", a.body, want)
	}
}

func TestEndpoint_Introspection(t *testing.T) {
	t.Parallel()
	off := start(t, &resolvers{}, nil)
	on := start(t, &resolvers{}, func(o *Options) { o.Compiler = compilerOf(true) })
	const query = `{__schema{queryType{name}}}`
	if a := off.post(t, query, ""); a.status != 400 || a.errorOf(t).Extensions["code"] != "GRAPHQL_VALIDATION_FAILED" {
		t.Errorf("off: got %d %s, want 400", a.status, a.body)
	}
	if a := on.post(t, query, ""); a.body != `{"data":{"__schema":{"queryType":{"name":"Query"}}}}` {
		t.Errorf("on: got %s, want the schema", a.body)
	}
	for _, near := range []string{
		`{poste(id:1){id}}`, `{post(idd:1,id:1){id}}`, `{post(id:1){titel}}`, `query($i:IDD){post(id:$i){id}}`,
		`{feed(order:NEWES){nodes{id}}}`, `{feed(filter:{language:"en"}){nodes{id}}}`, `{post(id:1)}`,
	} {
		if a := off.post(t, near, ""); strings.Contains(a.body, "Did you mean") {
			t.Errorf("off, %s: got %s, want no suggestion", near, a.body)
		}
	}
	if a := on.post(t, `{poste(id:1){id}}`, ""); !strings.Contains(a.body, "Did you mean") {
		t.Errorf("on: got %s, want a suggestion", a.body)
	}
}

func TestEndpoint_LimitsDocuments(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	a := s.post(t, "{"+strings.Repeat("__typename ", 2_000)+"}", "")
	if e := a.errorOf(t); a.status != 400 || e.Extensions["code"] != "MAX_TOKENS_LIMIT" {
		t.Errorf("2,002 tokens: got %d %+v, want 400", a.status, e)
	}
	a = s.post(t, "{post(id:1){"+strings.Repeat("nope ", 40)+"}}", "")
	if n := strings.Count(a.body, `"message"`); a.status != 400 || n != 20 {
		t.Errorf("40 unknown fields: got %d with %d errors, want 400 with 20", a.status, n)
	}
	a = s.post(t, `{... @defer {post(id:1){id}}}`, "")
	if e := a.errorOf(t); e.Message != "@defer is not supported" {
		t.Errorf("@defer: got %+v, want it refused", e)
	}
}

type scopeKey struct{}

// counter hands out 1, 2, … to contexts.
type counter struct{ made int }

func (c *counter) next(ctx context.Context) context.Context {
	c.made++
	return context.WithValue(ctx, scopeKey{}, c.made)
}

func TestEndpoint_ScopesOfContexts(t *testing.T) {
	t.Parallel()
	var responses, rootFields counter
	var seen []any
	s := start(t, &resolvers{
		updateProfile: func(ctx context.Context, _ models.UpdateProfileInput) (*models.UpdateProfilePayload, error) {
			seen = append(seen, ctx.Value(scopeKey{}))
			return &models.UpdateProfilePayload{UserErrors: []*models.UserError{}}, nil
		},
		post: func(ctx context.Context, id models.ID) (*models.Post, error) {
			seen = append(seen, ctx.Value(scopeKey{}))
			return &models.Post{ID: id}, nil
		},
	}, func(o *Options) { o.Response, o.RootField = responses.next, rootFields.next })
	s.post(t, `mutation{a:updateProfile(input:{}){userErrors{code}} b:updateProfile(input:{}){userErrors{code}}}`, "",
		"Authorization: Bearer good")
	if responses.made != 1 || rootFields.made != 2 || len(seen) != 2 || seen[0] != 1 || seen[1] != 2 {
		t.Errorf("mutation: got %d responses, %d root fields, seen %v, want 1, 2, [1 2]", responses.made, rootFields.made, seen)
	}
	seen = nil
	s.post(t, `{post(id:1){id}}`, "")
	if responses.made != 2 || rootFields.made != 2 || len(seen) != 1 || seen[0] != 2 {
		t.Errorf("query: got %d responses, %d root fields, seen %v, want 2, 2, [2]", responses.made, rootFields.made, seen)
	}
}

func TestEncode_Members(t *testing.T) {
	t.Parallel()
	for want, response := range map[string]*graphql.Response{
		`{"data":null}`: {Data: json.RawMessage("null")},
		`{"data":{"a":1},"extensions":{"b":"<>"}}`: {
			Data: json.RawMessage(`{"a":1}`), Extensions: map[string]any{"b": "<>"},
		},
		`{"errors":[{"message":"m"}],"data":null}`: {
			Data: json.RawMessage("null"), Errors: graphql.ErrorResponse(context.Background(), "m").Errors,
		},
	} {
		if got := string(encode(response)); got != want {
			t.Errorf("encode: got %s, want %s", got, want)
		}
	}
}

// TestEndpoint_SharesVariables of equal requests, which nothing may write to then: Go ends the process where two do.
func TestEndpoint_SharesVariables(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{feed: func(context.Context, *int) (*models.Connection[models.Post], error) {
		return &models.Connection[models.Post]{}, nil
	}}, nil)
	const query = `query($filter:FeedFilter){feed(filter:$filter){__typename}}`
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 50 {
				a, err := s.try(request{
					method: "POST", header: []string{jsonBody, "Authorization: Bearer good"},
					body: body(map[string]any{"query": query, "variables": map[string]any{"filter": map[string]any{"categories": []string{"science"}}}}),
				})
				if want := `{"data":{"feed":{"__typename":"PostConnection"}}}`; err != nil || a.body != want {
					t.Errorf("feed: got %s, %v, want %s", a.body, err, want)
				}
			}
		})
	}
	clients.Wait()
}
