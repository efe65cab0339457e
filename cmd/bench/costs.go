package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"freshet/cmd/bench/internal/costs"
	"freshet/cmd/bench/internal/load"
	"freshet/cmd/bench/internal/rig"
)

const (
	costsMutations = 500
	costsBacklog   = 1_000_000
	updateRuns     = 5
	updateTurn     = 3 * time.Second

	hotReads  = 1000 // a second, over all servers
	hotWrites = 10   // a second
	hotTime   = 10 * time.Second
)

// costsReport is the result of measureCosts.
type costsReport struct {
	Machine   machine         `json:"machine"`
	Mutations costs.Mutations `json:"mutations"`
	Updates   costs.Updates   `json:"updates"`
	// EventsPerSecond of a backlog go into the log and to every instance.
	EventsPerSecond float64 `json:"eventsPerSecond"`
	DiskPerMillion  int64   `json:"diskBytesPerMillionEntries"`
	costs.Memory
	Hot     hot      `json:"hot"`
	Targets []target `json:"targets"`
}

// hot is a profile that is read and written often.
type hot struct {
	Reads         int     `json:"reads"`
	Writes        int     `json:"writes"`
	Failed        int     `json:"failed"`
	HitRate       float64 `json:"hitRatePercent"`
	LoadsPerWrite float64 `json:"databaseReadsPerWrite"`
	ReadP50       float64 `json:"readP50Ms"`
	ReadP99       float64 `json:"readP99Ms"`
	WriteP50      float64 `json:"writeP50Ms"`
	WriteP99      float64 `json:"writeP99Ms"`

	err error
}

