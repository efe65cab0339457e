package server

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Outcomes of GraphQL requests.
const (
	outcomeOK      = "ok"
	outcomeErrors  = "errors"  // errors beside data
	outcomeRefused = "refused" // no data
)

// What becomes of whole results.
const (
	resultHit         = "hit"
	resultMade        = "made"
	resultBypassed    = "bypassed"
	resultUncacheable = "uncacheable"
)

// metrics has labels of few values only: none that a client can choose freely.
type metrics struct {
	registry         *prometheus.Registry
	requests         *prometheus.CounterVec
	requestSeconds   *prometheus.HistogramVec
	operations       *prometheus.CounterVec
	operationSeconds *prometheus.HistogramVec
	errors           *prometheus.CounterVec
	persisted        *prometheus.CounterVec
	uses             *useMetrics
	results          map[string]prometheus.Counter // never changes

	routes memo[string, *routeMetrics]
	kinds  memo[[2]string, kindMetrics]
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		registry: registry,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_http_requests_total", Help: "HTTP requests answered.",
		}, []string{"route", "status"}),
		requestSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_http_request_duration_seconds", Help: "From the end of the header to the end of the response.",
			Buckets: latencyBuckets(),
		}, []string{"route"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_graphql_operations_total",
			Help: "GraphQL requests by type of operation and outcome: ok, errors (beside data), refused (no data).",
		}, []string{"type", "outcome"}),
		operationSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_graphql_operation_duration_seconds", Help: "GraphQL requests from reading to writing.",
			Buckets: latencyBuckets(),
		}, []string{"type"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_graphql_errors_total", Help: "Errors sent to clients, by extensions.code.",
		}, []string{"code"}),
		persisted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_persisted_requests_total",
			Help: "Requests about persisted operations: registered (a text), unregistered (a hash), unknown (an id), unlisted (an operation), refused (by enforcement).",
		}, []string{"result"}),
	}
	m.uses = newUseMetrics()
	results := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_results_total",
		Help: "Operations by what became of their whole result: hit, made (none was kept), bypassed (by request), uncacheable.",
	}, []string{"outcome"})
	m.results = make(map[string]prometheus.Counter)
	for _, outcome := range []string{resultHit, resultMade, resultBypassed, resultUncacheable} {
		m.results[outcome] = results.WithLabelValues(outcome)
	}
	m.routes.make = func(route string) *routeMetrics {
		return &routeMetrics{
			seconds: m.requestSeconds.WithLabelValues(route),
			count: func(status int) prometheus.Counter {
				return m.requests.WithLabelValues(route, strconv.Itoa(status))
			},
		}
	}
	m.kinds.make = func(key [2]string) kindMetrics {
		return kindMetrics{m.operations.WithLabelValues(key[0], key[1]), m.operationSeconds.WithLabelValues(key[0])}
	}
	return m, register(registry, m.requests, m.requestSeconds, m.operations, m.operationSeconds, m.errors, m.persisted, m.uses, results,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

func register(registry *prometheus.Registry, all ...prometheus.Collector) error {
	for _, collector := range all {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// latencyBuckets are seconds: fine where a cached answer should be, coarse where something is wrong.
func latencyBuckets() []float64 {
	return []float64{.00025, .0005, .001, .0015, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

func (m *metrics) request(route string, status int, took time.Duration) {
	of := m.routes.get(route)
	of.status(status).Inc()
	of.seconds.Observe(took.Seconds())
}

func (m *metrics) operation(kind, outcome string, took time.Duration) {
	of := m.kinds.get([2]string{kind, outcome})
	of.count.Inc()
	of.seconds.Observe(took.Seconds())
}

// routeMetrics are those of one route.
type routeMetrics struct {
	statuses [600]atomic.Pointer[prometheus.Counter]
	count    func(status int) prometheus.Counter
	seconds  prometheus.Observer
}

func (r *routeMetrics) status(status int) prometheus.Counter {
	if status < 0 || status >= len(r.statuses) {
		return r.count(status)
	}
	known := r.statuses[status].Load()
	if known == nil {
		made := r.count(status)
		known = &made
		r.statuses[status].Store(known)
	}
	return *known
}

// kindMetrics are those of operations of one type that came to one outcome.
type kindMetrics struct {
	count   prometheus.Counter
	seconds prometheus.Observer
}

// memo remembers what is looked up for each request under few keys. Looking a metric up by its labels takes several times
// as long as counting.
type memo[K comparable, V any] struct {
	make func(K) V
	mu   sync.Mutex // held by those who add
	all  atomic.Pointer[map[K]V]
}

func (m *memo[K, V]) get(key K) V {
	if all := m.all.Load(); all != nil {
		if value, ok := (*all)[key]; ok {
			return value
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	grown := make(map[K]V)
	if all := m.all.Load(); all != nil {
		maps.Copy(grown, *all)
	}
	if _, ok := grown[key]; !ok {
		grown[key] = m.make(key)
	}
	m.all.Store(&grown)
	return grown[key]
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true}) // the server compresses
}
