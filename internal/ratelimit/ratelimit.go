// Package ratelimit lets each key spend so much a second, decided in this process and settled with the others through
// Redis in the background.
//
// A bucket is GCRA's one number: the time at which all that was spent will have been paid off. An instance decides by
// its own number without a round trip. What a key has spent since it was last settled goes to the shared number in Redis
// once it is worth a command, and the answer says how far the others have brought that.
package ratelimit

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options of a Limiter. Name, Rate and Burst have no default.
type Options struct {
	// Name of what the keys are, such as "viewer"; part of the keys in Redis.
	Name string
	// Rate is what a key may spend a second in the long run.
	Rate float64
	// Burst is what it may spend at once after a rest.
	Burst float64
	// Redis has what other instances let through; nil: this instance counts alone. Its client must have
	// ContextTimeoutEnabled.
	Redis redis.UniversalClient
	// Service begins every key in Redis. Default "freshet".
	Service string
	// Available tells whether Redis is in use; while it is not, nothing is sent there. Default: always.
	Available func() bool
	// Keys are remembered at most: of more than that, those with the least debt are forgotten. Default 100,000.
	Keys int
	// Every is how often what was spent is settled. Default 200 ms.
	Every time.Duration
	// Log is told when settling fails, once until it works again. Default: slog.Default().
	Log *slog.Logger
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Service == "" {
		o.Service = "freshet"
	}
	if o.Available == nil {
		o.Available = func() bool { return true }
	}
	if o.Keys == 0 {
		o.Keys = 100_000
	}
	if o.Every == 0 {
		o.Every = 200 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Limiter counts what keys spend. It is safe for concurrent use. A nil Limiter lets everything through.
type Limiter struct {
	Options
	unit    float64       // ns that pay off a cost of 1
	burst   time.Duration // the debt that may not be exceeded
	worth   float64       // what has to be spent before it is settled
	began   time.Time
	shards  [shards]shard
	failing atomic.Bool

	refused   atomic.Int64
	unsettled atomic.Int64
}

// Stats are a Limiter's counts since it was made.
type Stats struct {
	// Refused is how often Take spent nothing.
	Refused int64
	// Unsettled is how many settlements of a key Redis did not take; each was tried again later.
	Unsettled int64
	// Keys are remembered at the moment.
	Keys int
}

// Stats reads them. Those of a nil Limiter are zero.
func (l *Limiter) Stats() (s Stats) {
	if l == nil {
		return s
	}
	s.Refused, s.Unsettled = l.refused.Load(), l.unsettled.Load()
	for i := range l.shards {
		l.shards[i].mu.Lock()
		s.Keys += len(l.shards[i].buckets)
		l.shards[i].mu.Unlock()
	}
	return s
}

const shards = 64 // a power of two

type shard struct {
	mu      sync.Mutex
	buckets map[uint64]*bucket
	due     []uint64 // keys that have spent what is worth settling
	_       [64]byte // neighbours do not share a line of the processor's cache
}

// bucket is one key's. Times are since the Limiter began.
type bucket struct {
	paid  time.Duration // when all that was spent is paid off
	spent float64       // since it was last settled
	due   bool          // it stands in the shard's list
}

// New makes a Limiter. It panics if Rate or Burst is not positive, which is a mistake in the program.
func New(o Options) *Limiter {
	o = o.withDefaults()
	if o.Rate <= 0 || o.Burst <= 0 {
		panic("ratelimit: rate and burst must be positive")
	}
	l := &Limiter{
		Options: o, unit: float64(time.Second) / o.Rate, worth: o.Burst / 16, began: o.Now(),
		burst: time.Duration(min(o.Burst/o.Rate*float64(time.Second), math.MaxInt64/8)),
	}
	for i := range l.shards {
		l.shards[i].buckets = make(map[uint64]*bucket)
	}
	return l
}

// Take spends cost for key, and returns 0; or spends nothing, and returns after how long the same may be spent. What
// costs more than a whole burst is let through when nothing is owed, and paid off like all else.
func (l *Limiter) Take(key uint64, cost float64) (wait time.Duration) {
	if l == nil {
		return 0
	}
	s := &l.shards[spread(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.Now().Sub(l.began)
	b := s.buckets[key]
	if b == nil {
		b = l.add(s, key, now)
	}
	if b.paid <= now {
		b.paid = now
	}
	price := time.Duration(min(cost*l.unit, float64(math.MaxInt64/8)))
	if over := b.paid + min(price, l.burst) - now - l.burst; over > 0 {
		l.refused.Add(1)
		return over
	}
	b.paid += price
	b.spent += cost
	if b.spent >= l.worth && !b.due {
		b.due = true
		s.due = append(s.due, key)
	}
	return 0
}

// add makes room if there is none: of a few at random, the key that owes least is forgotten.
func (l *Limiter) add(s *shard, key uint64, now time.Duration) *bucket {
	if len(s.buckets) >= max(1, l.Keys/shards) {
		const looked = 8
		n := 0
		var least uint64
		var paid time.Duration = math.MaxInt64
		for k, b := range s.buckets {
			if b.paid < paid {
				least, paid = k, b.paid
			}
			if n++; n == looked || paid <= now {
				break
			}
		}
		delete(s.buckets, least)
	}
	b := &bucket{paid: now}
	s.buckets[key] = b
	return b
}

// spread keys over the shards: their low bits alone may be all alike.
func spread(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 >> (64 - 6) }

// Run settles what is spent until ctx ends, and forgets who owes nothing.
func (l *Limiter) Run(ctx context.Context) {
	if l == nil {
		return
	}
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	for next := 0; ; next = (next + 1) % shards {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.settle(ctx)
		l.sweep(&l.shards[next])
	}
}

// sweep forgets the keys of one shard that owe nothing.
func (l *Limiter) sweep(s *shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.Now().Sub(l.began)
	for key, b := range s.buckets {
		// Who spends at the rate here and elsewhere owes nothing here: what is not settled has to be paid off too.
		if b.paid+time.Duration(b.spent*l.unit) <= now && !b.due {
			delete(s.buckets, key)
		}
	}
}
