package freshness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cmd/bench/internal/rig"
	"freshet/internal/redisconn"
)

// fault is something that goes wrong for about Options.During. Inject returns when it is mended, with what proves that it
// took place.
type fault struct {
	name   string
	harms  part
	inject func(context.Context, *run, *load) (map[string]any, error)
}

// part of the whole that a fault harms. A fault of Redis' servers is of the form that they make up. One of what Redis holds,
// or of an instance, whose messages go through it, is of every form. What happens elsewhere, in PostgreSQL, to clocks or on the
// way between hosts, has nothing to do with the form, and is injected over a single server alone.
type part int

const (
	contents part = iota // of Redis
	server               // the only one
	servers              // of a group of any form
	slots                // of a cluster
	sentinels
	instanceItself
	elsewhere
)

// under tells whether a fault of the part is injected where Redis has a form.
func (p part) under(form rig.Form) bool {
	switch p {
	case contents, instanceItself:
		return true
	case servers:
		return form != rig.Single
	case slots:
		return form == rig.Cluster
	case sentinels:
		return form == rig.Sentinel
	default:
		return form == rig.Single
	}
}

// ofRedis tells whether nothing but Redis is harmed: then no request may fail.
func (p part) ofRedis() bool { return p <= sentinels }

// faults in the order they are injected.
func faults() []fault {
	return []fault{
		{"none", contents, none},
		{"random eviction", contents, eviction},
		{"FLUSHALL", contents, flushAll},
		{"Redis stopped", server, redisStopped},
		{"Redis killed", server, redisKilled},
		{"failover that lost writes", server, failover},
		{"followers on the old primary", server, followersBehind},
		{"sequencer on the old primary", server, sequencerBehind},
		{"old snapshot of Redis", server, oldSnapshot},
		{"primary killed", servers, primaryKilled},
		{"primary paused and replaced", servers, primaryPaused},
		{"slots that move", slots, slotsMove},
		{"planned failover", sentinels, plannedFailover},
		{"instance paused", instanceItself, instancePaused},
		{"server killed after COMMIT", instanceItself, killedAfterCommit},
		{"sequencer killed", instanceItself, sequencerKilled},
		{"sequencer a zombie", instanceItself, sequencerZombie},
		{"foreign SQL writer", elsewhere, foreignWriter},
		{"transaction left open", elsewhere, openTransaction},
		{"slow loads", elsewhere, slowLoads},
		{"backlogged tail", elsewhere, backlog},
		{"network delay and cuts", elsewhere, network},
		{"clocks that differ", elsewhere, clocks},
		{"PostgreSQL restarted", elsewhere, postgresRestarted},
		{"multi-row transaction", elsewhere, multiRow},
	}
}

// chosen are the faults for a form, or those of them that were named.
func chosen(form rig.Form, only []string) (all []fault, err error) {
	for _, f := range faults() {
		if f.harms.under(form) && (len(only) == 0 || slices.Contains(only, f.name)) {
			all = append(all, f)
		}
	}
	for _, name := range only {
		if !slices.ContainsFunc(all, func(f fault) bool { return f.name == name }) {
			return nil, fmt.Errorf("no fault of %s Redis is called %q", form, name)
		}
	}
	return all, nil
}

var errNoFault = errors.New("the fault did not take place")

// proven returns the evidence if all of the named parts of it are there.
func proven(evidence map[string]any, needed ...string) (map[string]any, error) {
	for _, name := range needed {
		switch value := evidence[name].(type) {
		case int, int64, float64:
			if fmt.Sprint(value) != "0" {
				continue
			}
		case bool:
			if value {
				continue
			}
		}
		return evidence, fmt.Errorf("%w: %s is %v in %s", errNoFault, name, evidence[name], proof(evidence))
	}
	return evidence, nil
}

