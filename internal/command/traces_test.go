package command

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"freshet/internal/testenv"
)

// receiver is a collector of spans.
type receiver struct {
	t     *testing.T
	url   string
	spans chan *traces.Span
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, spans: make(chan *traces.Span, 1000)}
	srv := httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	var batch collector.ExportTraceServiceRequest
	body, err := gzip.NewReader(req.Body)
	if err == nil {
		var raw []byte
		if raw, err = io.ReadAll(body); err == nil {
			err = proto.Unmarshal(raw, &batch)
		}
	}
	if err != nil || req.URL.Path != "/v1/traces" {
		r.t.Errorf("export to %s: %v", req.URL.Path, err)
	}
	for _, resource := range batch.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				r.spans <- span
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// tree waits for the span of an operation, which is sent after those below it, and returns all of its trace.
func (r *receiver) tree(trace string) (root *traces.Span, all []*traces.Span) {
	r.t.Helper()
	for {
		span := testenv.Receive(r.t, "the span of an operation arrives", r.spans)
		if fmt.Sprintf("%x", span.GetTraceId()) != trace {
			continue
		}
		all = append(all, span)
		if span.GetKind() == traces.Span_SPAN_KIND_SERVER {
			return span, all
		}
	}
}

// outline are the names of the spans below one, each with those below it.
func outline(of *traces.Span, all []*traces.Span) []string {
	var names []string
	for _, span := range all {
		if string(span.GetParentSpanId()) != string(of.GetSpanId()) {
			continue
		}
		name := span.GetName()
		if below := outline(span, all); len(below) > 0 {
			name += "(" + strings.Join(below, " ") + ")"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func attribute(span *traces.Span, key string) string {
	for _, one := range span.GetAttributes() {
		if one.GetKey() == key {
			return one.GetValue().GetStringValue()
		}
	}
	return ""
}

const (
	traced  = "0af7651916cd43dd8448eb211c80319c"
	traced2 = "0af7651916cd43dd8448eb211c80319d"
	traced3 = "0af7651916cd43dd8448eb211c80319e"
)

func parent(trace, flags string) string {
	return "traceparent: 00-" + trace + "-b7ad6b7169203331-" + flags
}

func TestTraces_OfColdAndWarmRequests(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	// Nothing is sampled but what a caller asks for.
	a := newWorld(t).startWith(func(o *ServeOptions) { o.TraceEndpoint = r.url })
	token, id := a.person("secretname")
	a.send("", `{"query":"{ __typename }"}`, parent(traced2, "00"))
	body := `{"query":"query Who($id: ID!) { profile(id: $id) { handle counts { followers } } viewer { settings { theme } } }","variables":{"id":"` + id + `"}}`
	a.send("", body, parent(traced, "01"), bearer(token), "Apollographql-Client-Version: 4.2")
	cold, all := r.tree(traced)
	got := strings.Join(outline(cold, all), " ")
	for _, want := range []string{"cache profile(", "cache settings(redis sql)", "cache session"} {
		if !strings.Contains(got, want) {
			t.Errorf("cold: got %s, want %s in it", got, want)
		}
	}
	if cold.GetName() != "Who" || fmt.Sprintf("%x", cold.GetParentSpanId()) != "b7ad6b7169203331" {
		t.Errorf("got the span %q below %x, want Who below the caller's", cold.GetName(), cold.GetParentSpanId())
	}
	for key, want := range map[string]string{
		"graphql.operation.name": "Who", "graphql.operation.type": "query", "freshet.outcome": "ok", "freshet.result": "made",
		"freshet.client.build": "4.2",
	} {
		if got := attribute(cold, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if len(attribute(cold, "freshet.operation.hash")) != 64 {
		t.Errorf("hash: got %q", attribute(cold, "freshet.operation.hash"))
	}
	a.send("", body, parent(traced3, "01"), bearer(token))
	warm, below := r.tree(traced3)
	if got := strings.Join(outline(warm, below), " "); !strings.HasPrefix(got, "cache operation cache session") || strings.Contains(got, "sql") || attribute(warm, "freshet.result") != "hit" {
		t.Errorf("warm: got %q %s, want the session and a result in memory", got, attribute(warm, "freshet.result"))
	}
	for _, span := range append(all, below...) {
		text := prototext.Format(span)
		for _, secret := range []string{token, "secretname", "'" + id + "'"} {
			if strings.Contains(text, secret) {
				t.Errorf("span %s: got %s in it: %s", span.GetName(), secret, text)
			}
		}
	}
}

// A mutation's statements are there without their values, and errors name the trace.
func TestTraces_OfMutationsAndErrors(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	a := newWorld(t).startWith(func(o *ServeOptions) { o.TraceEndpoint, o.TraceSample = r.url, 1 })
	token, _ := a.person("ann")
	body := `{"query":"mutation { publishPost(input: {title: \"Hidden title\", body: \"It's hidden.\", category: \"science\", language: \"en\"}) { post { id } } }"}`
	a.send("", body, parent(traced, "01"), bearer(token))
	root, all := r.tree(traced)
	if root.GetName() != "anonymous" || attribute(root, "graphql.operation.type") != "mutation" {
		t.Errorf("got %q %q, want an anonymous mutation", root.GetName(), attribute(root, "graphql.operation.type"))
	}
	inserted := false
	for _, span := range all {
		text := prototext.Format(span)
		inserted = inserted || span.GetName() == "sql" && strings.Contains(text, "INSERT INTO")
		if strings.Contains(text, "idden") {
			t.Errorf("span %s: got a value in it: %s", span.GetName(), text)
		}
	}
	if !inserted {
		t.Errorf("got %q, want the INSERT", outline(root, all))
	}
	x := a.send("", `{"query":"{ nothing }"}`, parent(traced2, "01"))
	if !strings.Contains(x.body, `"traceId":"`+traced2+`"`) {
		t.Errorf("error: got %s, want its traceId", x.body)
	}
}

// A collector that is away, or hangs, costs spans alone.
func TestTraces_CollectorAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	for what, url := range map[string]string{"away": "http://127.0.0.1:1", "hanging": srv.URL} {
		a := w.startWith(func(o *ServeOptions) { o.TraceEndpoint, o.TraceSample = url, 1 })
		for range 3000 { // more than the queue holds
			_, span := a.instance.tracer.Start(t.Context(), nil, "waiting")
			span.End()
		}
		for range 20 {
			if x := a.send("", `{"query":"{ __typename }"}`); x.status != 200 {
				t.Fatalf("%s: got %d %s, want 200", what, x.status, x.body)
			}
		}
	}
}
