// Package freshness runs three instances through one fault after the other, and judges every value that they answered.
package freshness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"freshet/cmd/bench/internal/freshness/history"
	"freshet/cmd/bench/internal/rig"
)

// Options say how much to do. Rig has no default.
type Options struct {
	Rig *rig.Rig
	// WarmUp is the time for caches and connections to fill, so that the first fault is not measured beside an ordinary start.
	WarmUp time.Duration
	// Before, During and After are the parts of each fault's time. During goes on until the fault has shown, and After until
	// Reads are made.
	Before, During, After time.Duration
	// Reads is the fewest for each fault.
	Reads int64
	// Actors is how many there are to be cut off. Default 900.
	Actors int
	// Only names the faults to inject; empty means all that are of the Rig's form of Redis.
	Only []string
	// Progress hears of each fault. Nil means silence.
	Progress io.Writer
}

func (o Options) withDefaults() Options {
	if o.Actors == 0 {
		o.Actors = 900
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o
}

// run is a run on its way.
type run struct {
	Options
	bed    *bed
	world  *world
	client *client
	clock  func() time.Duration
	meter  *meter
}

// Run injects the faults and returns what was found, also when something went wrong on the way.
func Run(ctx context.Context, o Options) (_ []Fault, err error) {
	list, err := chosen(o.Rig.Form, o.Only)
	if err != nil {
		return nil, err
	}
	r := &run{Options: o.withDefaults(), client: newClient()}
	defer r.client.http.CloseIdleConnections()
	start := time.Now()
	r.clock = func() time.Duration { return time.Since(start) }
	if r.world, err = newWorld(ctx, r.Rig.DB, r.Actors); err != nil {
		return nil, err
	}
	if r.bed, err = openBed(ctx, r.Rig); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.bed.close(context.WithoutCancel(ctx))) }()
	r.warmUp(ctx)
	var found []Fault
	for _, f := range list {
		one, err := r.fault(ctx, f)
		if err != nil {
			return found, fmt.Errorf("%s: %w", f.name, err)
		}
		found = append(found, one)
		fmt.Fprintf(r.Progress, "%5.1fs  %s: %d reads, %d stale, %s\n", r.clock().Seconds(), one.Fault, one.Reads, one.StaleFresh, proof(one.Evidence))
		for _, example := range one.examples {
			fmt.Fprintln(r.Progress, " ", example)
		}
	}
	return found, nil
}

// warmUp is the load without a fault.
func (r *run) warmUp(ctx context.Context) {
	l := &load{world: r.world, bed: r.bed, client: r.client, clock: r.clock}
	working, stop := context.WithTimeout(ctx, r.WarmUp)
	defer stop()
	l.run(working)
	<-working.Done()
	l.work.Wait()
	r.world.take()
}

// fault puts the load on, lets things go wrong for a while, and looks on while they mend.
func (r *run) fault(ctx context.Context, f fault) (out Fault, err error) {
	r.meter = newMeter(r.bed, r.clock)
	l := &load{world: r.world, bed: r.bed, client: r.client, clock: r.clock}
	working, stop := context.WithCancel(ctx)
	defer func() { stop(); l.work.Wait() }()
	l.run(working)
	l.work.Go(func() { every(working, 250*time.Millisecond, func() { r.meter.look(ctx) }) })
	r.meter.look(ctx)
	begun := r.clock()
	sleep(ctx, r.Before)
	broken := r.clock()
	evidence, err := f.inject(ctx, r, l)
	mended := r.clock()
	if err != nil {
		return out, err
	}
	for until := mended + r.After; ctx.Err() == nil; {
		if now := r.clock(); now > until && l.reads.Load() >= r.Reads || now > until+rig.Hang {
			break
		}
		sleep(ctx, 100*time.Millisecond)
	}
	stop()
	l.work.Wait()
	r.meter.look(ctx)
	out = Fault{Fault: f.name, Evidence: evidence, ofRedis: f.harms.ofRedis(), length: mended - broken}
	out.count(l, r.meter.between(begun, r.clock()))
	out.judge(r.world.take(), l)
	out.recover(l, r.meter, begun, broken, mended)
	return out, errors.Join(ctx.Err(), l.fatal)
}

