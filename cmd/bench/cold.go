package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"freshet/cmd/bench/internal/rig"
)

const coldRequests = 300

// coldRow is the same operation while nothing of it is cached anywhere: one request at a time, so that none waits for
// another.
type coldRow struct {
	Requests int `json:"requests"`
	// P50 is the whole answer's, SQL that of the time that its statements took, and Beyond that of the difference, in ms.
	P50    float64 `json:"p50Ms"`
	SQL    float64 `json:"sqlMs"`
	Beyond float64 `json:"beyondMs"`
	// NoWork is the p50 of GET /livez by the same client: what HTTP and waking up cost alone.
	NoWork     float64 `json:"noWorkMs"`
	Statements float64 `json:"statements"`
	RoundTrips float64 `json:"redisRoundTrips"`
}

func (r *coldRow) print(w io.Writer) {
	table(w, "cold\trequests\tp50 ms\tSQL ms\tbeyond ms\tno work ms\tSQL/request\tRedis trips/request",
		fmt.Sprintf("one at a time\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f", r.Requests, r.P50, r.SQL, r.Beyond, r.NoWork, r.Statements, r.RoundTrips))
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
	m := &hitRun{rig: r, client: newClient(), viewers: viewers}
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

// cold asks a server that has no memory, of a Redis that is emptied before each request.
func (m *hitRun) cold(ctx context.Context) (*coldRow, error) {
	server, err := m.rig.Start(ctx, "cold", "--memory", "-1", "--result-memory", "-1")
	if err != nil {
		return nil, err
	}
	run := &feedRun{rig: m.rig, client: m.client, server: server}
	var took, sql, beyond, idle []float64
	row := &coldRow{Requests: coldRequests}
	for i := range coldRequests {
		if err := m.rig.Redis.FlushAll(ctx).Err(); err != nil {
			return nil, fmt.Errorf("empty Redis: %w", err)
		}
		before, err := run.counts(ctx)
		if err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := m.client.live(ctx, server); err != nil {
			return nil, err
		}
		idle = append(idle, ms(time.Since(start)))
		one, err := m.askCold(ctx, server, m.viewers[i%len(m.viewers)])
		if err != nil {
			return nil, err
		}
		after, err := run.counts(ctx)
		if err != nil {
			return nil, err
		}
		statements := 1000 * (after.sqlSeconds - before.sqlSeconds)
		took, sql, beyond = append(took, one), append(sql, statements), append(beyond, one-statements)
		row.Statements += (after.statements - before.statements) / coldRequests
		row.RoundTrips += (after.roundTrips - before.roundTrips) / coldRequests
	}
	row.P50, row.SQL, row.Beyond, row.NoWork = median(took), median(sql), median(beyond), median(idle)
	return row, nil
}

func (m *hitRun) askCold(ctx context.Context, server *rig.Server, v rig.Viewer) (took float64, err error) {
	start := time.Now()
	body, err := m.client.ask(ctx, server, v.Token, hitOperation())
	if err != nil {
		return 0, err
	}
	return ms(time.Since(start)), check(body)
}
