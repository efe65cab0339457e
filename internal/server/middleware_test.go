package server

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"freshet/models"
)

func TestMiddleware_RequestID(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	for sent, kept := range map[string]bool{
		"0b6f2d9e-4a1f-4c58-9a0e-7a3d3b0f9c11": true,
		"Root=1-67891233-abcdef012345678912":   true,
		"":                                     false,
		"two words":                            false,
		`"quoted"`:                             false,
		"<script>":                             false,
		strings.Repeat("x", 129):               false,
	} {
		var header []string
		if sent != "" {
			header = []string{"X-Request-Id: " + sent}
		}
		a := s.do(t, request{method: "GET", path: "/livez", header: header})
		if got := a.header.Get("X-Request-Id"); got == "" || (got == sent) != kept {
			t.Errorf("X-Request-Id %q: got %q, kept should be %v", sent, got, kept)
		}
	}
}

func TestMiddleware_AccessLog(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	a := s.post(t, "query Hello{post(id:1){body}}", "", "X-Request-Id: req-7", "Accept-Encoding: gzip")
	s.do(t, request{method: "GET", path: "/nowhere?secret=1"})
	s.stop() // the line is written behind the response
	lines := logged(t, s.log, "request")
	if len(lines) != 2 {
		t.Fatalf("log: got %d lines, want 2: %s", len(lines), s.log)
	}
	first, second := lines[0], lines[1]
	if first["request"] != "req-7" || first["operation"] != "Hello" || first["status"] != 200.0 || first["method"] != "POST" {
		t.Errorf("first: got %v, want POST req-7 Hello 200", first)
	}
	if first["bytes"] != float64(len(a.body)) || first["took"] == nil {
		t.Errorf("first: got %v, want the %d bytes that were sent, and a duration", first, len(a.body))
	}
	if second["path"] != "/nowhere" || second["status"] != 404.0 {
		t.Errorf("second: got %v, want /nowhere 404", second)
	}
}

func TestMiddleware_Gzip(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	plain := s.post(t, "{post(id:1){body}}", "")
	packed := s.post(t, "{post(id:1){body}}", "", "Accept-Encoding: gzip, br")
	if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("Content-Encoding: got %q and %q, want none and gzip",
			plain.header.Get("Content-Encoding"), packed.header.Get("Content-Encoding"))
	}
	reader, err := gzip.NewReader(strings.NewReader(packed.body))
	if err != nil {
		t.Fatalf("gzip: got %v, want a stream", err)
	}
	if unpacked, err := io.ReadAll(reader); err != nil || string(unpacked) != plain.body {
		t.Errorf("unpacked: got %d bytes, %v, want the plain %d", len(unpacked), err, len(plain.body))
	}
	for _, a := range []answer{plain, packed} {
		vary := strings.Join(a.header.Values("Vary"), ", ")
		if vary != "Accept, Accept-Encoding" {
			t.Errorf("Vary: got %q, want Accept and Accept-Encoding", vary)
		}
	}
	if short := s.post(t, "{__typename}", "", "Accept-Encoding: gzip"); short.header.Get("Content-Encoding") != "" {
		t.Errorf("short response: got Content-Encoding %q, want none", short.header.Get("Content-Encoding"))
	}
}

func TestMiddleware_CORS(t *testing.T) {
	t.Parallel()
	const origin = "https://app.example.org"
	preflight := []string{
		"Origin: " + origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type",
	}
	closed := start(t, &resolvers{}, nil)
	open := start(t, &resolvers{}, func(o *Options) { o.Origins = []string{origin} })
	if a := closed.do(t, request{method: "OPTIONS", header: preflight}); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("no origins: got %v, want nothing allowed", a.header)
	}
	a := open.do(t, request{method: "OPTIONS", header: preflight})
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != origin ||
		a.header.Get("Access-Control-Allow-Headers") != "authorization,content-type" {
		t.Errorf("preflight: got %d %v, want 204 with origin and headers allowed", a.status, a.header)
	}
	a = open.post(t, "{__typename}", "", "Origin: "+origin)
	if a.header.Get("Access-Control-Allow-Origin") != origin || a.header.Get("Access-Control-Expose-Headers") == "" {
		t.Errorf("request: got %v, want the origin allowed", a.header)
	}
	a = open.post(t, "{__typename}", "", "Origin: "+origin, "Authorization: Bearer stale")
	if a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != origin {
		t.Errorf("refused request: got %d %v, want 401 that the page can read", a.status, a.header)
	}
	a = open.post(t, "{__typename}", "", "Origin: https://evil.example")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: got %v, want nothing allowed", a.header)
	}
}

