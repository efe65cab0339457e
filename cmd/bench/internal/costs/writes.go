package costs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freshet/internal/changelog"
)

// Mutations is how long one row's change takes until it may be answered, by one writer, over three instances.
type Mutations struct {
	Without Spread  `json:"withoutMs"` // until COMMIT has returned
	With    Spread  `json:"withMs"`    // until no instance can answer with what was replaced
	Added   float64 `json:"addedP50Ms"`
}

// Mutations makes n changes of each kind, by turns.
func (b *Bed) Mutations(ctx context.Context, n int) (out Mutations, err error) {
	if err := b.follow(ctx); err != nil {
		return out, err
	}
	var without, with []time.Duration
	for i := range n {
		start := time.Now()
		if err := b.update(ctx, "bench.plain", i); err != nil {
			return out, err
		}
		without = append(without, time.Since(start))
		start = time.Now()
		if err := b.update(ctx, "bench.watched", i); err != nil {
			return out, err
		}
		if err := b.nodes[i%instances].Committed(ctx); err != nil {
			return out, err
		}
		with = append(with, time.Since(start))
	}
	out.Without, out.With = spreadOf(without), spreadOf(with)
	out.Added = out.With.P50 - out.Without.P50
	return out, b.unfollow()
}

func (b *Bed) update(ctx context.Context, table string, n int) error {
	_, err := b.db.ExecContext(ctx, "UPDATE "+table+" SET name = 'x' WHERE id = $1", n%rows+1)
	return err
}

// Updates is how many single-row updates a second eight connections make.
type Updates struct {
	Without float64 `json:"without"` // triggers and sequencer; medians
	With    float64 `json:"with"`
	Share   float64 `json:"sharePercent"` // the median of what a run with them makes of the run beside it
}

// Updates makes runs of each kind, by turns.
func (b *Bed) Updates(ctx context.Context, runs int, turn time.Duration) (out Updates, err error) {
	var without, with, shares []float64
	for i := range 2 * runs {
		table, to := "bench.plain", &without
		if (i+i/2)%2 == 1 { // the first of each pair is the second of the next
			table, to = "bench.watched", &with
			if err := b.follow(ctx); err != nil {
				return out, err
			}
		}
		rate, err := b.updates(ctx, table, turn)
		if err != nil {
			return out, err
		}
		if err := b.unfollow(); err != nil {
			return out, err
		}
		*to = append(*to, rate)
		if i%2 == 1 {
			shares = append(shares, 100*with[i/2]/without[i/2])
		}
	}
	return Updates{median(without), median(with), median(shares)}, nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func (b *Bed) updates(ctx context.Context, table string, turn time.Duration) (rate float64, err error) {
	const writers = 8
	var done atomic.Int64
	errs := make(chan error, writers)
	var work sync.WaitGroup
	start := time.Now()
	for w := range writers {
		work.Go(func() {
			for n := w; ; n += writers { // each makes one at least
				if err := b.update(ctx, table, n); err != nil {
					errs <- err
					return
				}
				if done.Add(1); time.Since(start) > turn {
					return
				}
			}
		})
	}
	work.Wait()
	rate = float64(done.Load()) / time.Since(start).Seconds()
	select {
	case err = <-errs:
	default:
	}
	return rate, err
}

// Backlog commits n changes at once, each of another tag, and returns how many a second go into the log, up to when
// every instance has applied the last. PerMillion is what a million of them take of PostgreSQL's disk.
func (b *Bed) Backlog(ctx context.Context, n int) (rate float64, perMillion int64, err error) {
	if err := b.follow(ctx); err != nil {
		return 0, 0, err
	}
	var before, after int64
	const size = "SELECT pg_total_relation_size('changelog.log')"
	if err := b.db.QueryRowContext(ctx, size).Scan(&before); err != nil {
		return 0, 0, err
	}
	if _, err := b.db.ExecContext(ctx, "VACUUM changelog.outbox"); err != nil {
		return 0, 0, err
	}
	from := b.logs[0].Position().At
	if _, err := b.db.ExecContext(ctx, "INSERT INTO changelog.outbox (tag) SELECT 'post:' || n FROM generate_series(1, $1::int) n", n); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	for _, node := range b.nodes {
		if err := applied(ctx, node, from+uint64(n)); err != nil {
			return 0, 0, err
		}
	}
	rate = float64(n) / time.Since(start).Seconds()
	if err := b.db.QueryRowContext(ctx, size).Scan(&after); err != nil {
		return 0, 0, err
	}
	return rate, (after - before) * 1_000_000 / int64(n), b.unfollow()
}

func applied(ctx context.Context, node *changelog.Node, at uint64) error {
	limit := time.Now().Add(hang)
	for node.Stats().Position.At < at {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(limit) {
			return fmt.Errorf("an instance is at %d of %d after %s", node.Stats().Position.At, at, hang)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
