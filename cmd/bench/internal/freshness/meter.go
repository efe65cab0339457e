package freshness

import (
	"context"
	"sync"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// tally is what the caches of all instances have counted.
type tally struct{ hits, misses, loads float64 }

func (t tally) plus(o tally) tally {
	return tally{t.hits + o.hits, t.misses + o.misses, t.loads + o.loads}
}

func (t tally) minus(o tally) tally {
	return tally{t.hits - o.hits, t.misses - o.misses, t.loads - o.loads}
}

func (t tally) hitRate() float64 { return share(t.hits, t.hits+t.misses) }
func (t tally) dbShare() float64 { return share(t.loads, t.hits+t.misses) }

func share(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

// session lookups come with each request and nearly always hit: counted as reads they would flatter.
const uncounted = "session"

func tallyOf(c rig.Counters) tally {
	sum := func(name string) float64 { return c.Sum(name) - c.Sum(name, "kind", uncounted) }
	return tally{sum("freshet_cache_hits_total"), sum("freshet_cache_misses_total"), sum("freshet_cache_loads_total")}
}

// meter reads the instances' metrics again and again, and goes on counting where a process was replaced.
type meter struct {
	bed   *bed
	clock func() time.Duration

	mu      sync.Mutex
	last    map[*rig.Server]tally
	total   tally
	samples []sample
}

type sample struct {
	at    time.Duration
	total tally
}

func newMeter(b *bed, clock func() time.Duration) *meter {
	return &meter{bed: b, clock: clock, last: map[*rig.Server]tally{}}
}

// look reads all instances that answer.
func (m *meter) look(ctx context.Context) {
	var work sync.WaitGroup
	for _, i := range m.bed.instances {
		if s := i.server.Load(); s != nil {
			work.Go(func() { m.read(ctx, s) })
		}
	}
	work.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples = append(m.samples, sample{m.clock(), m.total})
}

func (m *meter) read(ctx context.Context, s *rig.Server) {
	const limit = 400 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	counters, err := s.Counters(ctx)
	if err != nil {
		return // it is away; what it has counted is read later, or is lost with it
	}
	now := tallyOf(counters)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total = m.total.plus(now.minus(m.last[s]))
	m.last[s] = now
}

// between is what was counted from one time to another, to the nearest samples inside.
func (m *meter) between(from, to time.Duration) tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first, last *tally
	for i := range m.samples {
		if s := &m.samples[i]; s.at >= from && s.at <= to {
			if first == nil {
				first = &s.total
			}
			last = &s.total
		}
	}
	if first == nil {
		return tally{}
	}
	return last.minus(*first)
}

// regained is when, after a time, the hit rate over a second was at least so high; false if it never was.
func (m *meter) regained(after time.Duration, rate float64) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, s := range m.samples {
		if s.at < after {
			continue
		}
		for _, later := range m.samples[i+1:] {
			if later.at-s.at < time.Second {
				continue
			}
			if later.total.minus(s.total).hitRate() >= rate {
				return max(0, s.at-after), true
			}
			break
		}
	}
	return 0, false
}
