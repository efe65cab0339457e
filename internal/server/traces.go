package server

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"freshet/cache"
	"freshet/internal/inspect"
	"freshet/internal/tracing"
)

// trace begins and ends an operation's span. What the caches and the database do for a request that is traced is added
// below it, by Observe and AfterQuery.
func (s *Server) trace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := recordOf(r.Context())
		ctx, span := s.options.Tracer.Start(rec.Context, r.Header, "graphql")
		rec.trace = span.SpanContext().TraceID().String()
		if !span.IsRecording() {
			rec.Context = ctx
			next.ServeHTTP(w, r)
			return
		}
		rec.Context = cache.Explain(ctx)
		defer func() { describeSpan(span, rec, r) }() // also of what panics
		next.ServeHTTP(w, r)
	})
}

func describeSpan(span trace.Span, rec *record, r *http.Request) {
	app, build := clientOf(r.Header)
	attributes := []attribute.KeyValue{
		attribute.String("graphql.operation.type", rec.kind),
		attribute.String("freshet.outcome", rec.outcome),
		attribute.String("freshet.result", rec.result),
		attribute.Int("http.response.status_code", rec.status),
		attribute.String("http.request.method", shorten(r.Method)),
		attribute.String("freshet.client.name", shorten(app)),
		attribute.String("freshet.client.build", shorten(build)),
	}
	if rec.asked != nil {
		name := shorten(rec.asked.Name)
		attributes = append(attributes, attribute.String("graphql.operation.name", name),
			attribute.String("freshet.operation.hash", hex.EncodeToString(rec.asked.Hash[:])))
		if name == "" {
			name = "anonymous"
		}
		span.SetName(name)
	}
	if rec.code != "" {
		attributes = append(attributes, attribute.String("freshet.error.code", rec.code))
	}
	if rec.status >= http.StatusInternalServerError || rec.outcome == outcomeErrors {
		span.SetStatus(codes.Error, rec.code)
	}
	span.SetAttributes(attributes...)
	span.End()
}

// traceBatch adds a batch that has just ended to the trace of its request: keys are counted, not named, since they may
// hold what clients sent.
func traceBatch(ctx context.Context, b cache.Batch) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	child := tracing.Child{
		Name: "cache " + b.Kind, Began: time.Now().Add(-b.Took), Took: b.Took,
		Attributes: []attribute.KeyValue{
			attribute.String("freshet.kind", b.Kind), attribute.Int("freshet.keys", b.Keys),
			attribute.Int("freshet.hits.memory", b.LocalHits), attribute.Int("freshet.hits.redis", b.Hits),
			attribute.Int("freshet.loaded", b.Loaded), attribute.Int("freshet.waited", b.Waited), attribute.Int("freshet.round_trips", b.RoundTrips),
			attribute.Int("freshet.stale", b.Stale),
		},
	}
	for reason, n := range b.Misses {
		child.Attributes = append(child.Attributes, attribute.Int("freshet.misses."+string(reason), n))
	}
	for _, trip := range b.Trips {
		child.Parts = append(child.Parts, tracing.Child{
			Name: "redis", Began: trip.Began, Took: trip.Took,
			Attributes: []attribute.KeyValue{attribute.String("db.system.name", "redis")},
		})
	}
	for _, statement := range b.Statements {
		child.Parts = append(child.Parts, statementSpan(statement))
	}
	tracing.Add(ctx, child)
}

// statementSpan has the text without its values.
func statementSpan(s cache.Statement) tracing.Child {
	return tracing.Child{Name: "sql", Began: s.Began, Took: s.Took, Attributes: []attribute.KeyValue{
		attribute.String("db.system.name", "postgresql"), attribute.String("db.query.text", inspect.Template(s.Text)),
	}}
}

// traceStatement adds a statement outside of the caches, such as those of a mutation.
func traceStatement(ctx context.Context, s cache.Statement) {
	if trace.SpanFromContext(ctx).IsRecording() {
		tracing.Add(ctx, statementSpan(s))
	}
}
