package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"freshet/cmd/bench/internal/load"
	"freshet/cmd/bench/internal/rig"
)

// outagePlan says how hard and how long to measure.
type outagePlan struct {
	rate    int           // requests a second
	warmup  time.Duration // at half the rate, so that each fault finds a cache in use
	before  time.Duration // with Redis
	without time.Duration
	after   time.Duration // with Redis again
	viewers int
}

// outageReport is the result of measureOutage.
type outageReport struct {
	Machine machine  `json:"machine"`
	Rate    int      `json:"rate"`
	Faults  []outage `json:"faults"`
	Targets []target `json:"targets"`
}

// outage is what requests met while Redis was away, and on both sides of it.
type outage struct {
	Fault    string  `json:"fault"`
	Seconds  float64 `json:"seconds"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Before   float64 `json:"p99BeforeMs"`
	During   float64 `json:"p99DuringMs"`
	After    float64 `json:"p99AfterMs"`
	// Hits are of keys that Redis had. One that is counted while it was away had its reply before.
	HitsBefore float64 `json:"hitsBefore"`
	HitsDuring float64 `json:"hitsDuring"`
	// Back is how long after its return Redis answered for the first time; 0 if it never did.
	Back float64 `json:"usedAgainMs"`

	err error
}

func (r *outageReport) print(w io.Writer) {
	fmt.Fprintf(w, "%d requests/s, a fifth for feeds, the others for profiles and the configuration; Redis goes away and comes back\n", r.Rate)
	r.Machine.print(w)
	rows := []string{"Redis\tseconds\trequests\tfailed\tp99 ms before\tduring\tafter\thits before\tduring\tused again ms"}
	for _, f := range r.Faults {
		rows = append(rows, fmt.Sprintf("%s\t%.0f\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f",
			f.Fault, f.Seconds, f.Requests, f.Failed, f.Before, f.During, f.After, f.HitsBefore, f.HitsDuring, f.Back))
	}
	table(w, rows...)
	printTargets(w, r.Targets)
}

func measureOutage(ctx context.Context, s settings) (_ report, err error) {
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	plan := outagePlan{
		rate: 500, warmup: 10 * time.Second,
		before: 10 * time.Second, without: 10 * time.Second, after: 10 * time.Second, viewers: 300,
	}
	m, err := newOutageRun(ctx, r, plan)
	if err != nil {
		return nil, err
	}
	defer m.client.close()
	out := &outageReport{Machine: describe(ctx, r, s), Rate: plan.rate}
	var errs []error
	for _, fault := range faults(r) {
		found, err := m.run(ctx, fault)
		if err != nil {
			return nil, err
		}
		out.Faults = append(out.Faults, found)
		out.Targets = append(out.Targets,
			atMost("failed while "+fault.name, float64(found.Failed), 0),
			usedAgain(fault.name, found.Back))
		if found.Failed > 0 {
			errs = append(errs, fmt.Errorf("%s: %d of %d requests failed, as in: %w", fault.name, found.Failed, found.Requests, found.err))
		}
		if found.Back == 0 {
			errs = append(errs, fmt.Errorf("%s: Redis was not used again", fault.name))
		}
	}
	return out, errors.Join(errs...)
}

// fault takes Redis away and brings it back.
type fault struct {
	name       string
	begin, end func(context.Context) error
}

func faults(r *rig.Rig) []fault {
	return []fault{
		{
			name:  "killed",
			begin: func(context.Context) error { r.Env.Redis.Kill(); return nil },
			end:   r.Env.Redis.Restart,
		},
		{
			name:  "stuck",
			begin: func(context.Context) error { r.Env.Redis.Pause(); return nil },
			end:   func(context.Context) error { r.Env.Redis.Resume(); return nil },
		},
	}
}

// outageRun is the measurement on its way.
type outageRun struct {
	plan     outagePlan
	server   *rig.Server
	client   *client
	viewers  []rig.Viewer
	feed     operation
	config   operation
	profiles []operation // by viewer
	asked    int64       // profiles that other has named
}

func newOutageRun(ctx context.Context, r *rig.Rig, plan outagePlan) (*outageRun, error) {
	m := &outageRun{plan: plan, client: newClient(), feed: feedOperation(), config: configOperation("IOS")}
	var err error
	if m.viewers, err = r.Viewers(ctx, plan.viewers); err != nil {
		return nil, err
	}
	for _, viewer := range m.viewers {
		m.profiles = append(m.profiles, profileOperation(viewer.ID))
	}
	if m.server, err = r.Start(ctx, "freshet"); err != nil {
		return nil, err
	}
	return m, m.client.awaitHits(ctx, m.server, m.viewers[0])
}

// traffic is what comes in: each viewer asks for their feed, twice for their profile and twice for the configuration.
func (m *outageRun) traffic(rate float64, long time.Duration) load.Plan {
	return load.Plan{
		Rate: rate, Count: int(rate * long.Seconds()),
		Send: func(ctx context.Context, i int) ([]byte, error) {
			viewer := i / 5 % len(m.viewers)
			op := m.config
			switch i % 5 {
			case 0:
				op = m.feed
			case 1, 2:
				op = m.profiles[viewer]
			}
			return m.client.ask(ctx, m.server, m.viewers[viewer].Token, op)
		},
		Check: func(_ int, body []byte) error { return check(body) },
	}
}

// run measures one fault, in the middle of traffic.
func (m *outageRun) run(ctx context.Context, f fault) (outage, error) {
	p := m.plan
	whole := p.before + p.without + p.after
	if n, err := load.Run(ctx, m.traffic(float64(p.rate)/2, p.warmup)).Failed(); n > 0 {
		return outage{}, fmt.Errorf("%d requests failed before anything was done to Redis, as in: %w", n, err)
	}
	used, err := m.hits(ctx)
	if err == nil {
		_, err = m.awaitUse(ctx, used)
	}
	if err != nil {
		return outage{}, err
	}
	timeline := make(chan outage, 1)
	failed := make(chan error, 1)
	start := time.Now()
	go func() {
		out, err := m.timeline(ctx, f, start)
		timeline <- out
		failed <- err
	}()
	samples := load.Run(ctx, m.traffic(float64(p.rate), whole))
	out := <-timeline
	if err := <-failed; err != nil {
		return out, fmt.Errorf("%s: %w", f.name, err)
	}
	out.Requests = len(samples)
	out.Failed, out.err = samples.Failed()
	out.Before = ms(samples.Between(0, p.before).Quantile(0.99))
	out.During = ms(samples.Between(p.before, p.before+p.without).Quantile(0.99))
	out.After = ms(samples.Between(p.before+p.without, whole).Quantile(0.99))
	return out, ctx.Err()
}

// timeline makes the fault happen, and watches what Redis is used for. Redis is back whatever happens.
func (m *outageRun) timeline(ctx context.Context, f fault, start time.Time) (outage, error) {
	out := outage{Fault: f.name, Seconds: m.plan.without.Seconds()}
	begin, end := start.Add(m.plan.before), start.Add(m.plan.before+m.plan.without)
	if err := wait(ctx, begin); err != nil {
		return out, err
	}
	atBegin, err := m.hits(ctx)
	if err != nil {
		return out, err
	}
	out.HitsBefore = atBegin
	if err := f.begin(ctx); err != nil {
		return out, err
	}
	during, watchErr := m.watch(ctx, end)
	atEnd, err := m.hits(ctx)
	out.HitsDuring = during
	if err := errors.Join(watchErr, err, f.end(context.WithoutCancel(ctx))); err != nil {
		return out, err
	}
	out.Back, err = m.awaitUse(ctx, atEnd)
	return out, err
}

// watch counts hits until a moment. Those of replies that had already come are none: it begins a little later. It also asks
// for some profiles itself: on a busy machine the traffic may be late.
func (m *outageRun) watch(ctx context.Context, end time.Time) (float64, error) {
	if err := wait(ctx, time.Now().Add(m.plan.without/5)); err != nil {
		return 0, err
	}
	before, err := m.hits(ctx)
	if err != nil {
		return 0, err
	}
	for range 10 {
		body, err := m.client.ask(ctx, m.server, m.viewers[0].Token, profileOperation(m.other()))
		if err == nil {
			err = check(body)
		}
		if err != nil {
			return 0, fmt.Errorf("while Redis is away: %w", err)
		}
	}
	if err := wait(ctx, end); err != nil {
		return 0, err
	}
	after, err := m.hits(ctx)
	return after - before, err
}

// other is a profile that the traffic does not ask for, and another one with each call.
func (m *outageRun) other() int64 {
	m.asked++
	return 100 + m.asked%800
}

// awaitUse returns how many milliseconds it took until there were more hits than before; 0 if there never were. What the
// traffic asks for the server may have in its own memory, so others are asked for here, never the same twice: each as a whole
// first, and after a pause, when Redis has it, by another operation, whose result nobody has.
func (m *outageRun) awaitUse(ctx context.Context, before float64) (float64, error) {
	const pause = 20 * time.Millisecond
	start := time.Now()
	for time.Since(start) < rig.Hang {
		id := m.other()
		for _, op := range []operation{profileOperation(id), nameOperation(id)} {
			if _, err := m.client.ask(ctx, m.server, m.viewers[0].Token, op); err != nil {
				return 0, err
			}
			if err := wait(ctx, time.Now().Add(pause)); err != nil {
				return 0, err
			}
		}
		now, err := m.hits(ctx)
		if err != nil {
			return 0, err
		}
		if now > before {
			return ms(time.Since(start)), nil
		}
	}
	return 0, nil
}

// hits is how many keys the server has answered from Redis so far.
func (m *outageRun) hits(ctx context.Context) (float64, error) {
	counters, err := m.server.Counters(ctx)
	return counters.Sum("freshet_cache_hits_total", "tier", "redis"), err
}

func wait(ctx context.Context, until time.Time) error {
	select {
	case <-time.After(time.Until(until)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// usedAgain misses its target also if Redis was never used again.
func usedAgain(fault string, back float64) target {
	t := atMost("ms until used again, "+fault, back, 2000)
	t.Met = t.Met && back > 0
	return t
}
