package testenv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"freshet/internal/devenv"
	"freshet/migrations"
)

const template = "freshet_template"

// startPostgres starts the server that tests share, migrates the database that theirs are copied from, and returns its URL.
func startPostgres(dir string) (string, error) {
	ctx := context.Background()
	dir = filepath.Join(dir, "shared")
	if err := fromCache(ctx, dir); err != nil {
		return "", err
	}
	pg, err := devenv.StartPostgres(ctx, devenv.PostgresOptions{Dir: dir, Settings: map[string]string{
		// Nothing needs to outlive a crash of this machine.
		"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "1h", "max_connections": "1000",
	}})
	if err != nil {
		return "", err
	}
	return pg.URL, errors.Join(execute(pg.URL, "CREATE DATABASE "+template), migrate(ctx, withPath(pg.URL, template)))
}

func migrate(ctx context.Context, address string) error {
	pool, err := sql.Open("pgx", address+"&default_query_exec_mode=exec")
	if err != nil {
		return fmt.Errorf("open the template database: %w", err)
	}
	db := bun.NewDB(pool, pgdialect.New())
	_, err = migrations.Up(ctx, db)
	return errors.Join(err, db.Close())
}

func execute(address, statement string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	_, err = conn.Exec(ctx, statement)
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// fromCache copies a new database into dir: a copy takes a tenth of the time that initdb takes to make one. The user's
// cache directory keeps one for each version of PostgreSQL. Any trouble with the cache is left to initdb.
func fromCache(ctx context.Context, dir string) error {
	version, err := devenv.PostgresVersion(ctx)
	if err != nil {
		return err
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	cached := filepath.Join(caches, "freshet", "postgres-"+version)
	if _, err := os.Stat(cached); err != nil && fillCache(ctx, dir, cached) != nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("copy a new database: %w", err)
	}
	return copyTree(ctx, cached, filepath.Join(dir, "postgres"))
}

// fillCache makes a database next to dir and moves it into the cache. Where two processes do so at once, one wins.
func fillCache(ctx context.Context, dir, cached string) error {
	fresh := dir + "-new"
	pg, err := devenv.StartPostgres(ctx, devenv.PostgresOptions{Dir: fresh})
	if err != nil {
		return err
	}
	defer devenv.Remove(ctx, fresh)
	if err := pg.Stop(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(cached), 0o700); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(filepath.Dir(cached), "partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	if err := copyTree(ctx, pg.Dir, filepath.Join(partial, "postgres")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(partial, "postgres"), cached); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// Replicated starts a server with the whole schema and no rows, and streaming replicas of it, for this test alone, which may
// kill, promote and restart them. The primary comes first. It costs seconds.
func Replicated(t testing.TB, replicas int) []*devenv.Postgres {
	t.Helper()
	settings := map[string]string{"fsync": "off", "wal_retrieve_retry_interval": "50ms"} // replicas look for it before it is back
	primary := Postgres(t, settings)
	err := errors.Join(migrate(t.Context(), primary.URL), primary.Stop(t.Context()))
	all := []*devenv.Postgres{primary}
	for n := 0; n < replicas && err == nil; n++ {
		var replica *devenv.Postgres
		replica, err = startReplica(t.Context(), primary, devenv.PostgresOptions{Dir: DataDir(t), Settings: settings})
		all = append(all, replica)
	}
	if err = errors.Join(err, primary.Restart(t.Context())); err != nil {
		t.Fatal("testenv:", err)
	}
	return all
}

// startReplica starts a replica from the files of a primary that has stopped. ALTER SYSTEM can give it another.
func startReplica(ctx context.Context, primary *devenv.Postgres, o devenv.PostgresOptions) (*devenv.Postgres, error) {
	data := filepath.Join(o.Dir, "postgres", "data")
	if err := copyTree(ctx, primary.Dir, filepath.Dir(data)); err != nil {
		return nil, err
	}
	settings, err := os.OpenFile(filepath.Join(data, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("make a replica: %w", err)
	}
	_, err = fmt.Fprintf(settings, "primary_conninfo = '%s'\n", primary.URL)
	if err = errors.Join(err, settings.Close(), os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o600)); err != nil {
		return nil, fmt.Errorf("make a replica: %w", err)
	}
	return devenv.StartPostgres(ctx, o)
}

// copyTree keeps owners and modes: the files may belong to the account that PostgreSQL runs under.
func copyTree(ctx context.Context, from, to string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, to, err, out)
	}
	return nil
}
