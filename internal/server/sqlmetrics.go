package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/inspect"
)

// SQLMetrics counts the statements of a database, as a query hook of its bun.DB. It is safe for concurrent use.
type SQLMetrics struct {
	statements *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

var _ bun.QueryHook = (*SQLMetrics)(nil)

// NewSQLMetrics registers them: give the same registry to the Server. A registry takes them once.
func NewSQLMetrics(registry *prometheus.Registry) (*SQLMetrics, error) {
	m := &SQLMetrics{
		statements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_sql_statements_total", Help: "Statements sent to PostgreSQL by their first word and outcome: ok, error.",
		}, []string{"operation", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_sql_duration_seconds", Help: "Statements, from asking for a connection to the last row.",
			Buckets: latencyBuckets(),
		}, []string{"operation"}),
	}
	return m, register(registry, m.statements, m.seconds)
}

// BeforeQuery does nothing: bun notes the time.
func (m *SQLMetrics) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

// AfterQuery counts a statement, and tells whoever inspects what asked for it.
func (m *SQLMetrics) AfterQuery(ctx context.Context, e *bun.QueryEvent) {
	took := time.Since(e.StartTime)
	stated := cache.Statement{Text: e.Query, Began: e.StartTime, Took: took}
	cache.Stated(ctx, stated)
	inspect.From(ctx).Stated(stated)
	traceStatement(ctx, stated)
	outcome := "ok"
	if e.Err != nil {
		outcome = "error"
	}
	operation := e.Operation()
	switch operation { // raw SQL can begin with anything; the label can't be
	case "SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "ROLLBACK":
	default:
		operation = "OTHER"
	}
	m.statements.WithLabelValues(operation, outcome).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}