func TestMiddleware_CrossSite(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, func(o *Options) { o.Origins = []string{"https://app.example.org"} })
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"an app":                             {nil, 200},
		"the address bar":                    {[]string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, 200},
		"the playground":                     {[]string{"Sec-Fetch-Site: same-origin"}, 200},
		"an image of another site":           {[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 400},
		"an image of a sister site":          {[]string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"}, 400},
		"a script of another site":           {[]string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 400},
		"an old browser on another site":     {[]string{"Origin: https://evil.example"}, 400},
		"a sandboxed page":                   {[]string{"Origin: null"}, 400},
		"a script of an allowed site":        {[]string{"Sec-Fetch-Site: cross-site", "Origin: https://app.example.org"}, 200},
		"an old browser on the same site":    {[]string{"Origin: " + s.url}, 200},
		"with Apollo's header":               {[]string{"Sec-Fetch-Site: cross-site", "Apollo-Require-Preflight: true"}, 200},
		"with Apollo's header, empty":        {[]string{"Sec-Fetch-Site: cross-site", "Apollo-Require-Preflight: "}, 400},
		"with the operation's name":          {[]string{"Sec-Fetch-Site: cross-site", "X-Apollo-Operation-Name: A"}, 200},
		"with a JSON content type":           {[]string{"Sec-Fetch-Site: cross-site", jsonBody}, 200},
		"with a simple content type":         {[]string{"Sec-Fetch-Site: cross-site", "Content-Type: text/plain"}, 400},
		"with a content type of a form":      {[]string{"Sec-Fetch-Site: cross-site", "Content-Type: multipart/form-data; boundary=x"}, 400},
		"with a malformed content type":      {[]string{"Sec-Fetch-Site: cross-site", "Content-Type: /;"}, 400},
		"with a token":                       {[]string{"Sec-Fetch-Site: cross-site", "Authorization: Bearer good"}, 200},
		"with a token that was never issued": {[]string{"Sec-Fetch-Site: cross-site", "Authorization: Bearer other"}, 401},
	} {
		if a := s.do(t, request{method: "GET", path: get("query", "{__typename}"), header: c.header}); a.status != c.status {
			t.Errorf("%s: got %d %s, want %d", name, a.status, a.body, c.status)
		}
	}
}

func TestAuthenticate_Headers(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	for header, want := range map[string]int{
		"Bearer good":                          200,
		"bearer good":                          200,
		"BEARER   good":                        200,
		"":                                     200, // signed-out clients send it so; the field then refuses
		"Bearer":                               401,
		"Bearer ":                              401,
		"good":                                 401,
		"Basic Z29vZA==":                       401,
		"Bearer good more":                     401,
		"Bearer gööd":                          401,
		"Bearer ==":                            401,
		"Bearer " + strings.Repeat("a", 10000): 401,
	} {
		a := s.post(t, "{__typename}", "", "Authorization: "+header)
		if a.status != want {
			t.Errorf("Authorization %.40q: got %d, want %d", header, a.status, want)
		}
		if challenge := a.header.Get("WWW-Authenticate"); (want == 401) != strings.HasPrefix(challenge, "Bearer") {
			t.Errorf("Authorization %.40q: got WWW-Authenticate %q", header, challenge)
		}
	}
	twice := s.post(t, "{__typename}", "", "Authorization: Bearer good", "Authorization: Bearer other")
	if twice.status != 401 {
		t.Errorf("two tokens: got %d, want 401", twice.status)
	}
	none := start(t, &resolvers{}, func(o *Options) { o.Authenticate = nil })
	if a := none.post(t, "{__typename}", "", "Authorization: Bearer good"); a.status != 401 {
		t.Errorf("nobody to ask: got %d, want 401", a.status)
	}
}

