package freshness

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/cmd/bench/internal/freshness/history"
	"freshet/cmd/bench/internal/rig"
)

// Periods of the load's goroutines. They leave a good part of two cores free: a busy machine would be measured otherwise.
const (
	probePeriod   = 30 * time.Millisecond // for each instance, what foreign SQL writes
	publicPeriod  = 90 * time.Millisecond // for each of three readers of an instance
	privatePeriod = 80 * time.Millisecond // for each instance
	writePeriod   = 300 * time.Millisecond
	foreignPeriod = 60 * time.Millisecond
	chasePeriod   = 5 * time.Millisecond // for each instance, after a foreign write, until it shows there
	chaseLength   = 500 * time.Millisecond
)

// load reads and writes until its context ends, and counts.
type load struct {
	*world
	bed    *bed
	client *client
	clock  func() time.Duration
	// slow is how long a pair's transaction pauses between its rows. While it does, no other foreign SQL is written.
	slow atomic.Int64

	work      sync.WaitGroup
	reads     atomic.Int64
	writes    atomic.Int64
	errors    atomic.Int64
	pages     atomic.Int64 // with both posts of the pair
	unread    atomic.Int64 // mutations whose own answer showed something older
	uncounted atomic.Int64 // those whose answer had a count from before

	mu     sync.Mutex
	events []event
	err    error // an example
	fatal  error
}

// event is a request that has ended.
type event struct {
	end, took time.Duration
	wait      time.Duration // of a mutation: what was promised to be short
	failed    bool
	write     bool
	held      bool // the instance that was asked was itself stopped meanwhile
}

