package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"freshet/internal/auth"
	"freshet/internal/seed"
	"freshet/internal/store"
	"freshet/migrations"
)

// withDatabase lends do a connection.
func withDatabase(url string, do func(*bun.DB) error) error {
	db, err := store.Open(url, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	return do(db)
}

// withReachable lends do a connection that works.
func withReachable(ctx context.Context, url string, do func(*bun.DB) error) error {
	return withDatabase(url, func(db *bun.DB) error {
		if err := requireReachable(ctx, db); err != nil {
			return err
		}
		return do(db)
	})
}

// requireReachable says in one sentence why a database can't be used, where the driver lists what it tried.
func requireReachable(ctx context.Context, db *bun.DB) error {
	err := db.PingContext(ctx)
	var network *net.OpError
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("PostgreSQL can't be used: %s", refused.Message)
	case errors.As(err, &network):
		return fmt.Errorf("PostgreSQL can't be reached: %w", network)
	case err != nil:
		return fmt.Errorf("PostgreSQL can't be reached: %w", err)
	}
	return nil
}

// requireSchema refuses a database whose schema is older than this release.
func requireSchema(ctx context.Context, db *bun.DB) error {
	if err := requireReachable(ctx, db); err != nil {
		return err
	}
	states, err := migrations.Status(ctx, db)
	if err != nil {
		return err
	}
	for _, state := range states {
		if state.AppliedAt.IsZero() {
			return fmt.Errorf("the database lacks the migration %s: run freshet migrate up", state.Name)
		}
	}
	return nil
}

// requireSame refuses a change log that is another database's: its positions would prove nothing of what the store reads.
func requireSame(ctx context.Context, store, log *bun.DB) error {
	if err := requireReachable(ctx, log); err != nil {
		return fmt.Errorf("the change log's %w", err)
	}
	var found [2]identity
	for n, db := range []*bun.DB{store, log} {
		var err error
		if found[n], err = askIdentity(ctx, db); err != nil {
			return err
		}
	}
	if found[0] != found[1] {
		return errors.New("--log-database-url leads to another database than --database-url")
	}
	return nil
}

// identity tells what an address leads to.
type identity struct {
	database string // of one cluster
	replica  bool
}

func askIdentity(ctx context.Context, db *bun.DB) (is identity, err error) {
	err = db.QueryRowContext(ctx, `SELECT concat_ws('/', s.system_identifier, d.oid), pg_is_in_recovery()
		FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()`).Scan(&is.database, &is.replica)
	if err != nil {
		return is, fmt.Errorf("ask PostgreSQL which database it is: %w", err)
	}
	return is, nil
}

// MigrateUp applies the migrations that are missing.
func MigrateUp(ctx context.Context, url string, out io.Writer) error {
	return withReachable(ctx, url, func(db *bun.DB) error {
		names, err := migrations.Up(ctx, db)
		return report(out, "applied", names, err)
	})
}

// MigrateDown takes back what the last MigrateUp applied.
func MigrateDown(ctx context.Context, url string, out io.Writer) error {
	return withReachable(ctx, url, func(db *bun.DB) error {
		names, err := migrations.Down(ctx, db)
		return report(out, "taken back", names, err)
	})
}

func report(out io.Writer, what string, names []string, err error) error {
	if err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintln(out, what, name)
	}
	if len(names) == 0 {
		fmt.Fprintln(out, "nothing to do")
	}
	return nil
}

// MigrateStatus lists the migrations.
func MigrateStatus(ctx context.Context, url string, out io.Writer) error {
	return withReachable(ctx, url, func(db *bun.DB) error {
		states, err := migrations.Status(ctx, db)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, state := range states {
			applied := "missing"
			if !state.AppliedAt.IsZero() {
				applied = state.AppliedAt.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%s\t%s\n", state.Name, applied)
		}
		return table.Flush()
	})
}

// Seed fills an empty, migrated database with demo data, and publishes a few operations.
func Seed(ctx context.Context, url string, size seed.Size, out io.Writer) error {
	err := withDatabase(url, func(db *bun.DB) error { return requireSchema(ctx, db) })
	if err != nil {
		return err
	}
	result, err := seed.Run(ctx, seed.Options{
		DatabaseURL:       url,
		Size:              size,
		DemoPasswordHash:  auth.HashPassword(seed.DemoPassword),
		AdminPasswordHash: auth.HashPassword(seed.AdminPassword),
		Progress:          out,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d profiles, %d posts, %d follows, %d likes in %s\n",
		result.Profiles, result.Posts, result.Follows, result.Likes, result.Took.Round(10*time.Millisecond))
	return publishDemo(ctx, url)
}

// PrintPolicy writes the effective cache policy, and the policy of each kind of entries.
func PrintPolicy(out io.Writer) error {
	table, err := Policy()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PLACE\tMAX AGE\tSCOPE\tTAGS")
	for _, rule := range table.Rules() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", rule.Coordinate, rule.Age(), rule.Scope, strings.Join(rule.Tags, " "))
	}
	return w.Flush()
}
