package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"freshet/migrations"
)

const oldestPostgres = 150000

func (e *examination) postgres(ctx context.Context, db *bun.DB) {
	var version int
	var text, commit string
	var now time.Time
	before := time.Now()
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('synchronous_commit'), clock_timestamp()`).Scan(&version, &text, &commit, &now)
	if err != nil {
		e.add(Away, "postgresql", fmt.Sprintf("can't be asked: %v", err), "see that it runs and that DATABASE_URL names it")
		return
	}
	e.clock("postgresql clock", before, time.Now(), now)
	e.judge(version < oldestPostgres, Mend, "postgresql version", text, "use PostgreSQL 15 or newer")
	e.judge(commit == "off" || commit == "local", Mend, "postgresql synchronous_commit", commit,
		"set synchronous_commit = on: a commit that was answered and then lost would be undone behind the caches' backs")
	if !e.migrations(ctx, db) {
		return
	}
	for _, look := range []func(context.Context, *bun.DB) error{e.triggers, e.log, e.sequencer, e.sessions} {
		if err := look(ctx, db); err != nil {
			e.add(Away, "postgresql", fmt.Sprintf("can't be asked: %v", err), "let the user read the schema changelog and pg_stat_activity")
		}
	}
}

func (e *examination) migrations(ctx context.Context, db *bun.DB) bool {
	states, err := migrations.Status(ctx, db)
	var missing []string
	for _, state := range states {
		if state.AppliedAt.IsZero() {
			missing = append(missing, state.Name)
		}
	}
	switch {
	case err != nil:
		e.add(Mend, "migrations", err.Error(), "run freshet migrate up")
	case len(missing) > 0:
		e.add(Mend, "migrations", "missing: "+strings.Join(missing, " "), "run freshet migrate up")
	default:
		e.fine("migrations", "all %d applied", len(states))
	}
	return err == nil && len(missing) == 0
}

// watched are the tables whose changes make entries stale, each by a trigger for every kind of statement.
const watched = "persisted.builds persisted.documents persisted.operations public.accounts public.categories public.configs " +
	"public.dictionaries public.follows public.identities public.languages public.likes public.posts public.products public.profiles " +
	"public.sessions public.settings"

// triggers that are missing or switched off let changes pass that no cache hears of.
func (e *examination) triggers(ctx context.Context, db *bun.DB) error {
	rows, err := db.QueryContext(ctx, `
		SELECT name || '.changelog_' || event, coalesce(t.tgenabled::text, '')
		FROM unnest(string_to_array(?, ' ')) name CROSS JOIN unnest(ARRAY['insert', 'update', 'delete', 'truncate']) event
		LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(name) AND t.tgname = 'changelog_' || event
		ORDER BY 1`, watched)
	if err != nil {
		return err
	}
	defer rows.Close()
	var bad []string
	good := 0
	for rows.Next() {
		var name, enabled string
		if err := rows.Scan(&name, &enabled); err != nil {
			return err
		}
		switch enabled {
		case "A":
			good++
		case "":
			bad = append(bad, name+" is missing")
		default:
			bad = append(bad, name+" is not enabled always")
		}
	}
	e.judge(len(bad) > 0 || good == 0, Mend, "triggers", strings.Join(append(bad, fmt.Sprintf("%d in place", good)), ", "),
		"caches go stale by changes to these tables: ALTER TABLE … ENABLE ALWAYS TRIGGER …, or migrate the schema down and up; then INSERT INTO changelog.outbox (tag) VALUES ('*')")
	return rows.Err()
}

func (e *examination) log(ctx context.Context, db *bun.DB) error {
	var rows int64
	var oldest, silence float64
	err := db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM (SELECT FROM changelog.outbox LIMIT 100000) o),
		(SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
		 WHERE datname = current_database() AND pid <> pg_backend_pid() AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)),
		(SELECT coalesce(extract(epoch FROM clock_timestamp() - max(moved_at)), 0) FROM changelog.log)`).Scan(&rows, &oldest, &silence)
	if err != nil {
		return err
	}
	e.judge(rows > 10_000, Mend, "outbox", fmt.Sprintf("%d changes wait to be moved into the log", rows),
		"a sequencer that keeps up leaves none: see the server's log for why it is slow, and for transactions left open")
	e.judge(oldest > 60, Warning, "oldest transaction", fmt.Sprintf("open for %.0f s", oldest),
		"end it (pg_stat_activity, pg_terminate_backend): it keeps moved changes from being cleaned up, which slows every mutation")
	e.fine("log", "last change %.0f s ago", silence)
	return nil
}

// sequencer looks for the session that holds the office's lock.
func (e *examination) sequencer(ctx context.Context, db *bun.DB) error {
	var holders int
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND a.application_name LIKE 'freshet sequencer %'
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&holders)
	if err != nil {
		return err
	}
	e.judge(holders == 0, Mend, "sequencer", fmt.Sprintf("%d in office", holders),
		"start an instance with freshet serve, and see its log: without a sequencer nothing is answered from caches")
	return nil
}

// sessions finds a pooler that gives a session to another client between transactions: the sequencer's lock would stay
// behind with it. A setting of the session would get lost in the same way.
func (e *examination) sessions(ctx context.Context, db *bun.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	first, again, pooled := 0, 0, false
	for range 20 {
		if err := conn.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&again); err != nil {
			return err
		}
		pooled = pooled || first != 0 && again != first
		first = again
	}
	e.judge(pooled, Mend, "session", map[bool]string{true: "shared between clients by a pooler", false: "is this client's own"}[pooled],
		"let DATABASE_URL lead to PostgreSQL itself, or to a pool in session mode: the sequencer's office is a session's lock")
	return nil
}
