package freshness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

// fault is something that goes wrong for about Options.During. Inject returns when it is mended, with what proves that it
// took place.
type fault struct {
	name   string
	inject func(context.Context, *run, *load) (map[string]any, error)
}

// faults in the order they are injected.
func faults() []fault {
	return []fault{
		{"none", none},
		{"random eviction", eviction},
		{"FLUSHALL", flushAll},
		{"Redis stopped", redisStopped},
		{"Redis killed", redisKilled},
		{"failover that lost writes", failover},
		{"followers on the old primary", followersBehind},
		{"sequencer on the old primary", sequencerBehind},
		{"old snapshot of Redis", oldSnapshot},
		{"instance paused", instancePaused},
		{"server killed after COMMIT", killedAfterCommit},
		{"sequencer killed", sequencerKilled},
		{"sequencer a zombie", sequencerZombie},
		{"foreign SQL writer", foreignWriter},
		{"transaction left open", openTransaction},
		{"slow loads", slowLoads},
		{"backlogged tail", backlog},
		{"network delay and cuts", network},
		{"clocks that differ", clocks},
		{"PostgreSQL restarted", postgresRestarted},
		{"multi-row transaction", multiRow},
	}
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

// none shows that there was something to be made stale.
func none(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	_, _, before, err := r.bed.head(ctx)
	if err != nil {
		return nil, err
	}
	sleep(ctx, r.During)
	_, _, after, err := r.bed.head(ctx)
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"positions": after - before}, "positions")
}

// eviction removes keys at random, whatever they are: entries and locks alike.
func eviction(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	evicted := int64(0)
	err := r.during(ctx, 25*time.Millisecond, func() error {
		const at = 10
		picked, err := r.bed.direct.Pipelined(ctx, func(p redis.Pipeliner) error {
			for range at {
				p.RandomKey(ctx)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("evict: %w", err)
		}
		for _, reply := range picked {
			if key, ok := reply.(*redis.StringCmd); ok && key.Err() == nil {
				evicted += r.bed.direct.Unlink(ctx, key.Val()).Val()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"keysEvicted": evicted}, "keysEvicted")
}

func flushAll(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	flushes, keys := 0, int64(0)
	err := r.during(ctx, time.Second, func() error {
		keys += r.bed.direct.DBSize(ctx).Val()
		flushes++
		return r.bed.direct.FlushAll(ctx).Err()
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
		keys += r.bed.direct.DBSize(ctx).Val()
		_, _, before, err := r.bed.head(ctx)
		if err != nil {
			return nil, err
		}
		r.bed.primary.Kill()
		sleep(ctx, r.During/4)
		_, _, after, err := r.bed.head(ctx)
		if err != nil {
			return nil, err
		}
		positions += after - before
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
