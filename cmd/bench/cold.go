package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"freshet/cmd/bench/internal/blast"
	"freshet/cmd/bench/internal/rig"
)

const coldRequests = 600

// coldRow is the same operation while nothing of it is cached anywhere: one request at a time, so that none waits for
// another.
type coldRow struct {
	Requests int `json:"requests"`
	// P50 is the whole answer's, in ms. SQL is the median of the time that statements took for a request, each of coldGroup,
	// and Beyond that of the difference.
	P50    float64 `json:"p50Ms"`
	SQL    float64 `json:"sqlMs"`
	Beyond float64 `json:"beyondMs"`
	// NoWork is the p50 of GET /livez by the same client: what HTTP and waking up cost alone.
	NoWork     float64 `json:"noWorkMs"`
	Statements float64 `json:"statements"`
	RoundTrips float64 `json:"redisRoundTrips"`
	// Profile is where a CPU profile of the server lies, if one was asked for.
	Profile string `json:"profile,omitempty"`
}

func (r *coldRow) print(w io.Writer) {
	table(w, "cold\trequests\tp50 ms\tSQL ms\tbeyond ms\tno work ms\tSQL/request\tRedis trips/request",
		fmt.Sprintf("one at a time\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f", r.Requests, r.P50, r.SQL, r.Beyond, r.NoWork, r.Statements, r.RoundTrips))
	if r.Profile != "" {
		fmt.Fprintln(w, "profile:", r.Profile)
	}
}

type coldReport struct {
	Machine machine  `json:"machine"`
	Cold    *coldRow `json:"cold"`
	Targets []target `json:"targets"`
}

func (r *coldReport) print(w io.Writer) {
	r.Machine.print(w)
	r.Cold.print(w)
	printTargets(w, r.Targets)
}

// measureCold is the last part of measureHit alone.
func measureCold(ctx context.Context, s settings) (_ report, err error) {
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	viewers, err := r.Viewers(ctx, hitConnections)
	if err != nil {
		return nil, err
	}
	m := &hitRun{rig: r, client: newClient(), viewers: viewers, profiled: s.rig.Profiled}
	defer m.client.close()
	out := &coldReport{Machine: describe(ctx, r, s)}
	if out.Cold, err = m.cold(ctx); err != nil {
		return nil, err
	}
	out.Targets = []target{out.Cold.target()}
	return out, nil
}

func (r *coldRow) target() target {
	return atMost("cold ms beyond the SQL, one at a time", r.Beyond, 2)
}

// coldGroup is how many requests are counted together: reading a server's counters costs it as much as a request does, and
// drives what the next one needs out of the processor's caches.
const coldGroup = 10

// cold asks a server that has no memory, of a Redis that is emptied before each request.
func (m *hitRun) cold(ctx context.Context) (*coldRow, error) {
	server, err := m.rig.Start(ctx, "cold", "--memory", "-1", "--result-memory", "-1")
	if err != nil {
		return nil, err
	}
	row := &coldRow{Requests: coldRequests}
	if !m.profiled {
		return row, m.fillCold(ctx, server, row)
	}
	row.Requests *= 5 // a profile has 100 samples a second
	row.Profile, err = server.Profile(ctx, func() error { return m.fillCold(ctx, server, row) })
	return row, err
}

func (m *hitRun) fillCold(ctx context.Context, server *rig.Server, row *coldRow) error {
	callers := callersOf(server)
	defer callers.Close()
	run := &feedRun{rig: m.rig, server: server}
	var took, idle, sql, beyond []float64
	for len(took) < row.Requests {
		before, err := run.counts(ctx)
		if err != nil {
			return err
		}
		first := len(took)
		for range coldGroup {
			nothing, answer, err := m.askCold(ctx, callers, m.viewers[len(took)%len(m.viewers)])
			if err != nil {
				return err
			}
			idle, took = append(idle, nothing), append(took, answer)
		}
		after, err := run.counts(ctx)
		if err != nil {
			return err
		}
		statements := 1000 * (after.sqlSeconds - before.sqlSeconds) / coldGroup
		sql, beyond = append(sql, statements), append(beyond, mean(took[first:])-statements)
		row.Statements += (after.statements - before.statements) / float64(row.Requests)
		row.RoundTrips += (after.roundTrips - before.roundTrips) / float64(row.Requests)
	}
	row.P50, row.NoWork, row.SQL, row.Beyond = median(took), median(idle), median(sql), median(beyond)
	return nil
}

// askCold empties Redis once what the request before had loaded is stored there, and returns how long an answer without
// work takes, and one for which everything must be loaded.
func (m *hitRun) askCold(ctx context.Context, callers *blast.Callers, v rig.Viewer) (nothing, answer float64, err error) {
	const pause = 5 * time.Millisecond
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	if err := m.rig.Redis.FlushAll(ctx).Err(); err != nil {
		return 0, 0, fmt.Errorf("empty Redis: %w", err)
	}
	start := time.Now()
	if _, err := callers.Ask(ctx, liveRequest()); err != nil {
		return 0, 0, err
	}
	idle := time.Since(start)
	start = time.Now()
	body, err := callers.Ask(ctx, graphqlRequest(v.Token, hitOperation()))
	if err != nil {
		return 0, 0, err
	}
	return ms(idle), ms(time.Since(start)), check(body)
}

func mean(all []float64) float64 {
	sum := 0.0
	for _, one := range all {
		sum += one
	}
	return sum / float64(len(all))
}
