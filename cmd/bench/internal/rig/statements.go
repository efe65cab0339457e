package rig

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

const counter = "pg_stat_statements"

// preload has PostgreSQL count statements. The setting takes effect with a restart, and stays.
func (r *Rig) preload(ctx context.Context) error {
	set, err := r.setPreload(ctx)
	if err != nil {
		return fmt.Errorf("count statements: %w", err)
	}
	if !set {
		return nil
	}
	if err := r.Env.Postgres.Stop(ctx); err != nil {
		return err
	}
	return r.Env.Postgres.Restart(ctx)
}

// setPreload reports whether it had to.
func (r *Rig) setPreload(ctx context.Context) (set bool, err error) {
	conn, err := pgx.Connect(ctx, r.Env.Postgres.URL)
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	var loaded string
	var available bool
	err = conn.QueryRow(ctx, "SELECT current_setting('shared_preload_libraries'), "+
		"EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)", counter).Scan(&loaded, &available)
	switch {
	case err != nil:
		return false, err
	case strings.Contains(loaded, counter):
		return false, nil
	case !available:
		return false, errors.New("PostgreSQL lacks " + counter + ": install its contrib package")
	}
	_, err = conn.Exec(ctx, "ALTER SYSTEM SET shared_preload_libraries = '"+counter+"'")
	return true, err
}

func (r *Rig) countStatements(ctx context.Context) error {
	const create = "CREATE SCHEMA IF NOT EXISTS bench; CREATE EXTENSION IF NOT EXISTS " + counter + " SCHEMA bench"
	if _, err := r.DB.Exec(ctx, create); err != nil {
		return fmt.Errorf("count statements: %w", err)
	}
	return nil
}

// Statements is how many SQL statements PostgreSQL has run so far, but for those of the change log, which come at their
// own pace, and those of this program.
func (r *Rig) Statements(ctx context.Context) (n int64, err error) {
	err = r.DB.QueryRow(ctx, `SELECT coalesce(sum(calls), 0)::bigint
		FROM bench.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
		WHERE d.datname = current_database() AND query !~ 'changelog\.|advisory|set_config|pg_stat|bench'`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count statements: %w", err)
	}
	return n, nil
}
