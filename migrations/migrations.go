// Package migrations holds the database schema and its triggers as embedded SQL, up and down.
package migrations

import (
	"context"
	"embed"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

//go:embed *.sql
var files embed.FS

// lockKey is the PostgreSQL advisory lock under which a schema changes; any constant that nothing else uses will do.
const lockKey = 0x66726573686574

// State is one migration and when it was applied; AppliedAt is zero if it was not.
type State struct {
	Name      string
	AppliedAt time.Time
}

// Up applies every migration that is missing, each in a transaction of its own, and returns their names. Concurrent
// callers wait for each other. On an error the migrations before the failed one stay applied.
func Up(ctx context.Context, db *bun.DB) ([]string, error) {
	return change(ctx, db, (*migrate.Migrator).Migrate)
}

// Down takes back the migrations that one call of Up applied, the last such call first, and returns their names: none
// once the database is empty.
func Down(ctx context.Context, db *bun.DB) ([]string, error) {
	return change(ctx, db, (*migrate.Migrator).Rollback)
}

// Status lists every migration, oldest first. On a database that was never migrated all are missing. It changes nothing,
// so that an account which may not change the schema can ask.
func Status(ctx context.Context, db *bun.DB) ([]State, error) {
	all, err := embedded()
	if err != nil {
		return nil, err
	}
	var migrated bool
	if err := db.NewRaw("SELECT to_regclass('bun_migrations') IS NOT NULL").Scan(ctx, &migrated); err != nil {
		return nil, fmt.Errorf("migrations: read status: %w", err)
	}
	list := all.Sorted()
	if migrated {
		if list, err = migrate.NewMigrator(db, all).MigrationsWithStatus(ctx); err != nil {
			return nil, fmt.Errorf("migrations: read status: %w", err)
		}
	}
	states := make([]State, len(list))
	for i, one := range list {
		states[i] = State{Name: one.String()}
		if one.IsApplied() {
			states[i].AppliedAt = one.MigratedAt
		}
	}
	return states, nil
}

type step func(*migrate.Migrator, context.Context, ...migrate.MigrationOption) (*migrate.MigrationGroup, error)

// change runs do under an advisory lock. The lock lives on a connection of its own: it ends with its holder, where a row
// in a table would outlive a killed one.
func change(ctx context.Context, db *bun.DB, do step) (names []string, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrations: connect: %w", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock(?)", lockKey); err != nil {
		return nil, fmt.Errorf("migrations: lock: %w", err)
	}
	defer func() {
		_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(?)", lockKey)
		if err == nil && unlockErr != nil {
			err = fmt.Errorf("migrations: unlock: %w", unlockErr)
		}
	}()
	m, err := migrator(ctx, db)
	if err != nil {
		return nil, err
	}
	group, err := do(m, ctx)
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	for _, one := range group.Migrations {
		names = append(names, one.String())
	}
	return names, nil
}

func embedded() (*migrate.Migrations, error) {
	all := migrate.NewMigrations()
	if err := all.Discover(files); err != nil {
		return nil, fmt.Errorf("migrations: embedded files: %w", err)
	}
	return all, nil
}

func migrator(ctx context.Context, db *bun.DB) (*migrate.Migrator, error) {
	all, err := embedded()
	if err != nil {
		return nil, err
	}
	m := migrate.NewMigrator(db, all, migrate.WithMarkAppliedOnSuccess(true))
	if err := m.Init(ctx); err != nil {
		return nil, fmt.Errorf("migrations: prepare: %w", err)
	}
	return m, nil
}
