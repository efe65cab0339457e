package freshness

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/cmd/bench/internal/freshness/history"
)

// foreignWriter lets others than Freshet write much: statements, COPY, and updates of so many rows that they are noted as
// one wildcard.
func foreignWriter(ctx context.Context, r *run, l *load) (map[string]any, error) {
	const several = 3
	ctx, cancel := context.WithTimeout(ctx, r.During)
	defer cancel()
	before := l.writes.Load()
	for n := range several {
		a, err := l.next(true)
		if err != nil {
			return nil, err
		}
		l.every(ctx, 150*time.Millisecond, func() {
			if n == 0 {
				l.commit(ctx, a.nextCopied())
				return
			}
			l.commit(ctx, a.nextForeign())
		})
	}
	rows := int64(0)
	every(ctx, r.During/4, func() {
		tag, err := r.Rig.DB.Exec(context.WithoutCancel(ctx), `UPDATE profiles SET bio = md5(bio) WHERE handle LIKE 'fresh\_%'`)
		rows += tag.RowsAffected()
		if err != nil {
			l.failed(err)
		}
	})
	return proven(map[string]any{"commits": l.writes.Load() - before, "rowsByWildcard": rows}, "commits", "rowsByWildcard")
}

// nextCopied is a post that comes by COPY.
func (a *actor) nextCopied() foreignChange {
	a.postsVersion++
	title := "v" + strconv.Itoa(a.postsVersion)
	return foreignChange{a.posts, a.postsVersion, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"posts"}, []string{"author_id", "title", "body", "category", "language"},
			pgx.CopyFromRows([][]any{{a.id, title, "b", "science", "en"}}))
		return err
	}, feedReading(a)}
}

// openTransaction changes something at once and commits at the end: its outbox rows are older than many that are moved
// before them.
func openTransaction(ctx context.Context, r *run, l *load) (map[string]any, error) {
	a, err := l.next(true)
	if err != nil {
		return nil, err
	}
	c := a.nextForeign()
	for _, i := range r.bed.instances {
		l.read(ctx, i, c.look)
	}
	tx, err := r.Rig.DB.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	c.key.Invoke(c.version)
	begin := r.clock()
	if err := c.do(ctx, tx); err != nil {
		return nil, err
	}
	_, _, before, err := r.bed.head(ctx)
	if err != nil {
		return nil, err
	}
	sleep(ctx, r.During)
	_, _, after, err := r.bed.head(ctx)
	if err != nil {
		return nil, err
	}
	var age float64
	if err := tx.QueryRow(ctx, "SELECT extract(epoch FROM clock_timestamp() - now()) * 1000").Scan(&age); err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	c.key.Wrote(history.Write{Version: c.version, Invoked: begin, Answered: r.clock()})
	for _, i := range r.bed.instances {
		l.work.Go(func() { l.chase(ctx, i, &c) })
	}
	return proven(map[string]any{"openMs": int(age), "positionsMeanwhile": after - before}, "openMs", "positionsMeanwhile")
}

// slowLoads locks what the loads read for 400 ms at a time.
func slowLoads(ctx context.Context, r *run, l *load) (map[string]any, error) {
	const held = 400 * time.Millisecond
	locks := 0
	begin := r.clock()
	err := r.during(ctx, 600*time.Millisecond, func() error {
		locks++
		return pgx.BeginFunc(ctx, r.Rig.DB, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "LOCK TABLE profiles, posts, follows, settings, configs IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "SELECT pg_sleep($1)", held.Seconds())
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	slow := 0
	l.mu.Lock()
	for _, e := range l.events {
		if !e.write && e.end > begin && e.took > held/2 {
			slow++
		}
	}
	l.mu.Unlock()
	return proven(map[string]any{"locks": locks, "readsThatWaited": slow}, "readsThatWaited")
}

// backlog commits 100,000 changes of something else at once.
func backlog(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	const events = 100_000
	bursts, most := 0, time.Duration(0)
	err := r.during(ctx, 2*time.Second, func() error {
		_, _, before, err := r.bed.head(ctx)
		if err != nil {
			return err
		}
		_, err = r.Rig.DB.Exec(ctx, "INSERT INTO changelog.outbox (tag) SELECT 'elsewhere:' || i FROM generate_series(1, $1::int) i", events)
		if err != nil {
			return err
		}
		begin := r.clock()
		err = until(ctx, "the outbox is worked off", func() (bool, error) {
			_, _, now, err := r.bed.head(ctx)
			return now >= before+events, err
		})
		bursts, most = bursts+1, max(most, r.clock()-begin)
		return err
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"bursts": bursts, "eventsEach": events, "longestToWorkOffMs": ms(most)}, "bursts")
}

// postgresRestarted takes PostgreSQL away twice: in order, and as a crash.
func postgresRestarted(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	down, restarts := time.Duration(0), 0
	for _, crash := range []bool{false, true} {
		before, err := r.started(ctx)
		if err != nil {
			return nil, err
		}
		begin, reach := r.clock(), r.apart(r.bed.instances[:]...)
		if crash {
			r.Rig.Env.Postgres.Kill()
		} else if err := r.Rig.Env.Postgres.Stop(ctx); err != nil {
			return nil, err
		}
		sleep(ctx, r.During/10)
		if err := r.Rig.Env.Postgres.Restart(ctx); err != nil {
			return nil, err
		}
		down = max(down, r.clock()-begin)
		var after time.Time
		err = until(ctx, "PostgreSQL is back", func() (_ bool, err error) {
			after, err = r.started(ctx)
			return err == nil, err
		})
		reach()
		if err != nil {
			return nil, err
		}
		if !after.Equal(before) {
			restarts++
		}
		sleep(ctx, r.During/4)
	}
	if restarts != 2 {
		return nil, fmt.Errorf("%w: %d restarts", errNoFault, restarts)
	}
	return map[string]any{"restarts": restarts, "longestDownMs": ms(down)}, nil
}

func (r *run) started(ctx context.Context) (at time.Time, err error) {
	err = r.Rig.DB.QueryRow(ctx, "SELECT pg_postmaster_start_time()").Scan(&at)
	return at, err
}

// multiRow changes two rows of one entry in one transaction, again and again, with a pause between.
func multiRow(ctx context.Context, r *run, l *load) (map[string]any, error) {
	const pause = 15 * time.Millisecond
	l.slow.Store(int64(pause))
	before, readBefore := l.pair.key.Invoked(), l.pages.Load()
	reading, stop := context.WithCancel(ctx)
	for _, i := range r.bed.instances {
		l.every(reading, 15*time.Millisecond, func() { l.read(ctx, i, pairReading(l.pair)) })
	}
	evidence := map[string]any{}
	err := lasting(ctx, r.During, "the page is changed and read", func() (bool, error) {
		transactions, pages := l.pair.key.Invoked()-before, l.pages.Load()-readBefore
		evidence["transactions"], evidence["pagesRead"] = transactions, pages
		return transactions > 0 && pages > 0, nil
	})
	stop()
	l.slow.Store(0)
	if err != nil {
		return nil, err
	}
	evidence["torn"] = l.pair.torn.Load()
	return proven(evidence, "transactions", "pagesRead")
}
