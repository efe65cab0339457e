// Package tracing sends spans of requests to an OpenTelemetry collector, by OTLP over HTTP.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options of a Tracer.
type Options struct {
	// Endpoint is the collector's base address, "http://collector:4318": spans go to /v1/traces below it.
	Endpoint string
	// Sample is the share of requests that are traced, from 0 to 1, where no caller has decided already.
	Sample float64
	// Service and Instance name this process in traces.
	Service, Instance string
}

// Tracer begins spans, and sends those that have ended in the background. A collector that is away or slow costs spans,
// never a request: what does not fit the queue is dropped. It is safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	context  propagation.TraceContext
}

const (
	queued     = 2048 // spans that wait at most
	batched    = 512  // spans a request to the collector
	pause      = time.Second
	patience   = 5 * time.Second // for one request to the collector, with its retries
	attributes = 32              // a span
	characters = 4096            // an attribute
)

// CheckEndpoint refuses what is no base address of a collector.
func CheckEndpoint(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("a collector's address has the form http://host:4318")
	}
	return nil
}

// CheckSample refuses what is no share.
func CheckSample(share float64) error {
	if share >= 0 && share <= 1 {
		return nil
	}
	return fmt.Errorf("%v is not from 0 to 1", share)
}

// New makes a Tracer; nil for an empty endpoint. It does not connect. Headers and certificates for the collector are
// taken from OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_HEADERS.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	if err := errors.Join(CheckEndpoint(o.Endpoint), CheckSample(o.Sample)); err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(strings.TrimSuffix(o.Endpoint, "/")+"/v1/traces"),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithTimeout(patience),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: pause, MaxInterval: patience, MaxElapsedTime: patience,
		}),
	)
	if err != nil {
		return nil, errors.New("tracing: the collector's address can't be used") // its text may hold a password
	}
	limits := sdk.NewSpanLimits()
	limits.AttributeCountLimit, limits.AttributeValueLengthLimit = attributes, characters
	provider := sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Sample))),
		sdk.WithRawSpanLimits(limits),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", o.Service), attribute.String("service.instance.id", o.Instance),
		)),
		sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(queued), sdk.WithMaxExportBatchSize(batched),
			sdk.WithBatchTimeout(pause), sdk.WithExportTimeout(patience)),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("freshet")}, nil
}

// Start begins the span of a request that came with a header, as a child of the span that traceparent names. A caller
// that has decided whether to trace has decided for this request too.
func (t *Tracer) Start(ctx context.Context, header http.Header, name string) (context.Context, trace.Span) {
	ctx = t.context.Extract(ctx, propagation.HeaderCarrier(header))
	return t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
}

// Close sends what is queued, for as long as ctx allows, and ends. Nil is closed already.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: close: %w", err)
	}
	return nil
}

// Child is something that has just happened as a part of a span.
type Child struct {
	Name       string
	Began      time.Time
	Took       time.Duration
	Attributes []attribute.KeyValue
	Parts      []Child
}

// Add records what happened under the span of ctx, with its parts. It does nothing where that is not traced.
func Add(ctx context.Context, child Child) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return
	}
	ctx, span := parent.TracerProvider().Tracer("freshet").Start(ctx, child.Name,
		trace.WithTimestamp(child.Began), trace.WithAttributes(child.Attributes...))
	for _, part := range child.Parts {
		Add(ctx, part)
	}
	span.End(trace.WithTimestamp(child.Began.Add(child.Took)))
}
