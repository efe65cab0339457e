package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"freshet/cmd/bench/internal/blast"
	"freshet/cmd/bench/internal/load"
	"freshet/cmd/bench/internal/rig"
)

const (
	feedRate = 100
	// feedViewers is how many ask, once in each pass. The passes must end before counts do, which live for 30 s.
	feedViewers = 800
	// warmupViewers ask before, so that no pass pays for connections and for what is done once.
	warmupViewers = 300
)

// feedReport is the result of measureFeed.
type feedReport struct {
	Machine machine `json:"machine"`
	Rate    float64 `json:"rate"`
	Passes  []pass  `json:"passes"`
	// Ratios are cold to warm.
	RatioP50 float64  `json:"ratioP50"`
	RatioP99 float64  `json:"ratioP99"`
	Targets  []target `json:"targets"`
	Profile  string   `json:"profile,omitempty"`
}

// pass is a stretch of equal requests.
type pass struct {
	Name       string  `json:"name"`
	Requests   int     `json:"requests"`
	Failed     int     `json:"failed"`
	P50        float64 `json:"p50Ms"`
	P90        float64 `json:"p90Ms"`
	P99        float64 `json:"p99Ms"`
	Statements float64 `json:"sqlStatements"`   // a request
	RoundTrips float64 `json:"redisRoundTrips"` // a request
	SQL        float64 `json:"sqlMs"`           // a request; the time of its statements, one after the other
	CPU        float64 `json:"serverCPUMs"`     // a request

	err error
}

func (r *feedReport) print(w io.Writer) {
	fmt.Fprintf(w, "A page of %d posts with authors and counts, %.4g requests/s, every one by another viewer\n", feedSize, r.Rate)
	r.Machine.print(w)
	rows := []string{"\trequests\tfailed\tp50 ms\tp90 ms\tp99 ms\tSQL/request\tSQL ms/request\tRedis trips/request\tserver CPU ms/request"}
	for _, p := range r.Passes {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f",
			p.Name, p.Requests, p.Failed, p.P50, p.P90, p.P99, p.Statements, p.SQL, p.RoundTrips, p.CPU))
	}
	rows = append(rows, fmt.Sprintf("cold to warm\t\t\t%.1fx\t\t%.1fx\t\t\t\t", r.RatioP50, r.RatioP99))
	table(w, rows...)
	fmt.Fprintln(w, "no work is GET /livez, what the client and HTTP cost by themselves. Cold is a viewer whose feed was never read, with")
	fmt.Fprintln(w, "an empty Redis at the beginning; one of the statements is the session's. Warm is the same once more: the whole result is")
	fmt.Fprintln(w, "kept. Parts asks for it under another alias: there is no result, and it is made of parts that are cached.")
	fmt.Fprintln(w)
	printTargets(w, r.Targets)
	if r.Profile != "" {
		fmt.Fprintln(w, "profile of the warm pass:", r.Profile)
	}
}

// feedRun is the measurement on its way.
type feedRun struct {
	rig     *rig.Rig
	server  *rig.Server
	callers *blast.Callers
}

func measureFeed(ctx context.Context, s settings) (_ report, err error) {
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	viewers, err := r.Viewers(ctx, warmupViewers+feedViewers)
	if err != nil {
		return nil, err
	}
	m := &feedRun{rig: r}
	if m.server, err = r.Start(ctx, "freshet"); err != nil {
		return nil, err
	}
	m.callers = callersOf(m.server)
	defer m.callers.Close()
	out := &feedReport{Machine: describe(ctx, r, s), Rate: feedRate}
	if err := m.passes(ctx, out, viewers, s.rig.Profiled); err != nil {
		return nil, err
	}
	cold, warm := out.Passes[1], out.Passes[2]
	out.RatioP50, out.RatioP99 = cold.P50/warm.P50, cold.P99/warm.P99
	out.Targets = []target{
		atMost("warm p50 ms", warm.P50, 1.5), atMost("warm p99 ms", warm.P99, 5), atMost("cold p99 ms", cold.P99, 30),
		atMost("cold p50 ms beyond its SQL", cold.P50-cold.SQL, 2),
	}
	for _, p := range out.Passes {
		if p.Failed > 0 {
			return out, fmt.Errorf("%s: %d of %d requests failed, as in: %w", p.Name, p.Failed, p.Requests, p.err)
		}
	}
	return out, nil
}

