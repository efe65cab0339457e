package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"freshet/cache"

	"github.com/prometheus/client_golang/prometheus"
)

func TestCacheMetrics_CountByKind(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	observer, err := NewCacheMetrics(registry)
	if err != nil {
		t.Fatalf("NewCacheMetrics: got %v, want no error", err)
	}
	if _, err := NewCacheMetrics(registry); err == nil {
		t.Error("NewCacheMetrics again: got no error, want one")
	}
	observer.Observe(context.Background(), cache.Batch{
		Kind: "post", Keys: 20, Hits: 17, Misses: map[cache.Reason]int{"absent": 2, "expired": 1},
		Waited: 1, Loaded: 3, LoadTook: 2 * time.Millisecond, RoundTrips: 2, Took: 3 * time.Millisecond,
	})
	observer.Observe(context.Background(), cache.Batch{Kind: "post", Keys: 1, Hits: 1, RoundTrips: 1})
	observer.Observe(context.Background(), cache.Batch{Kind: "feed", Keys: 1, Err: errors.New("no database")})
	s := start(t, &resolvers{}, func(o *Options) { o.Registry = registry })
	a := s.do(t, request{method: "GET", path: "/metrics"})
	for _, want := range []string{
		`freshet_cache_hits_total{kind="post",tier="redis"} 18`,
		`freshet_cache_misses_total{kind="post",reason="absent"} 2`,
		`freshet_cache_misses_total{kind="post",reason="expired"} 1`,
		`freshet_cache_loads_total{kind="post",outcome="ok"} 3`,
		`freshet_cache_loads_total{kind="feed",outcome="error"} 1`,
		`freshet_cache_waits_total{kind="post"} 1`,
		`freshet_cache_round_trips_total{kind="post"} 3`,
		`freshet_cache_batch_duration_seconds_count{kind="post"} 2`,
		`freshet_cache_load_duration_seconds_count{kind="post"} 1`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("/metrics: got %s\nwant %s in it", grep(a.body, "freshet_cache"), want)
		}
	}
}