func (r *costsReport) print(w io.Writer) {
	fmt.Fprintln(w, "What the change log costs, beside runs without it")
	r.Machine.print(w)
	table(
		w, "\twithout\twith\t",
		fmt.Sprintf("a row's change, committed and safe to answer, p50 ms\t%.2f\t%.2f\tadds %.2f", r.Mutations.Without.P50, r.Mutations.With.P50, r.Mutations.Added),
		fmt.Sprintf("the same, p99 ms\t%.2f\t%.2f\t", r.Mutations.Without.P99, r.Mutations.With.P99),
		fmt.Sprintf("UPDATEs a second, 8 connections, median of %d\t%.0f\t%.0f\tkeeps %.1f %%", updateRuns, r.Updates.Without, r.Updates.With, r.Updates.Share),
	)
	table(
		w,
		fmt.Sprintf("changes a second of a backlog of %d, until three instances have them\t%.0f", costsBacklog, r.EventsPerSecond),
		fmt.Sprintf("PostgreSQL's disk for a million log entries, MiB\t%.0f", mebibytes(r.DiskPerMillion)),
		fmt.Sprintf("an instance's memory for a million log entries, MiB\t%.1f", mebibytes(r.PerMillion)),
		fmt.Sprintf("a freshness check, 1 tag, ns\t%.0f", r.CheckOne),
		fmt.Sprintf("a freshness check, 40 tags, ns\t%.0f", r.CheckForty),
		fmt.Sprintf("a profile read %d times a second and written %d times: hit rate %%\t%.1f", hotReads, hotWrites, r.Hot.HitRate),
		fmt.Sprintf("the same: database reads a write\t%.2f", r.Hot.LoadsPerWrite),
		fmt.Sprintf("the same: reads p50, p99 ms\t%.2f, %.2f", r.Hot.ReadP50, r.Hot.ReadP99),
		fmt.Sprintf("the same: writes p50, p99 ms\t%.2f, %.2f", r.Hot.WriteP50, r.Hot.WriteP99),
	)
	printTargets(w, r.Targets)
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func measureCosts(ctx context.Context, s settings) (_ report, err error) {
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	out := &costsReport{Machine: describe(ctx, r, s), Memory: costs.MeasureMemory(1000)}
	if err := out.writers(ctx, r); err != nil {
		return nil, err
	}
	if out.Hot, err = measureHot(ctx, r); err != nil {
		return nil, err
	}
	out.Targets = []target{
		atMost("a mutation's added p50 ms", out.Mutations.Added, 10),
		atLeast("UPDATEs a second kept %", out.Updates.Share, 65),
		atLeast("changes a second into the log", out.EventsPerSecond, 50_000),
		atLeast("hot profile's hit rate %", out.Hot.HitRate, 90),
		atMost("database reads a write of a hot profile", out.Hot.LoadsPerWrite, 1.5),
	}
	if out.Hot.Failed > 0 {
		return out, fmt.Errorf("hot profile: %d requests failed, as in: %w", out.Hot.Failed, out.Hot.err)
	}
	return out, nil
}

// writers measures in this process, with instances that do nothing but follow the log.
func (r *costsReport) writers(ctx context.Context, on *rig.Rig) (err error) {
	bed, err := costs.Open(ctx, on.Env.Postgres.URL, on.Redis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	if r.Mutations, err = bed.Mutations(ctx, costsMutations); err != nil {
		return err
	}
	if r.Updates, err = bed.Updates(ctx, updateRuns, updateTurn); err != nil {
		return err
	}
	r.EventsPerSecond, r.DiskPerMillion, err = bed.Backlog(ctx, costsBacklog)
	return err
}

// measureHot has three servers asked for one profile, which its owner changes meanwhile.
func measureHot(ctx context.Context, r *rig.Rig) (out hot, err error) {
	m, err := newHerdRun(ctx, r, herdRequests)
	if err != nil {
		return out, err
	}
	defer m.client.close()
	viewer := m.viewers[0]
	read := load.Plan{
		Rate: hotReads, Count: int(hotTime.Seconds() * hotReads),
		Send: func(ctx context.Context, i int) ([]byte, error) {
			return m.client.ask(ctx, m.servers[i%len(m.servers)], viewer.Token, profileOperation(viewer.ID))
		},
		Check: func(_ int, body []byte) error { return check(body) },
	}
	write := load.Plan{
		Rate: hotWrites, Count: int(hotTime.Seconds() * hotWrites),
		Send: func(ctx context.Context, i int) ([]byte, error) {
			return m.client.ask(ctx, m.servers[i%len(m.servers)], viewer.Token, renameOperation(i))
		},
		Check: func(_ int, body []byte) error { return check(body) },
	}
	before, err := m.cacheCounts(ctx)
	if err != nil {
		return out, err
	}
	var reads, writes load.Samples
	var work sync.WaitGroup
	work.Go(func() { reads = load.Run(ctx, read) })
	work.Go(func() { writes = load.Run(ctx, write) })
	work.Wait()
	after, err := m.cacheCounts(ctx)
	if err != nil {
		return out, err
	}
	misses, loads := after.misses-before.misses, after.loads-before.loads
	out = hot{
		Reads: len(reads), Writes: len(writes),
		HitRate: 100 * (1 - misses/float64(len(reads))), LoadsPerWrite: loads / float64(len(writes)),
		ReadP50: ms(reads.Quantile(0.5)), ReadP99: ms(reads.Quantile(0.99)),
		WriteP50: ms(writes.Quantile(0.5)), WriteP99: ms(writes.Quantile(0.99)),
	}
	out.Failed, out.err = append(reads, writes...).Failed()
	return out, ctx.Err()
}

func renameOperation(n int) operation {
	return newOperation(`mutation Rename($name: String!) { updateProfile(input: {name: $name}) { profile { name } } }`,
		map[string]any{"name": fmt.Sprint("Hot ", n)})
}

// profiles are totals of all servers at a moment.
type profiles struct{ misses, loads float64 }

// cacheCounts counts the profiles that no cache had: neither a whole result nor the profile alone. What a write reads back
// is one of them.
func (m *herdRun) cacheCounts(ctx context.Context) (total profiles, err error) {
	for _, s := range m.servers {
		counters, err := s.Counters(ctx)
		if err != nil {
			return total, err
		}
		total.misses += counters.Sum("freshet_cache_misses_total", "kind", "profile")
		total.loads += counters.Sum("freshet_cache_loads_total", "kind", "profile")
	}
	return total, nil
}