// passes measures them one after the other.
func (m *feedRun) passes(ctx context.Context, out *feedReport, viewers []rig.Viewer, profiled bool) error {
	op := feedOperation()
	ask := func(viewers []rig.Viewer) load.Plan {
		return load.Plan{
			Rate: feedRate, Count: len(viewers),
			Send: func(ctx context.Context, i int) ([]byte, error) {
				return m.callers.Ask(ctx, graphqlRequest(viewers[i].Token, op))
			},
			Check: func(_ int, body []byte) error { return check(body) },
		}
	}
	if _, err := m.pass(ctx, "warm-up", ask(viewers[:warmupViewers])); err != nil {
		return err
	}
	add := func(name string, plan load.Plan) error {
		p, err := m.pass(ctx, name, plan)
		out.Passes = append(out.Passes, p)
		return err
	}
	idle := load.Plan{Rate: feedRate, Count: 5 * feedRate, Send: func(ctx context.Context, _ int) ([]byte, error) {
		return m.callers.Ask(ctx, liveRequest())
	}}
	if err := add("no work", idle); err != nil {
		return err
	}
	if err := m.rig.Redis.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("empty Redis: %w", err)
	}
	same := ask(viewers[warmupViewers:])
	if err := add("cold", same); err != nil {
		return err
	}
	var err error
	if profiled {
		out.Profile, err = m.server.Profile(ctx, func() error { return add("warm", same) })
	} else {
		err = add("warm", same)
	}
	if err != nil {
		return err
	}
	op = operation(bytes.Replace(op, []byte("id title"), []byte("id headline: title"), 1))
	return add("parts", ask(viewers[warmupViewers:]))
}

// pass runs a plan and counts what it cost.
func (m *feedRun) pass(ctx context.Context, name string, plan load.Plan) (pass, error) {
	before, err := m.counts(ctx)
	if err != nil {
		return pass{}, err
	}
	samples := load.Run(ctx, plan)
	after, err := m.counts(ctx)
	if err != nil {
		return pass{}, err
	}
	n := float64(plan.Count)
	p := pass{
		Name: name, Requests: plan.Count,
		P50: ms(samples.Quantile(0.5)), P90: ms(samples.Quantile(0.9)), P99: ms(samples.Quantile(0.99)),
		Statements: (after.statements - before.statements) / n,
		RoundTrips: (after.roundTrips - before.roundTrips) / n,
		SQL:        (after.sqlSeconds - before.sqlSeconds) / n * 1000,
		CPU:        (after.cpuSeconds - before.cpuSeconds) / n * 1000,
	}
	p.Failed, p.err = samples.Failed()
	return p, ctx.Err()
}

// counts are totals at a moment.
type counts struct{ statements, roundTrips, sqlSeconds, cpuSeconds float64 }

func (m *feedRun) counts(ctx context.Context) (c counts, err error) {
	statements, err := m.rig.Statements(ctx)
	if err != nil {
		return c, err
	}
	counters, err := m.server.Counters(ctx)
	return counts{
		float64(statements), counters.Sum("freshet_cache_round_trips_total"), counters.Seconds("freshet_sql_duration_seconds"),
		counters.Sum("process_cpu_seconds_total"),
	}, err
}

// closing closes a rig and joins what goes wrong then.
func closing(ctx context.Context, r *rig.Rig, err *error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if closed := r.Close(ctx); *err == nil {
		*err = closed
	}
}
