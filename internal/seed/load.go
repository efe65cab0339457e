package seed

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// bulk are the tables that hold the many rows; filled are all that Run writes.
const (
	bulk   = "profiles, posts, follows, likes, profile_counts, post_counts"
	filled = bulk + ", accounts, settings, configs, products, wallets, orders, order_lines"
)

func requireEmpty(ctx context.Context, db interface {
	QueryRow(context.Context, string, ...any) pgx.Row
},
) error {
	for _, name := range strings.Split(filled, ", ") {
		var rows bool
		if err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+name+")").Scan(&rows); err != nil {
			return fmt.Errorf("look into %s: %w", name, err)
		}
		if rows {
			return fmt.Errorf("%s is not empty", name)
		}
	}
	return nil
}

// load writes all rows in one transaction: whatever happens, tables, indexes and triggers are as before or complete.
func load(ctx context.Context, conn *pgx.Conn, w *world, o Options) (Result, error) {
	var result Result
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := reserve(ctx, tx); err != nil {
			return err
		}
		bare, err := strip(ctx, tx)
		if err != nil {
			return err
		}
		if result, err = copyAll(ctx, tx, w, o); err != nil {
			return err
		}
		if err := execAll(ctx, tx, o, "indexes", bare.indexes); err != nil {
			return err
		}
		if err := execAll(ctx, tx, o, "counts", countStatements(w)); err != nil {
			return err
		}
		if err := execAll(ctx, tx, o, "checks", bare.rest); err != nil {
			return err
		}
		if err := writeConfigs(ctx, tx, w.now); err != nil {
			return err
		}
		if err := writeAccounts(ctx, tx, o); err != nil {
			return err
		}
		return writeShop(ctx, tx, w)
	})
	return result, err
}

// reserve takes the tables, so that they stay empty until the rows are in, and lifts limits meant for short statements.
func reserve(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
		SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL work_mem = '128MB';
		LOCK TABLE `+filled+` IN ACCESS EXCLUSIVE MODE`)
	if err != nil {
		return fmt.Errorf("lock the tables: %w", err)
	}
	return requireEmpty(ctx, tx)
}

func copyAll(ctx context.Context, tx pgx.Tx, w *world, o Options) (Result, error) {
	var r Result
	rows := map[string]*int64{"profiles": &r.Profiles, "posts": &r.Posts, "follows": &r.Follows, "likes": &r.Likes}
	for _, t := range w.tables() {
		p := newProgress(o.Progress, t.name, t.count)
		n, err := copyTable(ctx, tx, t, p)
		p.end()
		if err != nil {
			return r, err
		}
		*rows[t.name] = n
	}
	return r, nil
}

// execAll runs statements under the name of what they do.
func execAll(ctx context.Context, tx pgx.Tx, o Options, what string, statements []string) error {
	p := newProgress(o.Progress, what, len(statements))
	defer p.end()
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
		p.advance(1)
	}
	return nil
}

// countStatements do what the count triggers would have done, from indexes alone, and let ids go on after those given.
func countStatements(w *world) []string {
	return []string{
		`INSERT INTO post_counts (post_id, likes) SELECT post_id, count(*) FROM likes GROUP BY 1 ORDER BY 1`,
		`INSERT INTO profile_counts (profile_id, followers, following, posts)
		 SELECT id, sum(followers), sum(following), sum(posts) FROM (
			SELECT followee_id AS id, count(*) AS followers, 0 AS following, 0 AS posts FROM follows GROUP BY 1
			UNION ALL SELECT follower_id, 0, count(*), 0 FROM follows GROUP BY 1
			UNION ALL SELECT author_id, 0, 0, count(*) FROM posts GROUP BY 1) d
		 GROUP BY id ORDER BY id`,
		fmt.Sprintf("ALTER TABLE profiles ALTER id RESTART WITH %d", w.profiles+1),
		fmt.Sprintf("ALTER TABLE posts ALTER id RESTART WITH %d", w.posts+1),
	}
}

// settle gives the planner its statistics, and index-only scans the visibility map of what COPY did not freeze.
func settle(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "VACUUM (ANALYZE) "+filled); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	return nil
}
