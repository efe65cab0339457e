// Package cache keeps values with the log position they were read as of, and knows which are still fresh.
//
// A Kind is one sort of value: it has a TTL, a way to name its keys and a way to load them. Reading one goes through
// this process's memory, then Redis, then, for the keys that Redis lacks, through a lock that lets one process load while
// the others wait, and at last to the source. A fault of the cache is never an error of a read: the value then comes from the source.
package cache

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options says where a Cache keeps its entries and how long it waits for them. Only Redis has no default.
type Options struct {
	// Redis holds the entries. Its client must have ContextTimeoutEnabled, or the budgets below are not kept.
	Redis redis.UniversalClient
	// Service begins every key. Default "freshet".
	Service string
	// Freshness is what this process knows of the change log. Kinds with tags are cached only while it is granted.
	// Default: a log that never grants.
	Freshness *Log
	// Observer is told of each batch. Default: nobody.
	Observer Observer
	// ReadBudget bounds a round trip that a reader waits for. Default 50 ms.
	ReadBudget time.Duration
	// WriteBudget bounds a round trip that stores or removes. Default 250 ms.
	WriteBudget time.Duration
	// Lease is how long a lock outlives a holder that died; a living holder renews it. Default 500 ms.
	Lease time.Duration
	// LocalBytes bounds the tier in this process's memory, roughly. Default 64 MiB; negative: none.
	LocalBytes int64
	// Log is told when the cache goes out of use and when it is back. Default: slog.Default().
	Log *slog.Logger
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Service == "" {
		o.Service = "freshet"
	}
	if o.Freshness == nil {
		o.Freshness = NewLog(nil)
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.ReadBudget == 0 {
		o.ReadBudget = 50 * time.Millisecond
	}
	if o.WriteBudget == 0 {
		o.WriteBudget = 250 * time.Millisecond
	}
	if o.Lease == 0 {
		o.Lease = 500 * time.Millisecond
	}
	if o.LocalBytes == 0 {
		o.LocalBytes = 64 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Cache is one process's way to the shared entries. It is safe for concurrent use; Close ends what it runs in the
// background.
type Cache struct {
	Options
	local   *local // nil: none
	breaker breaker
	looks   conveyor // that a reader waits for
	stores  conveyor // that store or remove
	// Tests steer these: exponential draws from the exponential distribution of mean 1, moment is how long linger waits, and
	// minPeerWait is how long a reader waits at least for a load of another process.
	exponential func() float64
	moment      time.Duration
	minPeerWait time.Duration
	ctx         context.Context // ends with Close; for work that outlives the request that began it
	cancel      context.CancelFunc
	work        sync.WaitGroup
	results     []*Results
}

// New makes a Cache. It does not connect: a Redis that is away is found out by the first read, and costs it one budget.
func New(o Options) *Cache {
	c := &Cache{Options: o.withDefaults(), exponential: rand.ExpFloat64, moment: 2 * time.Millisecond, minPeerWait: 2 * time.Second}
	c.local = newLocal(c.LocalBytes)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.looks = conveyor{budget: c.ReadBudget, send: c.trip}
	c.stores = conveyor{budget: c.WriteBudget, send: c.trip}
	return c
}

// Close stops background work and waits for it, for two WriteBudgets at most: loads that have begun are given up, and results
// that were said to be kept are stored.
func (c *Cache) Close() {
	c.cancel()
	c.work.Wait()
	if c.local != nil {
		c.local.StopAllGoroutines()
	}
	for _, r := range c.results {
		if r.local != nil {
			r.local.StopAllGoroutines()
		}
	}
}

// Available tells whether Redis is in use, or given up for the moment after repeated faults.
func (c *Cache) Available() bool { return !c.breaker.open.Load() }

// pipe sends the commands that queue adds in one round trip and reports whether Redis answered any of them. Each carries
// its own result; an error that Redis itself replied is one of those, and not a fault of Redis. Of a cluster, some nodes may
// have answered and others not: see answered.
func (c *Cache) pipe(ctx context.Context, by *conveyor, add queue) bool {
	if !c.Available() {
		return false
	}
	return ctx.Err() == nil && by.carry(add)
}

// trip makes one round trip for all of those who wait for it.
func (c *Cache) trip(queues []queue, budget time.Duration) bool {
	if !c.Available() {
		return false
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), budget) // also what Close waits for has its budget
	defer cancel()
	began := time.Now()
	pipe := c.Redis.Pipeline()
	for _, add := range queues {
		add(pipe)
	}
	cmds, err := pipe.Exec(bounded)
	if err == nil || isReply(err) || c.someAnswered(cmds) {
		c.breaker.succeeded()
		return true
	}
	if c.ctx.Err() == nil && c.breaker.failed(began) && !c.partly() && c.breaker.trip() {
		c.Log.Warn("cache: Redis is out of use", "error", err)
		c.work.Go(c.probe)
	}
	return false
}

// someAnswered is about a cluster: where no connection could be had, the commands to a single server carry no error.
func (c *Cache) someAnswered(cmds []redis.Cmder) bool {
	_, cluster := c.Redis.(*redis.ClusterClient)
	return cluster && slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return answered(cmd.Err()) })
}

// partly tells whether a cluster is in use although some node of it does not answer: the keys of the others are worth asking
// for.
func (c *Cache) partly() bool {
	if _, ok := c.Redis.(*redis.ClusterClient); !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.WriteBudget)
	defer cancel()
	if !c.alive(ctx) {
		return false
	}
	c.breaker.succeeded()
	return true
}

// alive tells whether Redis answers; of a cluster, any primary. It does not wait for the others.
func (c *Cache) alive(ctx context.Context) bool {
	nodes, ok := c.Redis.(*redis.ClusterClient)
	if !ok {
		return c.Redis.Ping(ctx).Err() == nil
	}
	answers := make(chan bool, 1)
	tell := func(alive bool) {
		select {
		case answers <- alive:
		default: // another was quicker
		}
	}
	c.work.Go(func() {
		_ = nodes.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			if node.Ping(ctx).Err() == nil {
				tell(true)
			}
			return nil
		})
		tell(false)
	})
	return <-answers
}

// probe asks Redis for a sign of life until it gives two in a row, and then lets traffic back.
func (c *Cache) probe() {
	const pause = 200 * time.Millisecond
	timer := time.NewTicker(pause)
	defer timer.Stop()
	for good := 0; good < 2; {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		}
		// Patient: a process that is short of processor time must not keep itself away from what would spare it.
		ctx, cancel := context.WithTimeout(c.ctx, c.WriteBudget)
		if c.alive(ctx) {
			good++
		} else {
			good = 0
		}
		cancel()
	}
	c.breaker.close()
	c.Log.Info("cache: Redis is back in use")
}
