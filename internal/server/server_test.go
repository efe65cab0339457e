package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/graph"
	"freshet/internal/auth"
	"freshet/internal/operation"
	"freshet/internal/policy"
	"freshet/internal/testenv"
	"freshet/models"

	"github.com/99designs/gqlgen/graphql"
)

// resolvers answers the few fields that tests ask for; the others panic, which some tests ask for too.
type resolvers struct {
	graph.ResolverRoot
	post          func(ctx context.Context, id models.ID) (*models.Post, error)
	feed          func(ctx context.Context, first *int) (*models.Connection[models.Post], error)
	updateProfile func(ctx context.Context, input models.UpdateProfileInput) (*models.UpdateProfilePayload, error)
}

type queries struct {
	graph.QueryResolver
	*resolvers
}

type mutations struct {
	graph.MutationResolver
	*resolvers
}

type posts struct{ graph.PostResolver }

func (r *resolvers) Query() graph.QueryResolver       { return queries{resolvers: r} }
func (r *resolvers) Mutation() graph.MutationResolver { return mutations{resolvers: r} }
func (r *resolvers) Post() graph.PostResolver         { return posts{} }

func (q queries) Post(ctx context.Context, id models.ID) (*models.Post, error) {
	if q.post != nil {
		return q.post(ctx, id)
	}
	return &models.Post{ID: id, Title: "A post", Body: strings.Repeat("Words of a post. ", 200)}, nil
}

func (q queries) Feed(
	ctx context.Context, first *int, _ *string, _ *models.FeedFilter, _ models.FeedOrder,
) (*models.Connection[models.Post], error) {
	if q.feed != nil {
		return q.feed(ctx, first)
	}
	return nil, models.BadArgument("first", "must be 1 to 100, got %d", *first)
}

func (q queries) Viewer(context.Context) (*models.Viewer, error) { return &models.Viewer{}, nil }

func (m mutations) UpdateProfile(
	ctx context.Context, input models.UpdateProfileInput,
) (*models.UpdateProfilePayload, error) {
	return m.updateProfile(ctx, input)
}

func authenticateTest(_ context.Context, token string) (*models.Viewer, error) {
	switch token {
	case "good":
		return &models.Viewer{ID: 1}, nil
	case "broken":
		return nil, errors.New("query sessions: connection refused to db.internal")
	case "unavailable":
		return nil, &models.Error{Code: models.CodeUnavailable, Message: "sessions cannot be read now"}
	}
	return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "the token is unknown or has expired"}
}

func schemaOf(r *resolvers) graphql.ExecutableSchema {
	return graph.NewExecutableSchema(graph.Config{Resolvers: r, Directives: graph.DirectiveRoot{
		Authenticated: func(ctx context.Context, _ any, next graphql.Resolver) (any, error) {
			if auth.Viewer(ctx) == nil {
				return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "sign in first"}
			}
			return next(ctx)
		},
		RequiresScopes: func(ctx context.Context, _ any, next graphql.Resolver, _ [][]string) (any, error) {
			return next(ctx)
		},
	}})
}

func compilerOf(introspection bool) *operation.Compiler {
	schema := schemaOf(nil).Schema()
	table, err := policy.Read(schema)
	if err != nil {
		panic(err)
	}
	return operation.NewCompiler(operation.Options{Schema: schema, Policy: table, Introspection: introspection})
}

// running is a server that ends with its test.
type running struct {
	*Server
	url  string
	log  *testenv.Log
	stop func() error // waits for Serve
}

