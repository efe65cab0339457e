package changelog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cache"
)

// stand tries to become sequencer, and is it while it can, until ctx ends.
func (n *Node) stand(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.candidate(ctx)
		pause := n.Election
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errDemoted):
			pause = 10 * n.Election // another instance may reach the right Redis
			fallthrough
		case err != nil:
			n.Logger.Warn("changelog: not sequencer", "instance", n.id, "error", err)
		}
		sleep(ctx, pause)
	}
}

// candidate tries on one session until it has held office and lost it, or the session fails.
func (n *Node) candidate(ctx context.Context) error {
	conn, err := n.DB.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// The lock must go with the office, so the session is not to be used again.
	defer conn.Raw(func(any) error { return driver.ErrBadConn })
	for try := 0; ctx.Err() == nil; try++ {
		t, head, err := n.try(ctx, conn, try)
		if err != nil {
			return err
		}
		if t != nil {
			return n.serve(ctx, t, head)
		}
		sleep(ctx, n.Election)
	}
	return nil
}

func (n *Node) try(ctx context.Context, conn *sql.Conn, try int) (*term, cache.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, patienceWithPostgres)
	defer cancel()
	if try == 0 {
		if _, err := conn.ExecContext(ctx, session, "freshet sequencer "+n.id); err != nil {
			return nil, cache.Position{}, fmt.Errorf("prepare session: %w", err)
		}
	}
	if try%5 == 4 {
		if err := endStuck(ctx, conn, n.Stuck); err != nil {
			return nil, cache.Position{}, err
		}
	}
	t, head, err := take(ctx, conn, n.Name)
	if err != nil {
		return nil, head, fmt.Errorf("take office: %w", err)
	}
	return t, head, nil
}

// serve is one term of office. Asks are heard from before its first round, and kept only as long as the queue has room:
// those that are lost are asked again.
func (n *Node) serve(ctx context.Context, t *term, head cache.Position) error {
	n.Logger.Info("changelog: sequencer", "instance", n.id, "term", t.number, "epoch", t.epoch, "position", head.At)
	ctx, cancel := context.WithCancelCause(ctx)
	asks := make(chan ask, 1024)
	var helpers sync.WaitGroup
	defer func() {
		cancel(nil)
		helpers.Wait()
		n.office.Store(nil)
	}()
	s := &sequencer{o: &n.Options, term: t, head: head}
	if err := s.begin(ctx); err != nil {
		return err
	}
	helpers.Go(func() {
		listen(ctx, &n.Options, n.asks(), func(a ask) {
			select {
			case asks <- a:
			default:
			}
		})
	})
	var watch watch
	helpers.Go(func() { cancel(n.keepHouse(ctx, &watch)) })
	err := s.goneBack(n.id, n.Log.Position())
	if err == nil {
		err = s.work(ctx, asks, func(s *sequencer) { n.office.Store(s.office(&watch)) })
	}
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	last, done := inTime(ctx)
	defer done()
	if err == nil { // Run ends: the tail has given back this instance's own grant
		return t.unregister(last, n.id)
	}
	if errors.Is(err, errGoesBack) {
		// On another connection: what was found out must not be lost with the session that found it.
		_, endErr := n.DB.ExecContext(last, endEpoch, int64(t.epoch))
		err = errors.Join(err, endErr)
	}
	return err
}

// patienceWithPostgres is how long PostgreSQL may take for a statement; a connection that leads nowhere would otherwise
// be waited for as long as the kernel likes.
const patienceWithPostgres = 5 * time.Second

// inTime is a context for a statement that has begun and should be finished although ctx ends.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patienceWithPostgres)
}

var errDemoted = errors.New("changelog: Redis is a replica now, where other instances may not listen")

// watch is what is measured beside the sequencer's work.
type watch struct {
	mu     sync.Mutex
	rows   int64
	oldest time.Duration
}

// keepHouse prunes the log and watches PostgreSQL and Redis, on other connections than the sequencer's, until ctx ends or
// the sequencer should give up its office.
func (n *Node) keepHouse(ctx context.Context, w *watch) error {
	for ctx.Err() == nil {
		if err := demoted(ctx, n.Redis); err != nil {
			return err
		}
		if err := errors.Join(prune(ctx, &n.Options, 5000), w.measure(ctx, n.DB)); err != nil && ctx.Err() == nil {
			n.Logger.Warn("changelog: housekeeping", "error", err)
		}
		sleep(ctx, 10*n.Election)
	}
	return nil
}

// demoted asks a single server for its role. A cluster sends messages to all its nodes, and a Redis that does not answer
// is judged by nobody.
func demoted(ctx context.Context, client redis.UniversalClient) error {
	single, ok := client.(*redis.Client)
	if !ok {
		return nil
	}
	role, err := single.Do(ctx, "ROLE").Slice()
	if err == nil && len(role) > 0 && role[0] == "slave" {
		return errDemoted
	}
	return nil
}

func (w *watch) measure(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, patienceWithPostgres)
	defer cancel()
	var rows int64
	var oldest float64
	err := db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM (SELECT FROM changelog.outbox LIMIT 100000) o),
		(SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
		 WHERE datname = current_database() AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL))`).Scan(&rows, &oldest)
	if err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows, w.oldest = rows, time.Duration(oldest*float64(time.Second))
	return nil
}

func (s *sequencer) office(w *watch) *Office {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &Office{
		Term: s.term.number, Head: s.head, Settled: s.settled(),
		Instances:  map[string]Lag{},
		OutboxRows: w.rows, OldestTransaction: w.oldest,
	}
	now := s.o.Log.Now()
	for id, m := range s.members {
		if now < m.until {
			o.Instances[id] = Lag{s.head.At - min(m.acked, s.head.At), s.behind(m, now)}
		}
	}
	return o
}
