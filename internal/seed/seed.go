// Package seed fills an empty, migrated database with demo data: profiles that follow each other, posts, likes,
// configurations, products and two accounts with balances and orders.
package seed

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
)

// The two profiles that can sign in. DemoPassword and AdminPassword are what the hashes in Options are made of.
const (
	DemoHandle    = "demo"
	DemoPassword  = "freshet-demo"
	AdminHandle   = "admin"
	AdminPassword = "freshet-admin"
)

const (
	demoID  = 1
	adminID = 2
	// demoFollows gives the demo account a feed of far more than a page.
	demoFollows = 60
)

// Options says what to fill in, and where. Without DatabaseURL, pgx reads the PG… variables of the environment.
type Options struct {
	// DatabaseURL names a migrated database without rows, as the owner of its tables.
	DatabaseURL string
	Size        Size
	// Now is the moment at which the newest post is a minute old; zero: the current time. Same Size, same Now, same
	// hashes: same rows.
	Now time.Time
	// DemoPasswordHash and AdminPasswordHash are PHC strings. A profile without one cannot sign in.
	DemoPasswordHash, AdminPasswordHash string
	// Progress gets bars if it is a terminal, a line for each table if it is not, and nothing if nil.
	Progress io.Writer

	amounts amounts // in the place of Size's, for tests
}

// Result counts the rows that Run wrote.
type Result struct {
	Profiles, Posts, Follows, Likes int64
	Took                            time.Duration
}

// Run fills in the data, all or none of it: on an error, or when ctx ends, the database is as before. It refuses a
// database in which any of its tables has a row. While it works it holds these tables to itself: readers wait.
func Run(ctx context.Context, o Options) (Result, error) {
	start := time.Now()
	if o.Now.IsZero() {
		o.Now = start
	}
	w, err := newWorld(cmp.Or(o.amounts, o.Size.amounts()), o.Now.UTC().Truncate(time.Second))
	if err != nil {
		return Result{}, fmt.Errorf("seed: %w", err)
	}
	conn, err := pgx.Connect(ctx, o.DatabaseURL)
	if err != nil {
		return Result{}, fmt.Errorf("seed: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := requireEmpty(ctx, conn); err != nil {
		return Result{}, fmt.Errorf("seed: %w", err)
	}
	result, err := load(ctx, conn, w, o)
	if err != nil {
		return Result{}, fmt.Errorf("seed: %w", err)
	}
	if err := settle(ctx, conn); err != nil {
		return Result{}, fmt.Errorf("seed: all rows are written, but: %w", err)
	}
	result.Took = time.Since(start)
	return result, nil
}
