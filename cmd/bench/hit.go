package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"freshet/cmd/bench/internal/blast"
	"freshet/cmd/bench/internal/rig"
)

const (
	hitConnections = 32
	hitRounds      = 5
	hitLong        = 1500 * time.Millisecond // of one measurement
	hitPosts       = 10                      // give a result of about 10 KB
	hitEntries     = 200_000                 // are put beside the results, to see whether hits mind
)

// hitReport is the result of measureHit.
type hitReport struct {
	Machine machine `json:"machine"`
	// Bytes of the result, as sent.
	PlainBytes int `json:"plainBytes"`
	GzipBytes  int `json:"gzipBytes"`
	// Ratios to the bare handlers, each the lower of gzip and identity.
	RedisHitRatio          float64 `json:"redisHitRatio"`
	RedisHitPipelinedRatio float64 `json:"redisHitPipelinedRatio"`
	LocalHitRatio          float64 `json:"localHitRatio"`
	P99Ratio               float64 `json:"p99Ratio"`
	// FreeFormRatio is the throughput of the whole text to that of its id, the lowest of all rows.
	FreeFormRatio float64 `json:"freeFormRatio"`
	// ManyEntriesRatio is the throughput of hits in Redis with many more entries to that before, and SizeRatio that of hits
	// in memory over this data to that over the small data, both as ratios to the bare handler's at the time. 0: not measured.
	ManyEntriesRatio float64   `json:"manyEntriesRatio"`
	SizeRatio        float64   `json:"sizeRatio"`
	Cold             *coldRow  `json:"cold"`
	Rows             []*hitRow `json:"rows"`
	Targets          []target  `json:"targets"`
}

// hitRow is one sort of hit beside the handlers that it is compared with. Figures are medians over the rounds; a ratio is
// the median of the rounds' ratios, since both sides of a round are measured next to each other.
type hitRow struct {
	Tier     string `json:"tier"`     // redis or memory
	Encoding string `json:"encoding"` // gzip or identity
	// Requests a second: of hits, asked for by id, of the bare handler, and of the one with automatic pipelining.
	Hits      float64 `json:"hitsPerSecond"`
	Bare      float64 `json:"barePerSecond"`
	Pipelined float64 `json:"pipelinedPerSecond,omitempty"`
	// Processor time of the server's own process for a request, in µs.
	HitCPU       float64 `json:"hitCpuMicros"`
	BareCPU      float64 `json:"bareCpuMicros"`
	PipelinedCPU float64 `json:"pipelinedCpuMicros,omitempty"`
	Ratio        float64 `json:"ratio"`
	// PipelinedRatio is to the handler with automatic pipelining.
	PipelinedRatio float64 `json:"pipelinedRatio,omitempty"`
	// Text is that of the same operation sent as text, and TextRatio its ratio to the one by id.
	Text      float64 `json:"textPerSecond"`
	TextRatio float64 `json:"textRatio"`
	// P99 at half of the bare handler's throughput, in ms.
	HitP99  float64 `json:"hitP99Ms"`
	BareP99 float64 `json:"bareP99Ms"`
	// Share of the requests that the tier answered.
	HitShare float64 `json:"hitShare"`
	// Profile is where a CPU profile of the server lies, if one was asked for.
	Profile string `json:"profile,omitempty"`
}

