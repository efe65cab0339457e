// Package verifier re-reads a sample of recent changes from the cache and compares it with PostgreSQL.
//
// It proves nothing: that is the protocol's part. It is there to notice what the protocol did not foresee, such as
// triggers that someone switched off.
package verifier

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Options says what to verify, and when. Verify has no default.
type Options struct {
	// Verify compares the entry that a tag names with the source.
	Verify func(ctx context.Context, tag string) (checked, consistent bool, err error)
	// After are the ages at which a change is looked at. Default: 1 s and 1 min.
	After []time.Duration
	// EverySecond is how many changes of a second are looked at, at most. Default 5.
	EverySecond int
	// Log is told of each inconsistency. Default: slog.Default().
	Log *slog.Logger
}

// Stats counts verdicts since the start.
type Stats struct{ Verified, Inconsistent uint64 }

// Verifier looks at a sample of the changes that it is told of while Run runs.
type Verifier struct {
	Options
	verified, inconsistent atomic.Uint64

	mu     sync.Mutex
	sample []string // of the changes since the last second began
	seen   int      // changes since then
}

// New makes a Verifier.
func New(o Options) *Verifier {
	if o.After == nil {
		o.After = []time.Duration{time.Second, time.Minute}
	}
	if o.EverySecond == 0 {
		o.EverySecond = 5
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Verifier{Options: o}
}

// Changed tells of changes by their tags. It does not block. Of many in one second each is as likely to be looked at
// (reservoir sampling: Vitter's Algorithm R).
func (v *Verifier) Changed(tags []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, tag := range tags {
		v.seen++
		if len(v.sample) < v.EverySecond {
			v.sample = append(v.sample, tag)
		} else if i := rand.IntN(v.seen); i < len(v.sample) {
			v.sample[i] = tag
		}
	}
}

// Stats is a snapshot.
func (v *Verifier) Stats() Stats {
	return Stats{Verified: v.verified.Load(), Inconsistent: v.inconsistent.Load()}
}

// look is a change that is due to be looked at.
type look struct {
	tag string
	at  time.Time
}

// Run looks at changes until ctx ends. What is due at one age is a queue in order of time, so it is bounded by
// EverySecond times that age.
func (v *Verifier) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	queues := make([][]look, len(v.After))
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, tag := range v.take() {
				for i, age := range v.After {
					queues[i] = append(queues[i], look{tag, now.Add(age)})
				}
			}
			for i := range queues {
				queues[i] = v.work(ctx, queues[i], now)
			}
		}
	}
}

func (v *Verifier) take() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	tags := v.sample
	v.sample, v.seen = nil, 0
	return tags
}

// work looks at what is due, side by side: an entry that differs is watched for a moment.
func (v *Verifier) work(ctx context.Context, queue []look, now time.Time) []look {
	var group sync.WaitGroup
	defer group.Wait()
	for len(queue) > 0 && !queue[0].at.After(now) {
		tag := queue[0].tag
		queue = queue[1:]
		group.Go(func() { v.verify(ctx, tag) })
	}
	return queue
}

func (v *Verifier) verify(ctx context.Context, tag string) {
	checked, consistent, err := v.Verify(ctx, tag)
	switch {
	case err != nil && ctx.Err() == nil:
		v.Log.Warn("verifier: a change was not looked at", "tag", tag, "error", err)
	case checked && !consistent:
		v.inconsistent.Add(1)
		v.Log.Error("verifier: the cache differs from PostgreSQL", "tag", tag)
		fallthrough
	case checked:
		v.verified.Add(1)
	}
}