func TestHealth_States(t *testing.T) {
	t.Parallel()
	down := errors.New("dial db.internal: refused")
	for name, c := range map[string]struct {
		checks []Check
		status int
		body   string
	}{
		"nothing to check": {nil, 200, `{"checks":{},"status":"ready"}`},
		"all well":         {[]Check{{Name: "postgresql"}, {Name: "redis", Optional: true}}, 200, `{"checks":{"postgresql":"ok","redis":"ok"},"status":"ready"}`},
		"redis down":       {[]Check{{Name: "postgresql"}, {Name: "redis", Optional: true, Err: down}}, 200, `{"checks":{"postgresql":"ok","redis":"failing"},"status":"degraded"}`},
		"database down":    {[]Check{{Name: "postgresql", Err: down}, {Name: "redis", Optional: true, Err: down}}, 503, `{"checks":{"postgresql":"failing","redis":"failing"},"status":"unready"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, &resolvers{}, func(o *Options) { o.Ready = func(context.Context) []Check { return c.checks } })
			a := s.do(t, request{method: "GET", path: "/readyz"})
			if a.status != c.status || strings.TrimSpace(a.body) != c.body {
				t.Errorf("/readyz: got %d %s, want %d %s", a.status, a.body, c.status, c.body)
			}
			if a := s.do(t, request{method: "GET", path: "/livez"}); a.status != 200 {
				t.Errorf("/livez: got %d, want 200", a.status)
			}
		})
	}
}

func TestMetrics_CountRequests(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	s.post(t, "{__typename}", "")
	s.post(t, "{viewer{scopes}}", "")
	s.post(t, "{", "")
	s.do(t, request{method: "GET", path: get("query", "mutation{signOut{endedSessionId}}")})
	a := s.do(t, request{method: "GET", path: "/metrics"})
	for _, want := range []string{
		`freshet_http_requests_total{route="/graphql",status="200"} 2`,
		`freshet_http_requests_total{route="/graphql",status="405"} 1`,
		`freshet_graphql_operations_total{outcome="ok",type="query"} 1`,
		`freshet_graphql_operations_total{outcome="errors",type="query"} 1`,
		`freshet_graphql_operations_total{outcome="refused",type="unknown"} 1`,
		`freshet_graphql_operations_total{outcome="refused",type="mutation"} 1`,
		`freshet_graphql_errors_total{code="UNAUTHENTICATED"} 1`,
		`freshet_graphql_operation_duration_seconds_count{type="query"} 2`,
		`freshet_http_request_duration_seconds_count{route="/graphql"} 4`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("/metrics: got %s\nwant %s in it", grep(a.body, "freshet_"), want)
		}
	}
}

func grep(text, part string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) && !strings.Contains(line, "_bucket") && line[0] != '#' {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

func TestRoutes_Playground(t *testing.T) {
	t.Parallel()
	off := start(t, &resolvers{}, nil)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		io.WriteString(w, r.URL.Path)
	})
	on := start(t, &resolvers{}, func(o *Options) { o.Playground = page })
	for path, want := range map[string][2]int{
		"/": {404, 302}, "/playground": {404, 200}, "/playground/": {404, 200}, "/playground/a/b": {404, 200}, "/other": {404, 404},
	} {
		a, b := off.do(t, request{method: "GET", path: path}), on.do(t, request{method: "GET", path: path})
		if a.status != want[0] || b.status != want[1] {
			t.Errorf("%s: got %d without and %d with the playground, want %v", path, a.status, b.status, want)
		}
		if b.status == 200 && (b.body != path || b.header.Get("Cache-Control") != "no-cache") {
			t.Errorf("%s: got %q, Cache-Control %q, want its path and no-cache", path, b.body, b.header.Get("Cache-Control"))
		}
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %v, want no-store and nosniff", path, a.header)
		}
	}
	if a := on.do(t, request{method: "GET", path: "/"}); a.header.Get("Location") != "/playground" {
		t.Errorf("/: got Location %q, want /playground", a.header.Get("Location"))
	}
	if a := on.do(t, request{method: "POST", path: "/livez"}); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /livez: got %d, Allow %q, want 405, GET, HEAD", a.status, a.header.Get("Allow"))
	}
}

// TestEndpoint_ConcurrentRequests is for the race detector: fields of one request fail at once.
func TestEndpoint_ConcurrentRequests(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{post: func(context.Context, models.ID) (*models.Post, error) {
		return nil, models.BadArgument("id", "is wrong")
	}}, nil)
	done := make(chan int)
	for range 8 {
		go func() {
			n := 0
			for range 10 {
				a := s.post(t, "{x:post(id:1){id} y:post(id:2){id} z:post(id:3){id}}", "")
				n += strings.Count(a.body, "BAD_USER_INPUT")
			}
			done <- n
		}()
	}
	for range 8 {
		if n := <-done; n != 30 {
			t.Errorf("errors: got %d, want 30", n)
		}
	}
}
