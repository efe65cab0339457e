// Package costs measures what the change log costs those who write and those who read, beside runs without it.
package costs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"github.com/redis/go-redis/v9"

	"freshet/cache"
	"freshet/internal/changelog"
)

const (
	instances = 3
	service   = "costs" // so that no message of these instances reaches others
	rows      = 10_000  // of each table that is updated
	hang      = 5 * time.Minute
)

// Bed is a pair of equal tables in a migrated database, one of which the change log watches, and instances to follow the
// log. It lives until Close.
type Bed struct {
	url   string
	redis redis.UniversalClient
	db    *sql.DB

	nodes []*changelog.Node
	logs  []*cache.Log
	pools []*sql.DB
	stop  context.CancelFunc
	work  sync.WaitGroup
}

const tables = `
	DROP TABLE IF EXISTS bench.plain, bench.watched;
	DROP FUNCTION IF EXISTS changelog.tag_costs();
	CREATE TABLE bench.plain (LIKE public.profiles INCLUDING ALL);
	CREATE TABLE bench.watched (LIKE public.profiles INCLUDING ALL);
	INSERT INTO bench.plain (id, handle, name) SELECT n, 'user' || n, '' FROM generate_series(1, %[1]d) n;
	INSERT INTO bench.watched (id, handle, name) SELECT n, 'user' || n, '' FROM generate_series(1, %[1]d) n;
	CALL changelog.watch('bench.watched', '{costs,costshandle}', '{id,handle}', ARRAY[$$pg_catalog.concat('costs:', id)$$], ARRAY[$$pg_catalog.concat('costshandle:', handle)$$])`

// Open makes the tables in the schema bench of the database at url.
func Open(ctx context.Context, url string, client redis.UniversalClient) (*Bed, error) {
	b := &Bed{url: url, redis: client, stop: func() {}}
	var err error
	if b.db, err = open(url, 16); err != nil {
		return nil, err
	}
	for _, statement := range []string{fmt.Sprintf(tables, rows), "VACUUM ANALYZE bench.plain", "VACUUM ANALYZE bench.watched"} {
		if _, err := b.db.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(fmt.Errorf("make tables: %w", err), b.Close())
		}
	}
	return b, nil
}

func open(url string, conns int) (*sql.DB, error) {
	db, err := sql.Open("pgx", url+"&default_query_exec_mode=exec")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// follow starts the instances, and returns when they may all answer from caches.
func (b *Bed) follow(ctx context.Context) error {
	ctx, b.stop = context.WithCancel(ctx)
	for n := range instances {
		pool, err := open(b.url, 5)
		if err != nil {
			return err
		}
		log := cache.NewLog(nil)
		node := changelog.New(changelog.Options{
			DB: pool, Redis: b.redis, Log: log, Service: service, Name: fmt.Sprint("costs-", n+1), Logger: slog.New(slog.DiscardHandler),
		})
		b.nodes, b.logs, b.pools = append(b.nodes, node), append(b.logs, log), append(b.pools, pool)
		b.work.Go(func() { node.Run(ctx) })
	}
	return b.granted(ctx)
}

func (b *Bed) granted(ctx context.Context) error {
	limit := time.After(hang)
	for {
		all := true
		for _, log := range b.logs {
			_, granted := log.AsOf()
			all = all && granted
		}
		if all {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-limit:
			return fmt.Errorf("the instances had no grants for %s", hang)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unfollow stops them.
func (b *Bed) unfollow() error {
	b.stop()
	b.work.Wait()
	var errs []error
	for _, pool := range b.pools {
		errs = append(errs, pool.Close())
	}
	b.nodes, b.logs, b.pools = nil, nil, nil
	return errors.Join(errs...)
}

// Close removes the tables.
func (b *Bed) Close() error {
	err := b.unfollow()
	_, dropErr := b.db.Exec("DROP TABLE IF EXISTS bench.plain, bench.watched; DROP FUNCTION IF EXISTS changelog.tag_costs()")
	return errors.Join(err, dropErr, b.db.Close())
}

// Spread is a distribution in milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func spreadOf(times []time.Duration) Spread {
	slices.Sort(times)
	at := func(q int) float64 { return float64(times[len(times)*q/100].Microseconds()) / 1000 }
	return Spread{at(50), at(99)}
}