// during calls do again and again, with a pause between, for the time of a fault.
func (r *run) during(ctx context.Context, pause time.Duration, do func() error) error {
	for end := r.clock() + r.During; r.clock() < end; {
		if err := do(); err != nil {
			return err
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
	return nil
}

// changes waits for d, and until the change log has gone on from a position. It returns how far.
func (r *run) changes(ctx context.Context, d time.Duration, from int64) (positions int64, err error) {
	err = lasting(ctx, d, "something is changed", func() (bool, error) {
		_, _, now, err := r.bed.head(ctx)
		positions = now - from
		return err == nil && positions > 0, err
	})
	return positions, err
}

// filled waits until Redis holds something, and returns how many keys.
func (r *run) filled(ctx context.Context) (keys int64, err error) {
	err = until(ctx, "Redis holds something", func() (bool, error) {
		keys = 0
		err := redisconn.Masters(ctx, r.Rig.Redis, func(ctx context.Context, c *redis.Client) error {
			keys += c.DBSize(ctx).Val()
			return nil
		})
		return keys > 0, err
	})
	return keys, err
}

// none shows that there was something to be made stale.
func none(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	_, _, before, err := r.bed.head(ctx)
	if err != nil {
		return nil, err
	}
	positions, err := r.changes(ctx, r.During, before)
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"positions": positions}, "positions")
}

// eviction removes keys at random, whatever they are: entries and locks alike.
func eviction(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	evicted := int64(0)
	err := r.during(ctx, 25*time.Millisecond, func() error {
		return redisconn.Masters(ctx, r.Rig.Redis, func(ctx context.Context, c *redis.Client) error {
			n, err := evict(ctx, c)
			evicted += n
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"keysEvicted": evicted}, "keysEvicted")
}

func evict(ctx context.Context, c *redis.Client) (evicted int64, err error) {
	const at = 10
	picked, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for range at {
			p.RandomKey(ctx)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("evict: %w", err)
	}
	for _, reply := range picked {
		if key, ok := reply.(*redis.StringCmd); ok && key.Err() == nil {
			evicted += c.Unlink(ctx, key.Val()).Val()
		}
	}
	return evicted, nil
}

func flushAll(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	flushes, keys := 0, int64(0)
	err := r.during(ctx, time.Second, func() error {
		held, err := r.filled(ctx)
		if err != nil {
			return err
		}
		flushes, keys = flushes+1, keys+held
		return redisconn.Masters(ctx, r.Rig.Redis, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"flushes": flushes, "keysFlushed": keys}, "keysFlushed")
}

func redisStopped(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	pauses, silence := 0, time.Duration(0)
	err := r.during(ctx, time.Second, func() error {
		r.bed.primary.Pause()
		asked := r.clock()
		answered := make(chan error, 1)
		go func() { answered <- r.bed.direct.Ping(ctx).Err() }()
		sleep(ctx, 100*time.Millisecond+rand.N(400*time.Millisecond))
		select {
		case err := <-answered:
			return fmt.Errorf("%w: Redis answered while it was stopped: %v", errNoFault, err)
		default:
		}
		r.bed.primary.Resume()
		err := <-answered
		silence = max(silence, r.clock()-asked)
		pauses++
		return err
	})
	r.bed.primary.Resume()
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"pauses": pauses, "longestPingMs": ms(silence)}, "pauses")
}

// redisKilled takes Redis away twice.
func redisKilled(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	keys, positions := int64(0), int64(0)
	for range 2 {
		held, err := r.filled(ctx)
		if err != nil {
			return nil, err
		}
		_, _, before, err := r.bed.head(ctx)
		if err != nil {
			return nil, err
		}
		r.bed.primary.Kill()
		changes, err := r.changes(ctx, r.During/4, before)
		if err != nil {
			return nil, err
		}
		keys, positions = keys+held, positions+changes
		if err := r.bed.primary.Restart(ctx); err != nil {
			return nil, err
		}
		if err := r.bed.letReplicate(ctx, r.bed.direct); err != nil {
			return nil, err
		}
		sleep(ctx, r.During/4)
	}
	return proven(map[string]any{"kills": 2, "keysLost": keys, "positionsWithoutRedis": positions}, "keysLost", "positionsWithoutRedis")
}
