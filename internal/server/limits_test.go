package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"freshet/internal/clientaddr"
	"freshet/internal/opcache"
	"freshet/internal/ratelimit"
	"freshet/models"
)

// slow is a limiter that pays off next to nothing while a test runs.
func slow(burst float64) *ratelimit.Limiter {
	return ratelimit.New(ratelimit.Options{Name: "test", Rate: 0.001, Burst: burst})
}

// limited is refused as too much, with nothing executed.
func limited(t *testing.T, what string, a answer) {
	t.Helper()
	if a.status != 429 || a.errorOf(t).Extensions["code"] != "RATE_LIMITED" || a.hasData(t) || a.header.Get("Retry-After") == "" ||
		a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: got %d %v %s, want 429 RATE_LIMITED with Retry-After", what, a.status, a.header, a.body)
	}
}

func TestLimits_Address(t *testing.T) {
	t.Parallel()
	proxies, err := clientaddr.ParseProxies([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	var lookups atomic.Int64
	s := start(t, &resolvers{}, func(o *Options) {
		o.Limits = Limits{Address: slow(5), Proxies: proxies}
		o.Authenticate = func(ctx context.Context, token string) (*models.Viewer, error) {
			lookups.Add(1)
			return authenticateTest(ctx, token)
		}
	})
	for i := range 5 {
		if a := s.post(t, "{__typename}", "", "X-Forwarded-For: 203.0.113.1"); a.status != 200 {
			t.Fatalf("request %d: got %d %s, want 200", i, a.status, a.body)
		}
	}
	a := s.post(t, "{__typename}", "", "X-Forwarded-For: 203.0.113.1", "Authorization: Bearer good")
	limited(t, "the sixth", a)
	if got := a.header.Get("Retry-After"); got != "1000" {
		t.Errorf("Retry-After: got %q, want 1000", got)
	}
	if got := lookups.Load(); got != 0 {
		t.Errorf("tokens looked up: got %d, want none beyond the limit", got)
	}
	limited(t, "the sixth in disguise", s.post(t, "{__typename}", "", "X-Forwarded-For: 198.51.100.1, 203.0.113.1"))
	if a := s.post(t, "{__typename}", "", "X-Forwarded-For: 203.0.113.2"); a.status != 200 {
		t.Errorf("another address: got %d %s, want 200", a.status, a.body)
	}
	if a := s.do(t, request{method: "GET", path: "/livez", header: []string{"X-Forwarded-For: 203.0.113.1"}}); a.status != 200 {
		t.Errorf("health: got %d, want 200 for everybody", a.status)
	}
}

// Made-up tokens cost their sender what looking them up costs.
func TestLimits_UnknownTokens(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, func(o *Options) { o.Limits.Address = slow(2 * (costOfRequest + costOfStranger)) })
	for i := range 2 {
		if a := s.post(t, "{__typename}", "", fmt.Sprintf("Authorization: Bearer guess%d", i)); a.status != 401 {
			t.Fatalf("guess %d: got %d %s, want 401", i, a.status, a.body)
		}
	}
	limited(t, "the third guess", s.post(t, "{__typename}", "", "Authorization: Bearer guess3"))
}

// The cache pages are no way around: tokens are looked up there too.
func TestLimits_UnknownTokensAtTheCachePages(t *testing.T) {
	t.Parallel()
	for _, r := range []request{{method: "POST", path: cachesPath, body: "{}"}, {method: "GET", path: eventsPath}} {
		s := start(t, &resolvers{}, func(o *Options) {
			o.Limits.Address = slow(2 * (costOfRequest + costOfStranger))
			o.Playground, o.Caches = http.NotFoundHandler(), &Caches{}
		})
		for i := range 2 {
			r.header = []string{fmt.Sprintf("Authorization: Bearer guess%d", i)}
			if a := s.do(t, r); a.status != 401 {
				t.Fatalf("%s %s: guess %d: got %d %s, want 401", r.method, r.path, i, a.status, a.body)
			}
		}
		limited(t, r.path+": the third guess", s.do(t, r))
	}
}

// What is executed costs its estimate: the viewer's if there is one, the address' if not.
func TestLimits_CostOfExecution(t *testing.T) {
	t.Parallel()
	var executed atomic.Int64
	s := start(t, &resolvers{post: func(_ context.Context, id models.ID) (*models.Post, error) {
		executed.Add(1)
		return &models.Post{ID: id}, nil
	}}, func(o *Options) { o.Limits = Limits{Viewer: slow(20), Address: slow(20)} })
	query := "{" + strings.Join([]string{"a:post(id:1){id}", "b:post(id:2){id}", "c:post(id:3){id}", "d:post(id:4){id}"}, " ") + "}"
	const cost, fit = 4, 5
	for i := range fit {
		if a := s.post(t, query, "", "Authorization: Bearer good"); a.status != 200 {
			t.Fatalf("request %d of cost %d: got %d %s, want 200", i, cost, a.status, a.body)
		}
	}
	limited(t, "the viewer's sixth", s.post(t, query, "", "Authorization: Bearer good"))
	if got := executed.Load(); got != fit*cost {
		t.Errorf("posts read: got %d, want %d, none beyond the limit", got, fit*cost)
	}
	// Of the address' 20 the viewer's six requests took one each.
	for i := range 3 {
		if a := s.post(t, query, ""); a.status != 200 {
			t.Fatalf("nobody's request %d: got %d %s, want 200", i, a.status, a.body)
		}
	}
	limited(t, "nobody's fourth", s.post(t, query, ""))
}

// A result that is kept costs 1, whatever making it has cost.
func TestLimits_KeptResultsAreCheap(t *testing.T) {
	t.Parallel()
	c := newCache(t, nil)
	s := start(t, &resolvers{post: func(_ context.Context, id models.ID) (*models.Post, error) {
		return &models.Post{ID: id}, nil
	}}, func(o *Options) {
		o.Limits.Address = slow(10)
		o.Results = opcache.New(opcache.Options{Cache: c, Version: "1"})
	})
	const query = "{a:post(id:1){id} b:post(id:2){id} c:post(id:3){id} d:post(id:4){id}}"
	for i := range 7 { // 4, and six times 1
		if a := s.post(t, query, ""); a.status != 200 {
			t.Fatalf("request %d: got %d %s, want 200", i, a.status, a.body)
		}
	}
	limited(t, "the eighth", s.post(t, query, ""))
}
