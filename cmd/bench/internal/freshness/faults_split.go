package freshness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// bulletins is the channel that every instance listens on.
const bulletins = "freshet:changelog:bulletins"

// detach takes a replica in step with the primary and promotes it, while the primary goes on: what is written there from
// now on is lost.
func (b *bed) detach(ctx context.Context) error {
	if err := b.follow(ctx); err != nil {
		return err
	}
	return promote(ctx, b.spare)
}

// failover moves all instances to a Redis that lacks the last writes.
func failover(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	const unseen = 300 * time.Millisecond
	lost, positions := 0, int64(0)
	for range 2 {
		if err := r.bed.detach(ctx); err != nil {
			return nil, err
		}
		_, _, before, err := r.bed.head(ctx)
		if err != nil {
			return nil, err
		}
		sleep(ctx, unseen)
		n := 0
		err = until(ctx, "something was written that is lost", func() (_ bool, err error) {
			n, err = differences(ctx, r.bed.direct, r.bed.spare)
			return n > 0, err
		})
		if err != nil {
			return nil, err
		}
		_, _, after, err := r.bed.head(ctx)
		if err != nil {
			return nil, err
		}
		lost, positions = lost+n, positions+after-before
		if err := r.bed.point(r.bed.replica.Addr, r.bed.instances[:]...); err != nil {
			return nil, err
		}
		sleep(ctx, r.During/4)
		if err := r.bed.failBack(ctx); err != nil {
			return nil, err
		}
		sleep(ctx, r.During/4)
	}
	return proven(map[string]any{"failovers": 2, "entriesLost": lost, "positionsLost": positions}, "entriesLost", "positionsLost")
}

// point moves instances to another Redis.
func (b *bed) point(addr string, which ...*instance) error {
	var errs []error
	for _, i := range which {
		errs = append(errs, i.redis.Point(addr))
	}
	return errors.Join(errs...)
}

// differences counts the keys whose values are not the same in both, or that only the first has.
func differences(ctx context.Context, one, other *redis.Client) (n int, err error) {
	ours, err := snapshot(ctx, one)
	if err != nil {
		return 0, err
	}
	theirs, err := snapshot(ctx, other)
	if err != nil {
		return 0, err
	}
	for key, value := range ours {
		if theirs[key].dump != value.dump {
			n++
		}
	}
	return n, nil
}

// stored is a key's value as Redis dumps it.
type stored struct {
	dump string
	ttl  time.Duration
}

// snapshot is all that a Redis has.
func snapshot(ctx context.Context, c *redis.Client) (map[string]stored, error) {
	all := map[string]stored{}
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		dump, err := c.Dump(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("dump %s: %w", key, err)
		}
		all[key] = stored{dump, c.PTTL(ctx, key).Val()}
	}
	return all, keys.Err()
}

// oldSnapshot brings back what Redis had some seconds before.
func oldSnapshot(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	restored, older := 0, 0
	for range 2 {
		old, err := snapshot(ctx, r.bed.direct)
		if err != nil {
			return nil, err
		}
		sleep(ctx, r.During/3)
		now, err := snapshot(ctx, r.bed.direct)
		if err != nil {
			return nil, err
		}
		_, err = r.bed.direct.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.FlushAll(ctx)
			for key, value := range old {
				p.RestoreReplace(ctx, key, max(value.ttl, time.Millisecond), value.dump)
				if value.dump != now[key].dump {
					older++
				}
				restored++
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
		sleep(ctx, r.During/6)
	}
	return proven(map[string]any{"entriesRestored": restored, "olderThanReplaced": older}, "olderThanReplaced")
}

// followersBehind moves the sequencer alone to the new primary.
func followersBehind(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	sequencer, err := r.bed.sequencer(ctx)
	if err != nil {
		return nil, err
	}
	return r.split(ctx, []*instance{sequencer}, r.bed.others(sequencer))
}

// sequencerBehind moves everyone else.
func sequencerBehind(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	sequencer, err := r.bed.sequencer(ctx)
	if err != nil {
		return nil, err
	}
	return r.split(ctx, r.bed.others(sequencer), []*instance{sequencer})
}

// split has two primaries for a while, each with instances of its own; then the old one becomes a replica of the new, still
// with its instances; then all move over.
func (r *run) split(ctx context.Context, moved, behind []*instance) (map[string]any, error) {
	termBefore, _, before, err := r.bed.head(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.bed.detach(ctx); err != nil {
		return nil, err
	}
	if err := r.bed.point(r.bed.replica.Addr, moved...); err != nil {
		return nil, err
	}
	sleep(ctx, r.During/3)
	listeners := func(c *redis.Client) int64 { return c.PubSubNumSub(ctx, bulletins).Val()[bulletins] }
	evidence := map[string]any{"listenersOnOld": listeners(r.bed.direct), "listenersOnNew": listeners(r.bed.spare)}
	if err := replicate(ctx, r.bed.direct, r.bed.replica); err != nil {
		return nil, err
	}
	sleep(ctx, r.During/3)
	evidence["listenersOnDemoted"] = listeners(r.bed.direct)
	if err := r.bed.point(r.bed.replica.Addr, behind...); err != nil {
		return nil, err
	}
	sleep(ctx, r.During/6)
	if err := r.bed.failBack(ctx); err != nil {
		return nil, err
	}
	termAfter, _, after, err := r.bed.head(ctx)
	if err != nil {
		return nil, err
	}
	evidence["positions"], evidence["takeOvers"] = after-before, termAfter-termBefore
	return proven(evidence, "listenersOnOld", "listenersOnNew", "listenersOnDemoted", "positions")
}
