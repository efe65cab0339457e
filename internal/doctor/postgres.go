package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"freshet/migrations"
)

const oldestPostgres = 150000

func (e *examination) postgres(ctx context.Context, d Deployment) {
	if !e.server(ctx, d.DB) || !e.migrations(ctx, d.DB) {
		return
	}
	for _, look := range []func(context.Context, *bun.DB) error{e.triggers, e.log, e.transactions, e.sequencer} {
		if err := look(ctx, d.DB); err != nil {
			e.add(Away, "postgresql", fmt.Sprintf("can't be asked: %v", err), "let the user read the schema changelog and pg_stat_activity")
		}
	}
	if err := e.sessions(ctx, cmp.Or(d.LogDB, d.DB)); err != nil {
		e.add(Away, "session", fmt.Sprintf("can't be asked: %v", err),
			"see that --log-database-url, or else DATABASE_URL, leads to PostgreSQL, and that max_connections leaves room")
	}
}

// server looks at PostgreSQL itself, and tells whether there is more to see.
func (e *examination) server(ctx context.Context, db *bun.DB) bool {
	var version int
	var text, commit string
	var replica bool
	var now time.Time
	before := time.Now()
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('synchronous_commit'), pg_is_in_recovery(), clock_timestamp()`).Scan(&version, &text, &commit, &replica, &now)
	if err != nil {
		e.add(Away, "postgresql", fmt.Sprintf("can't be asked: %v", err), "see that it runs and that DATABASE_URL names it")
		return false
	}
	e.clock("postgresql clock", before, time.Now(), now)
	e.judge(version < oldestPostgres, Mend, "postgresql version", text, "use PostgreSQL 15 or newer")
	e.judge(commit == "off" || commit == "local", Mend, "postgresql synchronous_commit", commit,
		"set synchronous_commit = on: a commit that was answered and then lost would be undone behind the caches' backs")
	e.judge(replica, Mend, "postgresql role", map[bool]string{true: "a replica, or a server in recovery", false: "primary"}[replica],
		"let DATABASE_URL lead to the primary: a replica that lags would fill caches with what a write has replaced")
	return !replica
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

// triggers that are missing or switched off let changes pass that no cache hears of. What mends one is made from its
// table's others: the function that all of them call.
func (e *examination) triggers(ctx context.Context, db *bun.DB) error {
	rows, err := db.QueryContext(ctx, `
		SELECT name, event, coalesce(t.tgenabled::text, ''), coalesce((SELECT o.tgfoid::regproc::text FROM pg_trigger o
			WHERE o.tgrelid = to_regclass(name) AND o.tgname LIKE 'changelog\_%' LIMIT 1), '')
		FROM unnest(string_to_array(?, ' ')) name CROSS JOIN unnest(ARRAY['insert', 'update', 'delete', 'truncate']) event
		LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(name) AND t.tgname = 'changelog_' || event
		ORDER BY 1, 2`, watched)
	if err != nil {
		return err
	}
	defer rows.Close()
	var bad, mend []string
	good := 0
	for rows.Next() {
		var t trigger
		if err := rows.Scan(&t.table, &t.event, &t.enabled, &t.function); err != nil {
			return err
		}
		switch t.enabled {
		case "A":
			good++
			continue
		case "":
			bad = append(bad, t.name()+" is missing")
		default:
			bad = append(bad, t.name()+" is not enabled always")
		}
		mend = append(mend, t.mend())
	}
	e.judge(len(bad) > 0, Mend, "triggers", strings.Join(append(bad, fmt.Sprintf("%d in place", good)), ", "),
		"caches go stale by changes of these tables, so run, as the owner: "+strings.Join(append(mend, "SELECT changelog.note_all();"), " "))
	return rows.Err()
}

// trigger is one that a watched table should have.
type trigger struct{ table, event, enabled, function string }

func (t trigger) name() string { return t.table + ".changelog_" + t.event }

// mend is in SQL, as far as it can be told.
func (t trigger) mend() string {
	always := fmt.Sprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER changelog_%s;", t.table, t.event)
	switch {
	case t.enabled != "":
		return always
	case t.function == "":
		return fmt.Sprintf("/* the statement CALL changelog.watch('%s', …) of the migrations; */", t.table)
	}
	images := map[string]string{
		"insert": " REFERENCING NEW TABLE AS added", "update": " REFERENCING OLD TABLE AS removed NEW TABLE AS added",
		"delete": " REFERENCING OLD TABLE AS removed",
	}
	return fmt.Sprintf("CREATE TRIGGER changelog_%s AFTER %s ON %s%s FOR EACH STATEMENT EXECUTE FUNCTION %s(); %s",
		t.event, strings.ToUpper(t.event), t.table, images[t.event], t.function, always)
}

// log looks whether changes wait in the outbox, and whether the first of them are still there a moment later: a sequencer
// that works goes round many times a second.
func (e *examination) log(ctx context.Context, db *bun.DB) error {
	var waiting int64
	var first string
	err := db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM (SELECT FROM changelog.outbox LIMIT 100000) o),
		coalesce((SELECT xid::text FROM changelog.outbox ORDER BY xid LIMIT 1), '0')`).Scan(&waiting, &first)
	if err != nil {
		return err
	}
	e.judge(waiting > 10_000, Mend, "outbox", fmt.Sprintf("%d changes wait to be moved into the log", waiting),
		"a sequencer that keeps up leaves none: see the server's log for why it is slow, and for transactions left open")
	stuck := false
	if waiting > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(e.move):
		}
		err = db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM changelog.outbox WHERE xid = ?::text::xid8)", first).Scan(&stuck)
	}
	e.judge(stuck, Mend, "log", map[bool]string{true: "a change is not in the log " + e.move.String() + " after its commit", false: "up with all commits"}[stuck],
		"see the server's log for why the sequencer stands still, and restart its instance: until then every write waits for grants to end, and nothing is answered from caches")
	return err
}

