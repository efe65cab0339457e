package freshness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"freshet/cmd/bench/internal/freshness/history"
	"freshet/cmd/bench/internal/rig"
)

// A mutation's wait is promised from its COMMIT on, and while its instance can reach PostgreSQL: without, nothing can be
// read back. PostgreSQL says when it committed.

// noteCommits has PostgreSQL remember when each transaction committed. That takes a restart, once.
func (b *bed) noteCommits(ctx context.Context) error {
	var noted string
	if err := b.rig.DB.QueryRow(ctx, "SHOW track_commit_timestamp").Scan(&noted); err != nil || noted == "on" {
		return err
	}
	if _, err := b.rig.DB.Exec(ctx, "ALTER SYSTEM SET track_commit_timestamp = on"); err != nil {
		return fmt.Errorf("have commits noted: %w", err)
	}
	if err := errors.Join(b.rig.Env.Postgres.Stop(ctx), b.rig.Env.Postgres.Restart(ctx)); err != nil {
		return err
	}
	b.rig.DB.Reset()
	return nil
}

// waited is how long an answered change took from its COMMIT, without the time that i could not reach PostgreSQL in. It
// takes the whole time of the request where it can't find out.
func (l *load) waited(ctx context.Context, i *instance, c *change, begin, end time.Duration) time.Duration {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), rig.Hang)
	defer cancel()
	var at time.Time
	err := l.db.QueryRow(bounded, "SELECT pg_xact_commit_timestamp(xmin) FROM "+c.row, c.id...).Scan(&at)
	committed := l.clock() - time.Since(at)
	if err != nil || committed < begin || committed > end { // or another has changed the row since
		committed = begin
	}
	return end - committed - i.apart.within(committed, end)
}

// spans are stretches of time, one after the other. They are safe for concurrent use.
type spans struct {
	mu  sync.Mutex
	all [][2]time.Duration
}

// open begins one, which ends with the call of close.
func (s *spans) open(clock func() time.Duration) (close func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.all)
	s.all = append(s.all, [2]time.Duration{clock(), history.Never})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all[n][1] = clock()
	}
}

// within is how much of the time between two moments they cover.
func (s *spans) within(from, to time.Duration) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		sum += max(0, min(to, one[1])-max(from, one[0]))
	}
	return sum
}

// apart notes that instances can't reach PostgreSQL, until reach is called.
func (r *run) apart(which ...*instance) (reach func()) {
	var closes []func()
	for _, i := range which {
		closes = append(closes, i.apart.open(r.clock))
	}
	return func() {
		for _, one := range closes {
			one()
		}
	}
}
