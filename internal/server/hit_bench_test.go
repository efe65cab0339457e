package server

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

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
	registry := prometheus.NewRegistry()
	observer, err := NewCacheMetrics(registry)
	if err != nil {
		b.Fatal(err)
	}
	o, err := redis.ParseURL(testenv.SharedRedis(b))
	if err != nil {
		b.Fatal(err)
	}
	client := redis.NewClient(o)
	defer client.Close()
	log := cache.NewLog(nil)
	log.Reset(cache.Position{Epoch: 1})
	log.Grant(log.Position(), math.MaxInt64)
	c := cache.New(cache.Options{Redis: client, Freshness: log, Observer: observer, Log: slog.New(slog.DiscardHandler)})
	defer c.Close()
	viewer := &models.Viewer{ID: 1}
	s, err := New(Options{
		Addr: "127.0.0.1:0", Registry: registry, Log: slog.New(slog.DiscardHandler), Compiler: compilerOf(false),
		Schema: schemaOf(&resolvers{post: func(_ context.Context, id models.ID) (*models.Post, error) {
			return &models.Post{ID: id}, nil
		}}),
		Authenticate: func(context.Context, string) (*models.Viewer, error) { return viewer, nil },
		Results:      opcache.New(opcache.Options{Cache: c, Version: "1"}),
		Limits: Limits{
			Address: ratelimit.New(ratelimit.Options{Name: "address", Rate: 1e12, Burst: 1e12}),
			Viewer:  ratelimit.New(ratelimit.Options{Name: "viewer", Rate: 1e12, Burst: 1e12}),
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.listener.Close()
	const body = `{"query":"{a:post(id:1){id} b:post(id:2){id}}"}`
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
	for range 2 {
		if got := ask(); got != 200 {
			b.Fatalf("got %d, want 200", got)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}