func (r *hitReport) print(w io.Writer) {
	fmt.Fprintf(w, "A whole result of %d bytes (%d in gzip) from the cache, over %d connections, beside bare net/http handlers\n",
		r.PlainBytes, r.GzipBytes, hitConnections)
	r.Machine.print(w)
	rows := []string{"hit in\tencoding\thits/s\tbare/s\tratio\tpipelined/s\tratio\tas text\tratio\tCPU us\tbare\tpipelined\tp99 ms\tbare\thit share"}
	for _, row := range r.Rows {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%.0f\t%.0f\t%.2f\t%.0f\t%.2f\t%.0f\t%.2f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.4f",
			row.Tier, row.Encoding, row.Hits, row.Bare, row.Ratio, row.Pipelined, row.PipelinedRatio, row.Text, row.TextRatio,
			row.HitCPU, row.BareCPU, row.PipelinedCPU, row.HitP99, row.BareP99, row.HitShare))
	}
	table(w, rows...)
	fmt.Fprintf(w, "hits/s are of requests by hash, with the same POST body for all; CPU is the processor time that the server's own process\n")
	fmt.Fprintf(w, "takes for one; p99 is of an open loop at half of the bare handler's throughput. With %d more entries in Redis, hits\n", hitEntries)
	fmt.Fprintf(w, "there have %.2f of their throughput; over this data, hits in memory have %.2f of that over the small data.\n\n", r.ManyEntriesRatio, r.SizeRatio)
	r.Cold.print(w)
	printTargets(w, r.Targets)
}

// hitRun is the measurement on its way.
type hitRun struct {
	rig       *rig.Rig
	baselines *baselines
	client    *client
	viewers   []rig.Viewer
	servers   map[string]*rig.Server // by tier
	profiled  bool
}

func measureHit(ctx context.Context, s settings) (_ report, err error) {
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	m, err := newHitRun(ctx, r)
	if err != nil {
		return nil, err
	}
	defer m.close()
	m.profiled = s.rig.Profiled
	out := &hitReport{Machine: describe(ctx, r, s)}
	for _, encoding := range []string{"gzip", "identity"} {
		if err := m.encoding(ctx, out, encoding); err != nil {
			return nil, err
		}
	}
	if out.Cold, err = m.cold(ctx); err != nil {
		return nil, err
	}
	if err := m.growth(ctx, out, s); err != nil {
		return nil, err
	}
	out.sum()
	return out, nil
}

// newHitRun starts a server that finds its results in Redis and one that has them in memory, and the baselines.
func newHitRun(ctx context.Context, r *rig.Rig) (m *hitRun, err error) {
	m = &hitRun{rig: r, client: newClient(), servers: make(map[string]*rig.Server)}
	if m.viewers, err = r.Viewers(ctx, hitConnections); err != nil {
		return nil, err
	}
	if m.servers["redis"], err = r.Start(ctx, "far", "--result-memory", "-1"); err != nil {
		return nil, err
	}
	if m.servers["memory"], err = r.Start(ctx, "near"); err != nil {
		return nil, err
	}
	if m.baselines, err = startBaselines(ctx, r.Env.Redis.URL); err != nil {
		return nil, err
	}
	for _, server := range m.servers {
		if err := m.client.awaitHits(ctx, server, m.viewers[0]); err != nil {
			return nil, errors.Join(err, m.baselines.stop())
		}
	}
	return m, nil
}

func (m *hitRun) close() {
	m.client.close()
	_ = m.baselines.stop() // killed, as intended
}

// hitText is a page of the feed as a phone's list shows it.
const hitText = `query Feed($first: Int) {
  feed(first: $first) {
    edges { cursor node { id title body category language publishedAt author { id handle name avatarUrl } } }
    pageInfo { hasNextPage endCursor }
  }
}`

func hitOperation() operation { return newOperation(hitText, map[string]any{"first": hitPosts}) }

// hitByHash asks for the same by the hash of its text; registering sends the text along.
func hitByHash(registering bool) operation {
	sum := sha256.Sum256([]byte(hitText))
	body := map[string]any{
		"operationName": "Feed", "variables": map[string]any{"first": hitPosts},
		"extensions": map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hex.EncodeToString(sum[:])}},
	}
	if registering {
		body["query"] = hitText
	}
	text, _ := json.Marshal(body) // of texts and numbers, which can't fail
	return text
}