func (e *examination) transactions(ctx context.Context, db *bun.DB) error {
	var oldest float64
	err := db.QueryRowContext(ctx, `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)`).Scan(&oldest)
	if err != nil {
		return err
	}
	e.judge(oldest > 60, Warning, "oldest transaction", fmt.Sprintf("open for %.0f s", oldest),
		"end it (pg_stat_activity, pg_terminate_backend): it keeps moved changes from being cleaned up, which slows every mutation")
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
//
// One connection rests while others begin transactions. Behind such a pooler one of them gets the session that the first
// has had, or the first gets another: whether the pooler hands out what was used last or what was used first, and however
// few sessions it has.
func (e *examination) sessions(ctx context.Context, db *bun.DB) error {
	ctx, cancel := context.WithTimeout(ctx, e.pooler)
	defer cancel()
	own, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer own.Close()
	first, err := backend(ctx, own)
	pooled := false
	for n := 0; n < 2 && err == nil && !pooled; n++ {
		var tx bun.Tx
		if tx, err = db.BeginTx(ctx, nil); err != nil {
			break
		}
		defer tx.Rollback()
		var theirs int
		if theirs, err = backend(ctx, tx); err != nil {
			break
		}
		mine := first
		if theirs != first {
			mine, err = backend(ctx, own)
		}
		pooled = theirs == first || mine != first
	}
	if err != nil {
		return err
	}
	e.judge(pooled, Mend, "session", map[bool]string{true: "shared between clients by a pooler", false: "is this client's own"}[pooled],
		"let --log-database-url (FRESHET_LOG_DATABASE_URL) lead to PostgreSQL itself, or to a pool in session mode: the sequencer's office is a session's lock")
	return nil
}

// backend is the server's process behind a connection.
func backend(ctx context.Context, on bun.IDB) (pid int, err error) {
	err = on.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&pid)
	return pid, err
}
