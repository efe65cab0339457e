package server

import (
	"fmt"
	"net/http"
	"strconv"
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

// metrics has labels of few values only: none that a client can choose freely.
type metrics struct {
	registry         *prometheus.Registry
	requests         *prometheus.CounterVec
	requestSeconds   *prometheus.HistogramVec
	operations       *prometheus.CounterVec
	operationSeconds *prometheus.HistogramVec
	errors           *prometheus.CounterVec
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
	}
	return m, register(registry, m.requests, m.requestSeconds, m.operations, m.operationSeconds, m.errors,
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
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.requestSeconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) operation(kind, outcome string, took time.Duration) {
	m.operations.WithLabelValues(kind, outcome).Inc()
	m.operationSeconds.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true}) // the server compresses
}
