package freshness

import (
	"context"
	"errors"
	"time"

	"freshet/cmd/bench/internal/rig"
	"freshet/internal/devenv"
)

// primaryKilled takes a primary away until another has its place, and brings it back empty, taking itself for a primary.
func primaryKilled(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	t, err := r.turnOver(ctx,
		func(old *devenv.Redis) error { old.Kill(); return nil },
		func(old *devenv.Redis) error { return old.Restart(ctx) })
	if err != nil {
		return nil, err
	}
	return t.proven(nil)
}

// primaryPaused stops a primary for as long as it takes to have another in its place, and lets it go on. The first thing that
// it then hears is a question from when it had just been stopped.
func primaryPaused(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	believed := 0
	var wake func() (role, error)
	t, err := r.turnOver(ctx,
		func(old *devenv.Redis) (err error) {
			wake, err = r.bed.group.pause(ctx, old)
			return err
		},
		func(*devenv.Redis) error {
			one, err := wake()
			if one.primary {
				believed++
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	return t.proven(map[string]any{"oldStillPrimary": believed}, "oldStillPrimary")
}

// pause stops a server. Wake lets it go on, and returns what it took itself for at that moment.
func (g *group) pause(ctx context.Context, old *devenv.Redis) (wake func() (role, error), err error) {
	c := connect(old, g.Password, rig.Hang)
	if err := c.Ping(ctx).Err(); err != nil {
		c.Close()
		return nil, err
	}
	old.Pause()
	var one role
	answered := make(chan error, 1)
	go func() {
		var err error
		one, err = roleOf(c.Do(ctx, "ROLE").Slice())
		answered <- err
	}()
	return func() (role, error) {
		defer c.Close()
		old.Resume()
		err := <-answered
		return one, err
	}, nil
}

// plannedFailover asks Sentinel to put a replica in the primary's place.
func plannedFailover(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	t, err := r.turnOver(ctx,
		func(*devenv.Redis) error {
			sentinel := r.bed.group.nodes[r.bed.group.Sentinels[0]]
			return sentinel.Do(ctx, "SENTINEL", "FAILOVER", devenv.SentinelMaster).Err()
		},
		func(*devenv.Redis) error { return nil })
	if err != nil {
		return nil, err
	}
	return t.proven(nil)
}

// turnover is what was seen of primaries and those that took their places.
type turnover struct {
	replaced, returned int
	longest            time.Duration
	positions          int64 // of the log, from the harm to the return
	reads              int64 // of keys, that clients asked the new primaries for
}

func (t *turnover) proven(more map[string]any, needed ...string) (map[string]any, error) {
	evidence := map[string]any{
		"replaced": t.replaced, "returnedAsReplica": t.returned, "longestToReplaceMs": ms(t.longest),
		"positionsMeanwhile": t.positions, "readsOfTheNew": t.reads,
	}
	for name, value := range more {
		evidence[name] = value
	}
	return proven(evidence, append(needed, "replaced", "returnedAsReplica", "positionsMeanwhile", "readsOfTheNew")...)
}

// turnOver harms one primary after the other, has each replaced, mends it, and waits until it follows the new one.
func (r *run) turnOver(ctx context.Context, harm, mend func(*devenv.Redis) error) (*turnover, error) {
	t := &turnover{}
	return t, r.during(ctx, time.Second, func() error {
		slot, err := r.bed.group.slotOf(ctx, bulletins)
		if err != nil {
			return err
		}
		return t.turn(ctx, r, (slot+t.replaced*allSlots/3)%allSlots, harm, mend)
	})
}

func (t *turnover) turn(ctx context.Context, r *run, slot int, harm, mend func(*devenv.Redis) error) error {
	g := r.bed.group
	old, err := g.await(ctx, slot, nil)
	if err != nil {
		return err
	}
	_, _, before, err := r.bed.head(ctx)
	if err != nil {
		return err
	}
	begin := r.clock()
	if err := harm(old); err != nil {
		return err
	}
	now, err := g.await(ctx, slot, old)
	if err != nil {
		return errors.Join(err, mend(old))
	}
	t.longest = max(t.longest, r.clock()-begin)
	t.replaced++
	readBefore, err := g.reads(ctx, now)
	sleep(ctx, r.During/8)
	if err := errors.Join(err, mend(old), g.rejoined(ctx, old, now)); err != nil {
		return err
	}
	t.returned++
	read, readErr := g.reads(ctx, now)
	_, _, after, err := r.bed.head(ctx)
	t.reads, t.positions = t.reads+read-readBefore, t.positions+after-before
	return errors.Join(err, readErr)
}

// slotsMove moves slots that have keys from primary to primary, and home again. Between two owners, all are held for a while.
func slotsMove(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	g, kinds, evidence := r.bed.group, []string{"MOVED", "ASK", "TRYAGAIN"}, map[string]any{}
	before := map[string]int64{}
	for _, kind := range kinds {
		var err error
		if before[kind], err = g.replies(ctx, kind); err != nil {
			return nil, err
		}
	}
	turns, moved := 0, 0
	err := r.during(ctx, 300*time.Millisecond, func() error {
		n, err := r.moveAround(ctx, turns*allSlots/3%allSlots)
		turns, moved = turns+1, moved+n
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		n, err := g.replies(ctx, kind)
		if err != nil {
			return nil, err
		}
		evidence[kind] = n - before[kind]
	}
	evidence["slotsAwayAndHome"] = moved
	return proven(evidence, "slotsAwayAndHome", "MOVED", "ASK")
}

// moveAround moves what has keys of the slots of one primary, which has the given one, to each primary in turn, and home.
func (r *run) moveAround(ctx context.Context, witness int) (moved int, err error) {
	const most, held = 100, 300 * time.Millisecond
	g := r.bed.group
	first, err := g.await(ctx, witness, nil)
	if err != nil {
		return 0, err
	}
	slots, err := g.occupied(ctx, first, most)
	if err != nil || len(slots) == 0 {
		return 0, err
	}
	for owner := first; owner != first || moved == 0; moved = len(slots) {
		if err := g.MoveSlots(ctx, func() { sleep(ctx, held) }, slots...); err != nil {
			return 0, err
		}
		if owner, err = g.await(ctx, slots[0], owner); err != nil {
			return 0, err
		}
		sleep(ctx, held)
	}
	return moved, nil
}