func (l *load) note(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *load) failed(err error) {
	l.errors.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

func (l *load) stopped(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = errors.Join(l.fatal, err)
}

// run starts the load. It has ended when work has: requests under way are finished.
func (l *load) run(ctx context.Context) {
	actors := make([]*actor, foreigners)
	for n := range actors {
		actors[n] = l.foreign[n].Load()
	}
	foreign := foreignReading(actors, l.ring)
	for _, i := range l.bed.instances {
		n := 0
		l.every(ctx, probePeriod, func() {
			if n++; n%4 == 0 {
				l.read(ctx, i, pairReading(l.pair))
				return
			}
			if n%8 == 1 {
				l.read(ctx, i, feedReading(l.foreign[rand.IntN(foreigners)].Load()))
				return
			}
			l.read(ctx, i, foreign)
		})
		for range 3 {
			l.every(ctx, publicPeriod, func() {
				l.read(ctx, i, publicReading(l.hot[rand.IntN(writers)].Load(), l.platforms[rand.IntN(len(l.platforms))]))
			})
		}
		l.every(ctx, privatePeriod, func() {
			a := l.hot[rand.IntN(writers)].Load()
			l.read(ctx, i, feedReading(a))
			l.read(ctx, i, settingsReading(a))
		})
	}
	for n := range l.hot {
		l.every(ctx, writePeriod, func() { l.mutate(ctx, n) })
	}
	l.every(ctx, foreignPeriod, func() { l.sql(ctx) })
}

func (l *load) every(ctx context.Context, period time.Duration, do func()) {
	l.work.Go(func() {
		if sleep(ctx, rand.N(period)) {
			every(ctx, period, do)
		}
	})
}

// read asks an instance, unless it has none that a load balancer knows.
func (l *load) read(ctx context.Context, i *instance, r *reading) {
	s := i.server.Load()
	if s == nil {
		return
	}
	begin := l.clock()
	got, err := l.client.do(context.WithoutCancel(ctx), s.URL, &r.request)
	end := l.clock()
	if err == nil {
		err = r.values(got, func(key *history.Key, version int) {
			l.reads.Add(1)
			if key == l.pair.key {
				l.pages.Add(1)
			}
			key.Read(history.Read{Version: version, Begin: begin, End: end, Instance: i.number, Marked: got.stale})
		})
	}
	l.note(event{end: end, took: end - begin, failed: err != nil})
	if err != nil {
		l.failed(err)
		sleep(ctx, 20*time.Millisecond)
	}
}

// mutate makes the next write of writer n, on any instance.
func (l *load) mutate(ctx context.Context, n int) {
	a := l.hot[n].Load()
	if n < len(l.platforms) && rand.IntN(8) == 0 {
		p := l.platforms[n]
		c, err := configChange(context.WithoutCancel(ctx), l.world, a, p)
		if err != nil {
			l.failed(err)
			return
		}
		l.change(ctx, c, func(lost history.Write) { p.lost = append(p.lost, lost) }, p.settle)
		return
	}
	of := l.platforms[rand.IntN(len(l.platforms))]
	var c *change
	switch d := rand.IntN(10); {
	case d < 4:
		c = nameChange(a, of)
	case d < 6:
		c = titleChange(a, of)
	case d < 8:
		c = settingsChange(a)
	default:
		c = postsChange(a, of, func(ok bool) {
			if !ok {
				l.uncounted.Add(1)
			}
		})
	}
	l.change(ctx, c, func(lost history.Write) {
		c.key.Wrote(lost)
		fresh, err := l.next(false)
		if err != nil {
			l.stopped(err)
			return
		}
		l.hot[n].Store(fresh)
	}, func(time.Duration) {})
}

// settle decides the writes that were not answered: they have taken effect before this one, or never will.
func (p *platform) settle(at time.Duration) {
	for _, w := range p.lost {
		w.Answered = at
		p.key.Wrote(w)
	}
	p.lost = nil
}

// change sends a mutation, and if it is answered has all instances asked at once for what it changed.
func (l *load) change(ctx context.Context, c *change, lost func(history.Write), settled func(time.Duration)) {
	i := l.bed.least()
	if i == nil {
		return
	}
	s := i.server.Load()
	if s == nil {
		return
	}
	i.writing.Add(1)
	defer i.writing.Add(-1)
	l.writes.Add(1)
	c.key.Invoke(c.version)
	stops := i.stops.Load()
	begin := l.clock()
	got, err := l.client.do(context.WithoutCancel(ctx), s.URL, &c.request)
	end := l.clock()
	e := event{end: end, took: end - begin, failed: err != nil, write: true, held: stops%2 == 1 || i.stops.Load() != stops}
	if err != nil {
		l.note(e)
		l.failed(err)
		if !errors.Is(err, errNotSent) {
			lost(history.Write{Version: c.version, Invoked: begin, Answered: history.Never})
		}
		sleep(ctx, 200*time.Millisecond)
		return
	}
	shown := c.shown(got)
	if shown == missing {
		e.wait = e.took
		l.note(e)
		l.failed(errors.New("a mutation was refused"))
		return
	}
	if shown < c.version {
		l.unread.Add(1)
	}
	settled(end)
	c.key.Wrote(history.Write{Version: c.version, Invoked: begin, Answered: end})
	if c.done != nil {
		c.done(end)
	}
	for _, i := range l.bed.instances {
		for _, r := range c.look {
			l.work.Go(func() { l.read(ctx, i, r) })
		}
	}
	e.wait = l.waited(ctx, i, c, begin, end)
	l.note(e)
}

// sql makes the next foreign write: of an actor, of the ring or of the pair.
func (l *load) sql(ctx context.Context) {
	if rand.IntN(8) == 0 {
		l.commit(ctx, l.ring.next())
		return
	}
	if pause := l.slow.Load(); pause > 0 || rand.IntN(8) == 0 {
		l.commit(ctx, l.pair.next(time.Duration(pause)))
		return
	}
	l.commit(ctx, l.foreign[rand.IntN(foreigners)].Load().nextForeign())
}

// commit makes a foreign change. One whose COMMIT fails has taken effect or not by the time of the next: PostgreSQL itself
// was away.
func (l *load) commit(ctx context.Context, c foreignChange) {
	l.writes.Add(1)
	c.key.Invoke(c.version)
	begin := l.clock()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), rig.Hang)
	defer cancel()
	err := pgx.BeginFunc(bounded, l.db, func(tx pgx.Tx) error { return c.do(bounded, tx) })
	end := l.clock()
	if err != nil {
		l.failed(err)
		c.key.Wrote(history.Write{Version: c.version, Invoked: begin, Answered: history.Never})
		sleep(ctx, 100*time.Millisecond)
		return
	}
	c.key.Wrote(history.Write{Version: c.version, Invoked: begin, Answered: end})
	for _, i := range l.bed.instances {
		l.work.Go(func() { l.chase(ctx, i, &c) })
	}
}

// chase asks an instance for a change until it shows it. Whoever asks rarely sees late what was there early.
func (l *load) chase(ctx context.Context, i *instance, c *foreignChange) {
	shown := false
	look := &reading{c.look.request, func(d *data, see seen) error {
		return c.look.values(d, func(key *history.Key, version int) {
			shown = shown || key == c.key && version >= c.version
			see(key, version)
		})
	}}
	for end := l.clock() + chaseLength; !shown && l.clock() < end; {
		l.read(ctx, i, look)
		if !sleep(ctx, chasePeriod) {
			return
		}
	}
}