// target is a server with the requests of all viewers.
func (m *hitRun) target(s *rig.Server, body []byte, encoding string) blast.Target {
	t := blast.Target{Addr: strings.TrimPrefix(s.URL, "http://"), Check: func(h http.Header, body []byte) error {
		if got := h.Get("Content-Encoding"); (got == "gzip") != (encoding == "gzip") {
			return fmt.Errorf("encoding: got %q, want %s", got, encoding)
		}
		return check(body)
	}}
	for _, v := range m.viewers {
		t.Requests = append(t.Requests, postRequest("/graphql", body, encoding, v.Token))
	}
	return t
}

// bare is a baseline with a request of the same length.
func (m *hitRun) bare(path string, body []byte, encoding string) blast.Target {
	return blast.Target{Addr: m.baselines.addr, Requests: [][]byte{postRequest(path, body, encoding, m.viewers[0].Token)}}
}

// encoding measures hits in both tiers, for clients that accept gzip or do not.
func (m *hitRun) encoding(ctx context.Context, out *hitReport, encoding string) error {
	body, err := m.sample(ctx, encoding)
	if err != nil {
		return err
	}
	sent := ""
	if encoding == "gzip" {
		out.GzipBytes, sent = len(body), "gzip"
	} else {
		out.PlainBytes = len(body)
	}
	if err := m.baselines.put(ctx, body, sent); err != nil {
		return err
	}
	for _, tier := range []string{"redis", "memory"} {
		row := &hitRow{Tier: tier, Encoding: encoding}
		out.Rows = append(out.Rows, row)
		if err := m.row(ctx, row); err != nil {
			return fmt.Errorf("%s, %s: %w", tier, encoding, err)
		}
	}
	return nil
}

// sample is the first viewer's result as it is sent. It registers the text.
func (m *hitRun) sample(ctx context.Context, encoding string) (body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.servers["memory"].URL+"/graphql", bytes.NewReader(hitByHash(true)))
	if err != nil {
		return nil, err
	}
	request.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept-Encoding": {encoding}, "Authorization": {"Bearer " + m.viewers[0].Token},
	}
	return m.client.do(request)
}

// row measures one sort of hit, round by round, each beside its baselines.
func (m *hitRun) row(ctx context.Context, row *hitRow) error {
	server, body := m.servers[row.Tier], hitByHash(false)
	hit, text := m.target(server, body, row.Encoding), m.target(server, hitOperation(), row.Encoding)
	bare := []blast.Target{m.bare("/memory", body, row.Encoding)}
	if row.Tier == "redis" {
		bare = []blast.Target{m.bare("/get", body, row.Encoding), m.bare("/pipelined", body, row.Encoding)}
	}
	before, err := server.Counters(ctx)
	if err != nil {
		return err
	}
	if err := m.throughputs(ctx, row, hit, text, bare); err != nil {
		return err
	}
	var hitP99, bareP99 []float64
	for range hitRounds {
		a, err := blast.Latency(ctx, hit, hitConnections, row.Bare/2, hitLong, 0.99)
		if err != nil {
			return err
		}
		b, err := blast.Latency(ctx, bare[0], hitConnections, row.Bare/2, hitLong, 0.99)
		if err != nil {
			return err
		}
		hitP99, bareP99 = append(hitP99, ms(a)), append(bareP99, ms(b))
	}
	row.HitP99, row.BareP99 = median(hitP99), median(bareP99)
	if m.profiled {
		row.Profile, err = server.Profile(ctx, func() error {
			_, _, err := blast.Throughput(ctx, hit, hitConnections, 2*hitLong)
			return err
		})
		if err != nil {
			return err
		}
	}
	return m.share(ctx, row, server, before)
}

