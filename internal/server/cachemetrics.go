package server

import (
	"context"

	"freshet/cache"
	"freshet/internal/inspect"

	"github.com/prometheus/client_golang/prometheus"
)

// CacheMetrics exports what the cache observes, by kind. It is safe for concurrent use.
type CacheMetrics struct {
	hits         *prometheus.CounterVec
	misses       *prometheus.CounterVec
	loads        *prometheus.CounterVec
	waits        *prometheus.CounterVec
	roundTrips   *prometheus.CounterVec
	stale        *prometheus.CounterVec
	early        *prometheus.CounterVec
	readBytes    *prometheus.CounterVec
	entryBytes   *prometheus.HistogramVec
	batchSeconds *prometheus.HistogramVec
	loadSeconds  *prometheus.HistogramVec

	kinds memo[string, *cacheKindMetrics]
	sizes memo[string, prometheus.Observer]
}

// cacheKindMetrics are those of one kind that each batch counts.
type cacheKindMetrics struct {
	local, redis, roundTrips, bytes prometheus.Counter
	seconds                         prometheus.Observer
}

var _ cache.Observer = (*CacheMetrics)(nil)

// NewCacheMetrics registers them: give the same registry to the Server. A registry takes them once.
func NewCacheMetrics(registry *prometheus.Registry) (*CacheMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencyBuckets()}, []string{"kind"})
	}
	m := &CacheMetrics{
		hits:       counter("freshet_cache_hits_total", "Keys answered from the cache.", "kind", "tier"),
		misses:     counter("freshet_cache_misses_total", "Keys not answered from the cache, by reason.", "kind", "reason"),
		loads:      counter("freshet_cache_loads_total", "Keys read from the source: ok or error.", "kind", "outcome"),
		waits:      counter("freshet_cache_waits_total", "Keys that another was already loading, for which readers waited.", "kind"),
		roundTrips: counter("freshet_cache_round_trips_total", "Round trips to Redis that readers waited for.", "kind"),
		stale: counter("freshet_cache_stale_served_total",
			"Keys answered with what had expired or could not be proved fresh, because the source failed.", "kind"),
		early:     counter("freshet_cache_early_refreshes_total", "Hits refreshed in the background before their end.", "kind"),
		readBytes: counter("freshet_cache_read_bytes_total", "Bytes of entries that came from Redis.", "kind"),
		entryBytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_cache_entry_bytes", Help: "Sizes of entries on their way to Redis.",
			Buckets: prometheus.ExponentialBuckets(64, 4, 8), // to 1 MiB
		}, []string{"kind"}),
		batchSeconds: histogram("freshet_cache_batch_duration_seconds", "Reads of a batch of keys, from wherever they came."),
		loadSeconds:  histogram("freshet_cache_load_duration_seconds", "Reads from the source in batches that needed it."),
	}
	m.kinds.make = func(kind string) *cacheKindMetrics {
		return &cacheKindMetrics{
			local: m.hits.WithLabelValues(kind, "local"), redis: m.hits.WithLabelValues(kind, "redis"),
			roundTrips: m.roundTrips.WithLabelValues(kind), bytes: m.readBytes.WithLabelValues(kind), seconds: m.batchSeconds.WithLabelValues(kind),
		}
	}
	m.sizes.make = func(kind string) prometheus.Observer { return m.entryBytes.WithLabelValues(kind) }
	return m, register(registry, m.hits, m.misses, m.loads, m.waits, m.roundTrips, m.stale, m.early, m.readBytes, m.entryBytes,
		m.batchSeconds, m.loadSeconds)
}

// Stored counts an entry on its way to Redis.
func (m *CacheMetrics) Stored(kind string, size int) { m.sizes.get(kind).Observe(float64(size)) }

// Observe counts a batch, and notes in the request's record what that has to know of it.
func (m *CacheMetrics) Observe(ctx context.Context, b cache.Batch) {
	if b.Stale > 0 {
		recordOf(ctx).stale.Store(true)
		m.stale.WithLabelValues(b.Kind).Add(float64(b.Stale))
	}
	if b.Waited > 0 {
		m.waits.WithLabelValues(b.Kind).Add(float64(b.Waited))
	}
	if b.Early > 0 {
		m.early.WithLabelValues(b.Kind).Add(float64(b.Early))
	}
	if b.Details != nil { // somebody asks
		inspect.From(ctx).Read(b)
		traceBatch(ctx, b)
	}
	of := m.kinds.get(b.Kind)
	of.local.Add(float64(b.LocalHits))
	of.redis.Add(float64(b.Hits))
	for reason, n := range b.Misses {
		m.misses.WithLabelValues(b.Kind, string(reason)).Add(float64(n))
	}
	switch {
	case b.Err != nil:
		m.loads.WithLabelValues(b.Kind, "error").Add(float64(max(b.Loaded, 1)))
	case b.Loaded > 0:
		recordOf(ctx).loaded.Store(true)
		m.loads.WithLabelValues(b.Kind, "ok").Add(float64(b.Loaded))
	}
	of.roundTrips.Add(float64(b.RoundTrips))
	of.bytes.Add(float64(b.Bytes))
	of.seconds.Observe(b.Took.Seconds())
	if b.LoadTook > 0 {
		m.loadSeconds.WithLabelValues(b.Kind).Observe(b.LoadTook.Seconds())
	}
}
