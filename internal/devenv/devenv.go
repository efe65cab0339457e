// Package devenv runs a private PostgreSQL and a private Redis as child processes, for the dev command and for tests.
package devenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// Options says where an Env keeps its data.
type Options struct {
	// Dir is the data directory, made if absent. Empty means ".freshet".
	Dir string
	// Reset throws away the databases of earlier runs before starting.
	Reset bool
	// Log hears of children that an earlier run left behind. Nil means silence.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Dir == "" {
		o.Dir = ".freshet"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Env is a running PostgreSQL and Redis over one data directory, which it keeps locked until Close.
type Env struct {
	// Dir is the absolute data directory. Postgres.Dir differs from it where Moved says so.
	Dir string
	// Postgres and Redis are both ready for connections when Open returns.
	Postgres *Postgres
	Redis    *Redis

	lock *dirLock
}

// Open locks the data directory, stops what a killed run left behind, and starts both servers at the same time.
// The context bounds the start only: the servers run until Close. Every error is a
// sentence fit for a terminal; two servers that fail make two lines.
func Open(ctx context.Context, opts Options) (*Env, error) {
	opts = opts.withDefaults()
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", opts.Dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	env := &Env{Dir: dir, lock: lock}
	if err := env.start(ctx, opts); err != nil {
		return nil, errors.Join(err, env.Close(context.WithoutCancel(ctx)))
	}
	return env, nil
}

func (e *Env) start(ctx context.Context, opts Options) error {
	if err := removeInfo(e.Dir); err != nil {
		return err
	}
	if opts.Reset {
		if err := Remove(ctx, e.Dir); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	var postgresErr, redisErr error
	wg.Go(func() {
		e.Postgres, postgresErr = StartPostgres(ctx, PostgresOptions{Dir: e.Dir, Log: opts.Log})
	})
	wg.Go(func() {
		e.Redis, redisErr = StartRedis(ctx, RedisOptions{Dir: e.Dir, Log: opts.Log})
	})
	wg.Wait()
	return errors.Join(postgresErr, redisErr)
}

// Close stops Redis, then PostgreSQL, removes dev.json and gives the data directory free. When the context ends
// first the servers are killed; no data is lost by that, the next start only takes longer.
func (e *Env) Close(ctx context.Context) error {
	var errs []error
	if e.Redis != nil {
		errs = append(errs, e.Redis.Stop(ctx))
	}
	if e.Postgres != nil {
		errs = append(errs, e.Postgres.Stop(ctx))
	}
	errs = append(errs, removeInfo(e.Dir), e.lock.release())
	return errors.Join(errs...)
}

// Remove deletes the databases under the data directory, after stopping servers that still run over them. It leaves
// alone whatever else lies in the directory, and refuses to delete what no PostgreSQL or Redis of ours has made.
func Remove(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	for _, home := range []string{postgresHome(dir), postgresRefuge(dir), redisHome(dir)} {
		if err := removeHome(ctx, home); err != nil {
			return err
		}
	}
	return nil
}

func removeHome(ctx context.Context, home string) error {
	if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(home, markerFile)); err != nil {
		return fmt.Errorf("%s was not made by Freshet, so it stays: move it away, or choose another data directory", home)
	}
	real, err := filepath.EvalSymlinks(home)
	if err != nil {
		return fmt.Errorf("remove %s: %w", home, err)
	}
	for _, dir := range []string{real, filepath.Join(real, clusterDir)} {
		if _, err := stopLeftovers(ctx, dir); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(real); err != nil {
		return fmt.Errorf("remove %s: %w", home, err)
	}
	return nil
}
