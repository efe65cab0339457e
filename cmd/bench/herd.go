package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"freshet/cmd/bench/internal/rig"
)

const (
	herdServers  = 3
	herdRequests = 500
	slowLoad     = 400 * time.Millisecond
)

// herdReport is the result of measureHerd.
type herdReport struct {
	Machine machine  `json:"machine"`
	Servers int      `json:"servers"`
	Herds   []herd   `json:"herds"`
	Targets []target `json:"targets"`
}

// herd is many requests at once for what no cache has.
type herd struct {
	Kind     string  `json:"kind"`
	LoadMs   float64 `json:"loadMs"` // how long the load was made to take; 0: as long as it takes
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Loads    float64 `json:"loads"`
	Took     float64 `json:"tookMs"` // from the first request to the last answer

	err error
}

func (r *herdReport) print(w io.Writer) {
	fmt.Fprintf(w, "%d requests at once for one cold key, over %d servers\n", herdRequests, r.Servers)
	r.Machine.print(w)
	rows := []string{"kind\tload takes\trequests\tfailed\tloads\tall answered in ms"}
	for _, h := range r.Herds {
		takes := "its time"
		if h.LoadMs > 0 {
			takes = fmt.Sprintf("%.0f ms", h.LoadMs)
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%d\t%d\t%.0f\t%.0f", h.Kind, takes, h.Requests, h.Failed, h.Loads, h.Took))
	}
	table(w, rows...)
	printTargets(w, r.Targets)
}

// prey is a key that many want, and that nobody has asked for before: no memory has it, neither Redis' nor a server's.
type prey struct {
	kind   string // whose loads count
	table  string // that a load reads
	op     operation
	viewer rig.Viewer
	slow   time.Duration
}

// preys are one quick and one slow load of each kind, each by a viewer of its own.
func preys(viewers []rig.Viewer) []prey {
	return []prey{
		{"profile", "profiles", profileOperation(viewers[0].ID), viewers[0], 0},
		{"profile", "profiles", profileOperation(viewers[1].ID), viewers[1], slowLoad},
		{"config", "configs", configOperation("IOS"), viewers[0], 0},
		{"config", "configs", configOperation("ANDROID"), viewers[1], slowLoad},
		{"feed", "follows", pageOperation(), viewers[0], 0},
		{"feed", "follows", pageOperation(), viewers[1], slowLoad},
	}
}

func measureHerd(ctx context.Context, s settings) (_ report, err error) {
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	m, err := newHerdRun(ctx, r, herdRequests)
	if err != nil {
		return nil, err
	}
	defer m.client.close()
	out := &herdReport{Machine: describe(ctx, r, s), Servers: herdServers}
	var errs []error
	for _, p := range preys(m.viewers) {
		found, err := m.run(ctx, p)
		if err != nil {
			return nil, err
		}
		out.Herds = append(out.Herds, found)
		name := fmt.Sprintf("loads of %s in %s", p.kind, p.slow)
		out.Targets = append(out.Targets, atMost(name, found.Loads, 1))
		if found.Failed > 0 {
			errs = append(errs, fmt.Errorf("%s: %d requests failed, as in: %w", name, found.Failed, found.err))
		}
	}
	return out, errors.Join(errs...)
}

// herdRun is the measurement on its way.
type herdRun struct {
	rig      *rig.Rig
	servers  []*rig.Server
	client   *client
	viewers  []rig.Viewer
	requests int // of each herd
}

// newHerdRun starts the servers, with flags of serve.
func newHerdRun(ctx context.Context, r *rig.Rig, requests int, args ...string) (*herdRun, error) {
	viewers, err := r.Viewers(ctx, 3)
	if err != nil {
		return nil, err
	}
	m := &herdRun{rig: r, client: newClient(), viewers: viewers[:2], requests: requests}
	for i := range herdServers {
		server, err := r.Start(ctx, fmt.Sprintf("freshet-%d", i+1), args...)
		if err != nil {
			return nil, err
		}
		m.servers = append(m.servers, server)
		if err := m.client.awaitHits(ctx, server, viewers[2]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// run sends the herd. The connections are there before, so that the requests come at once.
func (m *herdRun) run(ctx context.Context, p prey) (herd, error) {
	out := herd{Kind: p.kind, LoadMs: ms(p.slow), Requests: m.requests}
	_, err := m.all(func(s *rig.Server) error {
		_, err := m.client.live(ctx, s)
		return err
	})
	if err != nil {
		return out, err
	}
	if err := m.rig.Redis.FlushAll(ctx).Err(); err != nil {
		return out, fmt.Errorf("empty Redis: %w", err)
	}
	before, err := m.loads(ctx, p.kind)
	if err != nil {
		return out, err
	}
	release, err := m.slow(ctx, p.table, p.slow)
	if err != nil {
		return out, err
	}
	start := time.Now()
	out.Failed, out.err = m.all(func(s *rig.Server) error {
		body, err := m.client.ask(ctx, s, p.viewer.Token, p.op)
		if err != nil {
			return err
		}
		return check(body)
	})
	out.Took = ms(time.Since(start))
	if err := release(); err != nil {
		return out, err
	}
	after, err := m.loads(ctx, p.kind)
	out.Loads = after - before
	return out, err
}

// all makes requests at once, over all servers, and waits for the answers.
func (m *herdRun) all(ask func(*rig.Server) error) (failed int, one error) {
	errs := make([]error, m.requests)
	gate := make(chan struct{})
	var work sync.WaitGroup
	for i := range errs {
		work.Go(func() {
			<-gate
			errs[i] = ask(m.servers[i%len(m.servers)])
		})
	}
	close(gate)
	work.Wait()
	for _, err := range errs {
		if err != nil {
			failed, one = failed+1, err
		}
	}
	return failed, one
}

// slow keeps readers out of a table for a while, so that a load takes at least that long. Release waits for the end.
func (m *herdRun) slow(ctx context.Context, table string, long time.Duration) (release func() error, err error) {
	if long == 0 {
		return func() error { return nil }, nil
	}
	tx, err := m.rig.DB.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", table, err)
	}
	if _, err := tx.Exec(ctx, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", table, err), tx.Rollback(ctx))
	}
	ended := make(chan error, 1)
	go func() {
		waited := wait(ctx, time.Now().Add(long))
		ended <- errors.Join(waited, tx.Rollback(context.WithoutCancel(ctx)))
	}()
	return func() error { return <-ended }, nil
}

// loads is how many keys of a kind all servers have read from PostgreSQL so far.
func (m *herdRun) loads(ctx context.Context, kind string) (total float64, err error) {
	for _, s := range m.servers {
		counters, err := s.Counters(ctx)
		if err != nil {
			return 0, err
		}
		total += counters.Sum("freshet_cache_loads_total", "kind", kind)
	}
	return total, nil
}
