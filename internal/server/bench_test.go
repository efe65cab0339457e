package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/opcache"
	"freshet/internal/ratelimit"
	"freshet/internal/testenv"
	"freshet/models"
)

// discarded is a response that nobody reads.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// BenchmarkHit is a result that is kept in this process's memory, from the request to the response, without the network:
// with metrics and limits, and a token that is no trouble.
func BenchmarkHit(b *testing.B) {
	c, o := benchmarked(b)
	o.Schema = schemaOf(&resolvers{post: func(_ context.Context, id models.ID) (*models.Post, error) {
		return &models.Post{ID: id}, nil
	}})
	o.Results = opcache.New(opcache.Options{Cache: c, Version: "1"})
	benchmarkPosts(b, o, `{"query":"{a:post(id:1){id} b:post(id:2){id}}"}`)
}

// BenchmarkExecute is an operation that is executed each time: it reads 20 values of a kind from this process's memory, and
// sends a statement. BenchmarkInspectorOff compares it with what it costs without the inspector.
func BenchmarkExecute(b *testing.B) {
	c, o := benchmarked(b)
	kind := cache.NewKind(c, cache.KindOptions[models.ID, *models.Post]{
		Name: "post", TTL: time.Hour, Key: models.ID.String, Tags: func(id models.ID, _ *models.Post, _ bool) []string { return []string{"post:" + id.String()} },
		Load: func(_ context.Context, ids []models.ID) (map[models.ID]*models.Post, error) {
			loaded := make(map[models.ID]*models.Post)
			for _, id := range ids {
				loaded[id] = &models.Post{ID: id}
			}
			return loaded, nil
		},
	})
	statements, err := NewSQLMetrics(o.Registry)
	if err != nil {
		b.Fatal(err)
	}
	o.Schema = schemaOf(&resolvers{post: func(ctx context.Context, id models.ID) (*models.Post, error) {
		found, err := kind.Many(ctx, []models.ID{id})
		if id == 1 {
			statements.AfterQuery(ctx, &bun.QueryEvent{Query: "SELECT 1", StartTime: time.Now()})
		}
		return found[id], err
	}})
	var fields strings.Builder
	for i := range 20 {
		fmt.Fprintf(&fields, "p%d:post(id:%d){id} ", i, i+1)
	}
	benchmarkPosts(b, o, `{"query":"{`+fields.String()+`}"}`)
}

// benchmarked is a cache that is always in use, and the options of a server over it that lack a schema.
func benchmarked(b *testing.B) (*cache.Cache, Options) {
	b.Helper()
	registry := prometheus.NewRegistry()
	observer, err := NewCacheMetrics(registry)
	if err != nil {
		b.Fatal(err)
	}
	c := newCache(b, observer)
	viewer := &models.Viewer{ID: 1}
	return c, Options{
		Addr: "127.0.0.1:0", Registry: registry, Log: slog.New(slog.DiscardHandler), Compiler: compilerOf(false),
		Authenticate: func(context.Context, string) (*models.Viewer, error) { return viewer, nil },
		Limits: Limits{
			Address: ratelimit.New(ratelimit.Options{Name: "address", Rate: 1e12, Burst: 1e12}),
			Viewer:  ratelimit.New(ratelimit.Options{Name: "viewer", Rate: 1e12, Burst: 1e12}),
		},
	}
}

// benchmarkPosts sends the same body again and again.
func benchmarkPosts(b *testing.B, o Options, body string) {
	b.Helper()
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.listener.Close()
	ask := func() int {
		r, err := http.NewRequest("POST", "/graphql", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		r.RemoteAddr = "192.0.2.1:5000"
		r.Header["Content-Type"] = []string{"application/json"}
		r.Header["Authorization"] = []string{"Bearer abcdefghijklmnopqrstuvwxyz0123456789"}
		r.Header["Accept-Encoding"] = []string{"gzip"}
		w := &discarded{header: make(http.Header)}
		s.http.Handler.ServeHTTP(w, r)
		return w.status
	}
	for range 3 { // the third finds all in memory
		if got := ask(); got != 200 {
			b.Fatalf("got %d, want 200", got)
		}
	}
	b.ReportAllocs()
	defer testenv.ReportCPU(b)()
	for b.Loop() {
		ask()
	}
}