func (f *Fault) count(l *load, t tally) {
	f.Reads, f.Writes, f.Errors = l.reads.Load(), l.writes.Load(), l.errors.Load()
	f.Hits, f.DBShare = int64(t.hits), t.dbShare()
	if l.err != nil {
		f.Evidence["anError"] = fmt.Sprintf("%.200s", l.err)
	}
	var took []time.Duration
	for _, e := range l.events {
		if e.write && !e.failed && !e.held {
			took = append(took, e.wait)
		}
	}
	slices.Sort(took)
	f.AnswerMs = Answers{ms(quantile(took, 0.5)), ms(quantile(took, 0.99))}
	f.answerMost = quantile(took, 1)
	f.Evidence["answerMaxMs"] = ms(f.answerMost)
}

// judge checks each key's history, those of fresh ones by porcupine too.
func (f *Fault) judge(segments []*history.Segment, l *load) {
	const piece, patience = 200, 2 * time.Second
	var staleness []time.Duration
	latest, mostLate := "", time.Duration(0)
	var pieces history.Pieces
	impossible, marked := 0, 0
	for _, s := range segments {
		v := s.Check()
		f.Inversions += v.Inversions
		staleness = append(staleness, v.Staleness...)
		if late := quantile(slices.Sorted(slices.Values(v.Staleness)), 1); late > mostLate {
			mostLate, latest = late, v.Latest
		}
		impossible, marked = impossible+v.Impossible, marked+v.Marked
		if s.Level == history.TTL {
			f.staleTTL += v.Stale
		} else {
			f.StaleFresh += v.Stale
		}
		if v.Example != "" {
			f.examples = append(f.examples, v.Example)
		}
		if s.Level == history.Fresh {
			p := s.Porcupine(piece, patience)
			pieces.OK, pieces.Illegal, pieces.Unknown = pieces.OK+p.OK, pieces.Illegal+p.Illegal, pieces.Unknown+p.Unknown
		}
	}
	f.StaleFresh += int(l.unread.Load()) + int(l.pair.torn.Swap(0)) + impossible
	slices.Sort(staleness)
	f.ForeignMs = spreadOf(staleness)
	f.foreignP99, f.foreignMost = quantile(staleness, 0.99), quantile(staleness, 1)
	f.Evidence["staleTTL"] = f.staleTTL
	f.Evidence["staleButMarked"] = marked
	f.Evidence["impossible"] = impossible
	f.Evidence["answersOlderThanTheirWrite"] = l.unread.Load()
	f.Evidence["answersWithOldCounts"] = l.uncounted.Load()
	f.Evidence["porcupine"] = fmt.Sprintf("%d pieces, %d illegal, %d undecided", pieces.OK+pieces.Illegal+pieces.Unknown, pieces.Illegal, pieces.Unknown)
	f.Evidence["foreignCommits"] = len(staleness)
	f.Evidence["foreignLatest"] = latest
}

// recover finds out when all was well again.
func (f *Fault) recover(l *load, m *meter, begun, broken, mended time.Duration) {
	f.hitBefore = m.between(begun+time.Second/2, broken).hitRate()
	f.recovered, f.hitRegained = l.normal(broken, mended), -1
	if after, ok := m.regained(mended, f.hitBefore-0.05); ok {
		f.hitRegained = after
	}
	f.Evidence["lengthMs"] = ms(f.length)
	f.Evidence["normalAfterMs"] = msOrNever(f.recovered)
	f.Evidence["hitRateBefore"] = fmt.Sprintf("%.3f", f.hitBefore)
	f.Evidence["hitRateBackAfterMs"] = msOrNever(f.hitRegained)
	f.Evidence["targetsMissed"] = f.missed()
}