// throughputs measures the hits, and beside them the same as text and the baselines.
func (m *hitRun) throughputs(ctx context.Context, row *hitRow, hit, text blast.Target, bare []blast.Target) error {
	ours, theirs := m.cpuOf(row.Tier), m.baselines.cpu
	var hits, hitCPU, texts, toText []float64
	others, otherCPU, toOthers := make([][]float64, len(bare)), make([][]float64, len(bare)), make([][]float64, len(bare))
	for range hitRounds {
		got, cpu, err := flood(ctx, hit, ours)
		if err != nil {
			return err
		}
		hits, hitCPU = append(hits, got), append(hitCPU, cpu)
		asText, _, err := flood(ctx, text, ours)
		if err != nil {
			return err
		}
		texts, toText = append(texts, asText), append(toText, asText/got)
		for i, b := range bare {
			one, cpu, err := flood(ctx, b, theirs)
			if err != nil {
				return err
			}
			others[i], otherCPU[i], toOthers[i] = append(others[i], one), append(otherCPU[i], cpu), append(toOthers[i], got/one)
		}
	}
	row.Hits, row.HitCPU = median(hits), median(hitCPU)
	row.Text, row.TextRatio = median(texts), median(toText)
	row.Bare, row.BareCPU, row.Ratio = median(others[0]), median(otherCPU[0]), median(toOthers[0])
	if len(bare) > 1 {
		row.Pipelined, row.PipelinedCPU, row.PipelinedRatio = median(others[1]), median(otherCPU[1]), median(toOthers[1])
	}
	return nil
}

// cpuOf tells the processor time that a tier's server has taken, in seconds.
func (m *hitRun) cpuOf(tier string) func(context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		counters, err := m.servers[tier].Counters(ctx)
		return counters.Sum("process_cpu_seconds_total"), err
	}
}

// flood measures the requests a second, and the processor time that one takes of a process, in µs.
func flood(ctx context.Context, t blast.Target, cpu func(context.Context) (float64, error)) (rate, micros float64, err error) {
	before, err := cpu(ctx)
	if err != nil {
		return 0, 0, err
	}
	rate, sent, err := blast.Throughput(ctx, t, hitConnections, hitLong)
	if err != nil {
		return 0, 0, err
	}
	after, err := cpu(ctx)
	return rate, (after - before) / float64(sent) * 1e6, err
}

// share is how many of the requests were hits of the tier that was meant.
func (m *hitRun) share(ctx context.Context, row *hitRow, server *rig.Server, before rig.Counters) error {
	after, err := server.Counters(ctx)
	if err != nil {
		return err
	}
	tier := map[string]string{"redis": "redis", "memory": "local"}[row.Tier]
	delta := func(name string, pairs ...string) float64 {
		return after.Sum(name, pairs...) - before.Sum(name, pairs...)
	}
	hits := delta("freshet_cache_hits_total", "kind", "operation", "tier", tier)
	row.HitShare = hits / delta("freshet_graphql_operations_total")
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// sum takes the lower of gzip and identity.
func (r *hitReport) sum() {
	lowest := func(tier string, of func(*hitRow) float64) float64 {
		low := 0.0
		for _, row := range r.Rows {
			if value := of(row); row.Tier == tier && (low == 0 || value < low) {
				low = value
			}
		}
		return low
	}
	ratio := func(row *hitRow) float64 { return row.Ratio }
	r.RedisHitRatio, r.LocalHitRatio = lowest("redis", ratio), lowest("memory", ratio)
	r.RedisHitPipelinedRatio = lowest("redis", func(row *hitRow) float64 { return row.PipelinedRatio })
	for _, row := range r.Rows {
		r.P99Ratio = max(r.P99Ratio, row.HitP99/row.BareP99)
	}
	text := func(row *hitRow) float64 { return row.TextRatio }
	r.FreeFormRatio = min(lowest("redis", text), lowest("memory", text))
	r.Targets = []target{
		atLeast("throughput of hits in Redis to a bare GET", r.RedisHitRatio, 0.95),
		atLeast("throughput of hits in Redis to pipelined GETs", r.RedisHitPipelinedRatio, 0.8),
		atLeast("throughput of hits in memory to a bare handler", r.LocalHitRatio, 0.8),
		atMost("p99 of hits to the bare handler's", r.P99Ratio, 2),
		atLeast("throughput of texts to that of ids", r.FreeFormRatio, 0.7),
		r.Cold.target(),
	}
}
