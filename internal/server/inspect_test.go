package server

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/cache"
	"freshet/internal/opcache"
	"freshet/models"
)

// bystander is an observer that tells of whole results that were missed.
type bystander struct {
	*CacheMetrics
	missed chan struct{}
}

func (b bystander) Observe(ctx context.Context, batch cache.Batch) {
	b.CacheMetrics.Observe(ctx, batch)
	if batch.Kind == opcache.Kind && batch.Misses != nil {
		b.missed <- struct{}{}
	}
}

// Of two who ask for a result at the same time one makes it, and the other is told that it waited.
func TestInspected_WaitsForAnothersResult(t *testing.T) {
	t.Parallel()
	metrics, err := NewCacheMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	observer := bystander{metrics, make(chan struct{}, 2)}
	c := newCache(t, observer)
	making, finish := make(chan struct{}), make(chan struct{})
	s := start(t, &resolvers{post: func(_ context.Context, id models.ID) (*models.Post, error) {
		close(making)
		<-finish
		return &models.Post{ID: id}, nil
	}}, func(o *Options) {
		o.Results = opcache.New(opcache.Options{Cache: c, Version: "1"})
		o.Inspect = func(*models.Viewer) bool { return true }
	})
	ask := func() string { return s.post(t, "{post(id:1){id}}", "", "Freshet-Debug: cache").body }
	var first, second string
	var group sync.WaitGroup
	group.Go(func() { first = ask() })
	<-making
	<-observer.missed
	group.Go(func() { second = ask() })
	<-observer.missed
	close(finish)
	group.Wait()
	if !strings.Contains(first, `"reason":"absent","stored":true`) || strings.Contains(first, "lease") {
		t.Errorf("who made it: got %s, want it absent, and kept", first)
	}
	if !strings.Contains(second, `"reason":"lease","stored":true`) || !strings.Contains(second, `"first":"absent"`) ||
		!strings.Contains(second, `"data":{"post":{"id":"1"}}`) {
		t.Errorf("who waited: got %s, want the result, and a lease after absent", second)
	}
}
