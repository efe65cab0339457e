package changelog

import (
	"context"
	"sync"
	"time"

	"freshet/cache"
)

// tail follows the log for one instance: one goroutine receives and applies, one sends asks.
type tail struct {
	o  *Options
	id string

	wake    chan struct{} // has an element if an ask is due before the next renewal
	checked time.Duration // when PostgreSQL was last asked because of another epoch; the receiver's own

	mu        sync.Mutex
	stopped   bool
	asked     uint64                   // N of the latest ask
	nudge     bool                     // the next ask is to be a nudge
	renewals  map[uint64]time.Duration // when the renewals that are not yet answered were made
	answered  uint64                   // the highest N answered
	drained   cache.Position           // the head of the log in that answer
	settled   cache.Position
	news      chan struct{} // closed when answered or settled change
	head      uint64        // the latest known
	heard     time.Duration // when the latest bulletin came
	sequencer string        // who sent it
}

func newTail(o *Options, id string) *tail {
	return &tail{
		o: o, id: id,
		wake:     make(chan struct{}, 1),
		renewals: map[uint64]time.Duration{},
		news:     make(chan struct{}),
	}
}

// receive reads the window that PostgreSQL keeps, so that a new instance can prove what others have cached, and then
// applies bulletins as they come.
func (t *tail) receive(ctx context.Context) {
	for ctx.Err() == nil {
		err := t.catchUp(ctx)
		if err == nil {
			break
		}
		t.o.Logger.Warn("changelog: cannot read the log, caches are left alone", "error", err)
		sleep(ctx, t.o.Election)
	}
	listen(ctx, t.o, t.o.bulletins(), func(b bulletin) {
		t.o.at("bulletin")
		if t.follow(ctx, &b) {
			t.take(&b)
		}
	})
}

// follow applies a bulletin's tags, after those that this instance has missed, from PostgreSQL. It is false for another
// epoch than PostgreSQL's: some sequencer does not know yet that its time is over.
func (t *tail) follow(ctx context.Context, b *bulletin) bool {
	after := cache.Position{Epoch: b.Epoch, At: b.After}
	before := t.o.Log.Position()
	ok := t.apply(after, b.Tags)
	if !ok && (before.Epoch == b.Epoch || t.o.Log.Now()-t.checked > t.o.Renew) {
		t.checked = t.o.Log.Now()
		if err := t.catchUp(ctx); err != nil {
			if ctx.Err() == nil {
				t.o.Logger.Warn("changelog: cannot follow the log", "error", err)
			}
			return false
		}
		ok = t.apply(after, b.Tags)
	}
	t.o.at("applied")
	if t.o.Log.Position() != before {
		t.send1()
	}
	return ok
}

// apply applies tags, and tells of those that were not applied before.
func (t *tail) apply(after cache.Position, tags []string) bool {
	before := t.o.Log.Position()
	ok := t.o.Log.Apply(after, tags)
	if at := t.o.Log.Position(); at.At > before.At {
		t.o.Applied(tags[before.At-after.At:])
	}
	return ok
}

// take notes what a bulletin says of grants and writers, once its tags are applied.
func (t *tail) take(b *bulletin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head, t.heard, t.sequencer = b.head().At, t.o.Log.Now(), b.Sequencer
	if a, ok := b.Answers[t.id]; ok {
		if made, ok := t.renewals[a.Grant]; ok && !t.stopped {
			t.o.Log.Grant(b.head(), made+t.o.Grant)
		}
		for n := range t.renewals {
			if n <= a.Grant {
				delete(t.renewals, n)
			}
		}
		if a.N > t.answered {
			t.answered, t.drained = a.N, b.head()
		}
	}
	if b.Epoch != t.settled.Epoch || b.Settled > t.settled.At {
		t.settled = cache.Position{Epoch: b.Epoch, At: b.Settled}
	}
	close(t.news)
	t.news = make(chan struct{})
}

// send asks for a new grant in time, and acknowledges and nudges when woken, until ctx ends.
func (t *tail) send(ctx context.Context) {
	renew := time.NewTicker(t.o.Renew)
	defer renew.Stop()
	for due := true; ctx.Err() == nil; {
		a := t.next(due)
		t.o.at("ask")
		// A lost ask is made good by the next; its failure shows as a grant that lapses.
		// It is finished also when ctx ends, lest it overtake the last one.
		_ = t.o.publish(context.WithoutCancel(ctx), t.o.asks(), a)
		select {
		case <-ctx.Done():
		case <-t.wake:
			due = false
		case <-renew.C:
			due = true
		}
	}
	t.leave(context.WithoutCancel(ctx))
}

// next composes an ask. The time of a renewal is noted here, before anyone can have seen it.
func (t *tail) next(renew bool) ask {
	now, at := t.o.Log.Now(), t.o.Log.Position()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	a := ask{From: t.id, N: t.asked, Epoch: at.Epoch, Applied: at.At, Nudge: t.nudge, Renew: renew}
	t.nudge = false
	if a.Renew {
		for n, made := range t.renewals {
			if now-made > t.o.Grant {
				delete(t.renewals, n)
			}
		}
		t.renewals[a.N] = now
	}
	return a
}

// leave gives the grant back: first it ends here, then the sequencer may forget it.
func (t *tail) leave(ctx context.Context) {
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.o.Log.Revoke()
	a := t.next(false)
	a.Bye = true
	_ = t.o.publish(ctx, t.o.asks(), a) // lost, the grant ends by itself
}

// send1 makes an ask go out soon.
func (t *tail) send1() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// catchUp applies what PostgreSQL has of the log after this instance's position. If the epoch is another, or the window
// has moved on, it begins anew at the window's start. It does not go back within an epoch: the sequencer will see an
// instance ahead of the log, and change the epoch.
func (t *tail) catchUp(ctx context.Context) error {
	from, anew := t.o.Log.Position(), false
	err := readLog(ctx, t.o.DB, from, func(p part) {
		at := t.o.Log.Position()
		if p.after.Epoch != at.Epoch || p.after.At > at.At {
			t.o.Log.Reset(p.after)
			anew = true
		}
		if anew {
			t.o.Log.Apply(p.after, p.tags)
		} else {
			t.apply(p.after, p.tags)
		}
	})
	if anew && from != (cache.Position{}) {
		t.o.Applied([]string{"*"})
	}
	return err
}

func (t *tail) stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.o.Log.Position()
	s := Stats{Position: at, Sequencer: t.sequencer, Silence: t.o.Log.Now() - t.heard}
	_, s.Granted = t.o.Log.AsOf()
	if t.head > at.At {
		s.Lag = t.head - at.At
	}
	return s
}