func start(t *testing.T, r *resolvers, change func(*Options)) *running {
	t.Helper()
	log := &testenv.Log{}
	options := Options{
		Addr:         "127.0.0.1:0",
		Schema:       schemaOf(r),
		Compiler:     compilerOf(false),
		Authenticate: authenticateTest,
		Log:          slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),

		RequestTimeout: waitLong, DrainTimeout: waitLong,
	}
	if change != nil {
		change(&options)
	}
	s, err := New(options)
	if err != nil {
		t.Fatalf("New: got %v, want no error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() { stop() })
	return &running{Server: s, url: "http://" + s.Addr().String(), log: log, stop: stop}
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// errorOf is the only error of a GraphQL response.
func (a answer) errorOf(t *testing.T) (e struct {
	Message    string
	Path       []any
	Extensions map[string]any
},
) {
	t.Helper()
	var response struct{ Errors []json.RawMessage }
	if err := json.Unmarshal([]byte(a.body), &response); err != nil || len(response.Errors) != 1 {
		t.Fatalf("response: got %s, want one error", a.body)
	}
	if err := json.Unmarshal(response.Errors[0], &e); err != nil {
		t.Fatalf("error: got %s, want an object", response.Errors[0])
	}
	return e
}

func (a answer) hasData(t *testing.T) bool {
	t.Helper()
	var response map[string]json.RawMessage
	if err := json.Unmarshal([]byte(a.body), &response); err != nil {
		t.Fatalf("response: got %q, want JSON", a.body)
	}
	_, has := response["data"]
	return has
}

// request is what a test sends; header has "Name: value" lines.
type request struct {
	method string
	path   string // /graphql if empty
	header []string
	body   string
}

func (s *running) do(t *testing.T, r request) answer {
	t.Helper()
	a, err := s.try(r)
	if err != nil {
		t.Fatalf("%s %s: got %v, want a response", r.method, r.path, err)
	}
	return a
}

func (s *running) try(r request) (answer, error) {
	path := r.path
	if path == "" {
		path = "/graphql"
	}
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequest(r.method, s.url+path, body)
	if err != nil {
		return answer{}, err
	}
	for _, line := range r.header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

const jsonBody = "Content-Type: application/json"

// post sends a query and variables as clients do.
func (s *running) post(t *testing.T, query, variables string, header ...string) answer {
	t.Helper()
	text, _ := json.Marshal(query)
	if variables == "" {
		variables = "null"
	}
	return s.do(t, request{
		method: "POST", header: append([]string{jsonBody}, header...),
		body: `{"query": ` + string(text) + `, "variables": ` + variables + `}`,
	})
}

// postChunked tells no length.
func (s *running) postChunked(t *testing.T, body string) int {
	t.Helper()
	response, err := http.Post(s.url+"/graphql", "application/json", struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Fatalf("POST chunked: got %v, want a response", err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestServer_DrainsRunningRequests(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, &resolvers{post: func(ctx context.Context, id models.ID) (*models.Post, error) {
		close(entered)
		<-release
		return &models.Post{ID: id}, ctx.Err()
	}}, nil)
	answered := make(chan answer, 1)
	go func() {
		a, _ := s.try(request{method: "GET", path: "/graphql?query={post(id:1){id}}"})
		answered <- a
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	for refused := false; !refused; {
		_, err := s.try(request{method: "GET", path: "/livez"})
		refused = err != nil
	}
	select {
	case err := <-stopped:
		t.Fatalf("Serve: returned %v, want it to wait for the running request", err)
	default:
	}
	close(release)
	if got, want := <-answered, `{"data":{"post":{"id":"1"}}}`; got.body != want {
		t.Errorf("running request: got %d %q, want %q", got.status, got.body, want)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: got %v, want no error", err)
	}
}

func TestServer_CancelsRequestsThatOutlastTheDrain(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}), make(chan error, 1)
	s := start(t, &resolvers{post: func(ctx context.Context, _ models.ID) (*models.Post, error) {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}, func(o *Options) { o.DrainTimeout = time.Millisecond })
	go s.try(request{method: "GET", path: "/graphql?query={post(id:1){id}}"})
	<-entered
	if err := s.stop(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Serve: got %v, want the drain's deadline exceeded", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("running request: got context error %v, want canceled", err)
	}
}

func TestServer_IsUnreadyWhileItStillServes(t *testing.T) {
	t.Parallel()
	const delay = time.Second
	s := start(t, &resolvers{}, func(o *Options) { o.DrainDelay = delay })
	asked, over := make(chan time.Duration, 1), make(chan time.Time)
	s.after = func(d time.Duration) <-chan time.Time { asked <- d; return over }
	if a := s.do(t, request{method: "GET", path: "/readyz"}); a.status != 200 {
		t.Errorf("/readyz before: got %d, want 200", a.status)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	if got := testenv.Receive(t, "the server drains", asked); got != delay {
		t.Errorf("delay: got %s, want %s", got, delay)
	}
	if a := s.do(t, request{method: "GET", path: "/readyz"}); a.status != 503 {
		t.Errorf("/readyz while draining: got %d, want 503", a.status)
	}
	if a := s.post(t, "{__typename}", ""); a.status != 200 {
		t.Errorf("request while draining: got %d, want 200", a.status)
	}
	close(over)
	if err := testenv.Receive(t, "the server has stopped", stopped); err != nil {
		t.Errorf("Serve: got %v, want no error", err)
	}
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{Addr: "127.0.0.1:0"}); err == nil {
		t.Error("without a schema: got no error, want one")
	}
	s := start(t, &resolvers{}, nil)
	_, err := New(Options{Addr: s.Addr().String(), Schema: schemaOf(&resolvers{}), Compiler: compilerOf(false)})
	if err == nil || !strings.Contains(err.Error(), s.Addr().String()) {
		t.Errorf("address in use: got %v, want an error that names %s", err, s.Addr())
	}
}
