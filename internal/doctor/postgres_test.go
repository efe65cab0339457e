package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"freshet/internal/testenv"
)

// onDatabase examines a database beside a Redis that is well.
func onDatabase(t *testing.T, db *bun.DB) []Finding {
	t.Helper()
	return examine(t.Context(), Deployment{DB: db, Redis: openRedis(t, testenv.SharedRedis(t))}, patient())
}

func adviceOn(t *testing.T, found []Finding, check string) string {
	t.Helper()
	i := slices.IndexFunc(found, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("%s: got no finding", check)
	}
	return found[i].Advice
}

// Triggers that are lost or off are named, and mended by what the advice says.
func TestExamine_SeesAndMendsTriggers(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.Database(t))
	run(t, db, "DROP TRIGGER changelog_delete ON posts", "DROP TRIGGER changelog_update ON profiles", "DROP TRIGGER changelog_insert ON likes",
		"DROP TRIGGER changelog_truncate ON likes", "ALTER TABLE follows DISABLE TRIGGER changelog_insert",
		"ALTER TABLE configs ENABLE TRIGGER changelog_insert", "DELETE FROM changelog.outbox")
	found := onDatabase(t, db)
	for _, seen := range []string{"public.posts.changelog_delete is missing", "public.follows.changelog_insert is not enabled always", "public.configs.changelog_insert is not enabled always"} {
		want(t, found, noSequencer(map[string]expected{"triggers": {Mend, seen, "SELECT changelog.note_all();"}}))
	}
	_, sql, _ := strings.Cut(adviceOn(t, found, "triggers"), "owner: ")
	run(t, db, sql, "DELETE FROM changelog.outbox")
	want(t, onDatabase(t, db), noSequencer(nil))
	run(t, db, "INSERT INTO profiles (handle, name) VALUES ('ann', 'Ann')", "DELETE FROM changelog.outbox", "UPDATE profiles SET name = 'Bo'")
	var tags string
	if err := db.QueryRowContext(t.Context(), "DELETE FROM changelog.outbox RETURNING tag").Scan(&tags); err != nil || !strings.HasPrefix(tags, "profile:") {
		t.Errorf("an update after the advice: got the tag %q, %v, want the profile's", tags, err)
	}
	run(t, db, "DROP FUNCTION changelog.tag_settings CASCADE")
	want(t, onDatabase(t, db), noSequencer(map[string]expected{"triggers": {Mend, "public.settings.changelog_insert is missing", "CALL changelog.watch('public.settings'"}}))
}

func TestExamine_SeesALogThatStandsStill(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.Database(t))
	asleep, err := db.Conn(t.Context())
	must(t, err)
	defer asleep.Close()
	// A sequencer that holds its office and does nothing.
	_, err = asleep.ExecContext(t.Context(), "SET application_name = 'freshet sequencer asleep'; SELECT pg_advisory_lock(1)")
	must(t, err)
	want(t, onDatabase(t, db), map[string]expected{})
	run(t, db, "INSERT INTO changelog.outbox (tag) VALUES ('post:1')")
	standing := expected{Mend, "not in the log 10ms after", "restart its instance"}
	want(t, onDatabase(t, db), map[string]expected{"log": standing})
	run(t, db, "INSERT INTO changelog.outbox (tag) SELECT 'x:' || n FROM generate_series(1, 10000) n")
	want(t, onDatabase(t, db), map[string]expected{"log": standing, "outbox": {Mend, "10001 changes wait", "see the server's log"}})
}

// A database of another time and release, by what stands before PostgreSQL's own functions, with a transaction that is
// open for an hour by that clock.
func TestExamine_SeesAnOldPostgreSQLWithAnotherClock(t *testing.T) {
	t.Parallel()
	url := testenv.Database(t)
	run(t, openDatabase(t, url), `CREATE SCHEMA lies`,
		`CREATE FUNCTION lies.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$`,
		`CREATE FUNCTION lies.current_setting(name text) RETURNS text LANGUAGE sql AS $$
			SELECT CASE name WHEN 'server_version' THEN '14.13' WHEN 'server_version_num' THEN '140013' ELSE pg_catalog.current_setting(name) END $$`,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = lies, pg_catalog, public', current_database());
			EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	db := openDatabase(t, url)
	open, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	defer open.Rollback()
	_, err = open.ExecContext(t.Context(), "SELECT pg_current_xact_id()")
	must(t, err)
	want(t, onDatabase(t, db), noSequencer(map[string]expected{
		"postgresql clock":              {Warning, "host's by ", "NTP"},
		"postgresql version":            {Mend, "14.13", "PostgreSQL 15 or newer"},
		"postgresql synchronous_commit": {Mend, "off", "synchronous_commit = on"},
		"oldest transaction":            {Warning, "open for 36", "pg_terminate_backend"},
	}))
}

func TestExamine_SeesAReplicaOfPostgreSQL(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t, nil)
	must(t, pg.Stop(t.Context()), os.WriteFile(filepath.Join(pg.Dir, "data", "standby.signal"), nil, 0o644), pg.Restart(t.Context()))
	want(t, onDatabase(t, openDatabase(t, pg.URL)), map[string]expected{"postgresql role": {Mend, "a replica", "DATABASE_URL lead to the primary"}})
}

// A pooler in transaction mode is seen however it hands out sessions, and how many it has, but for the change log's own.
func TestExamine_SeesAPooler(t *testing.T) {
	t.Parallel()
	url := testenv.Database(t)
	direct := openDatabase(t, url)
	for _, settings := range []map[string]string{
		{},
		{"default_pool_size": "1"},
		{"server_round_robin": "1"},
		{"server_round_robin": "1", "default_pool_size": "2"},
		{"server_round_robin": "1", "default_pool_size": "20", "min_pool_size": "20"},
	} {
		through := openDatabase(t, testenv.Pooler(t, url, settings))
		want(t, onDatabase(t, through), noSequencer(map[string]expected{"session": {Mend, "shared", "FRESHET_LOG_DATABASE_URL"}}))
		want(t, examine(t.Context(), Deployment{DB: through, LogDB: direct, Redis: openRedis(t, testenv.SharedRedis(t))}, patient()), noSequencer(nil))
	}
	sessions := openDatabase(t, testenv.Pooler(t, url, map[string]string{"pool_mode": "session"}))
	want(t, onDatabase(t, sessions), noSequencer(nil))
	away := Deployment{DB: direct, LogDB: openDatabase(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable&connect_timeout=1"), Redis: openRedis(t, testenv.SharedRedis(t))}
	want(t, examine(t.Context(), away, patient()), noSequencer(map[string]expected{"session": {Away, "can't be asked", "--log-database-url"}}))
}

// The list of tables is that of the migrations.
func TestWatched_IsWhatTheMigrationsWatch(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.Database(t))
	var got string
	err := db.QueryRowContext(t.Context(), `SELECT string_agg(n.nspname || '.' || c.relname, ' ' ORDER BY n.nspname, c.relname) FROM pg_trigger t
		JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.tgname = 'changelog_insert'`).Scan(&got)
	if err != nil || got != watched {
		t.Errorf("watched tables: got %q, %v, want %q", got, err, watched)
	}
}
