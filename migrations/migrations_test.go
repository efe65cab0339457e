package migrations_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"freshet/internal/testenv"
	"freshet/migrations"
)

func up(t *testing.T, db *bun.DB) []string {
	t.Helper()
	names, err := migrations.Up(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// down takes back all groups.
func down(t *testing.T, db *bun.DB) (names []string) {
	t.Helper()
	for {
		group, err := migrations.Down(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if len(group) == 0 {
			return names
		}
		names = append(names, group...)
	}
}

func applied(t *testing.T, db *bun.DB) (names []string) {
	t.Helper()
	states, err := migrations.Status(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		if !state.AppliedAt.IsZero() {
			names = append(names, state.Name)
		}
	}
	return names
}

// fingerprint lists everything that a migration can have made, one line each, from the catalogs.
func fingerprint(t *testing.T, db *bun.DB) []string {
	t.Helper()
	const catalogs = `
	WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
	relations AS (
		SELECT c.*, nspname || '.' || relname AS name FROM pg_class c JOIN ours n ON n.oid = relnamespace
		WHERE relname NOT LIKE 'bun\_migration%')
	SELECT 'schema ' || nspname FROM ours WHERE nspname <> 'public'
	UNION ALL SELECT 'relation ' || name || ' ' || relkind::text || ' ' || coalesce(reloptions::text, '') FROM relations
	UNION ALL SELECT 'column ' || name || '.' || attname || ' ' || attnum || ' ' || format_type(atttypid, atttypmod) ||
		' ' || attnotnull || ' ' || attidentity::text || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
		FROM relations c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
		LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
	UNION ALL SELECT 'constraint ' || name || ' ' || conname || ' ' || pg_get_constraintdef(k.oid)
		FROM relations c JOIN pg_constraint k ON conrelid = c.oid
	UNION ALL SELECT 'index ' || indexdef FROM pg_indexes JOIN relations ON name = schemaname || '.' || indexname
	UNION ALL SELECT 'trigger ' || name || ' ' || tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
		FROM relations c JOIN pg_trigger t ON tgrelid = c.oid WHERE NOT tgisinternal
	UNION ALL SELECT 'function ' || pg_get_functiondef(p.oid) FROM pg_proc p JOIN ours n ON n.oid = pronamespace
	UNION ALL SELECT 'event trigger ' || evtname || ' ' || evtevent || ' ' || evtenabled::text FROM pg_event_trigger
	UNION ALL SELECT 'type ' || nspname || '.' || typname FROM pg_type y JOIN ours n ON n.oid = typnamespace
		WHERE typrelid = 0 AND typname NOT LIKE '\_bun\_migration%'
	ORDER BY 1`
	var lines []string
	if err := db.NewRaw(catalogs).Scan(t.Context(), &lines); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestUpDownUp_SameSchema(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.EmptyDatabase(t))
	if got := fingerprint(t, db); len(got) != 0 {
		t.Fatalf("before: got %q, want an empty database", got)
	}
	first := up(t, db)
	if len(first) == 0 || !slices.Equal(applied(t, db), first) {
		t.Fatalf("up: got %q applied, %q in the status, want all", first, applied(t, db))
	}
	made := fingerprint(t, db)
	for _, kind := range []string{"schema", "relation", "column", "constraint", "index", "trigger", "function", "event trigger"} {
		if !slices.ContainsFunc(made, func(line string) bool { return strings.HasPrefix(line, kind+" ") }) {
			t.Errorf("fingerprint: got no %s, want the fingerprint to see some", kind)
		}
	}
	if again := up(t, db); len(again) != 0 {
		t.Errorf("up again: got %q, want nothing to do", again)
	}
	if back := down(t, db); !slices.Equal(back, first) {
		t.Errorf("down: got %q taken back, want %q", back, first)
	}
	if got := fingerprint(t, db); len(got) != 0 {
		t.Errorf("after down: got %q, want an empty database", got)
	}
	if got := applied(t, db); len(got) != 0 {
		t.Errorf("status after down: got %q applied, want none", got)
	}
	up(t, db)
	if got := fingerprint(t, db); !slices.Equal(got, made) {
		t.Errorf("after up, down, up: got %q, want %q", diff(got, made), diff(made, got))
	}
}

// diff are the lines of a that b lacks.
func diff(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool { return slices.Contains(b, line) })
}

func TestDown_WithRows(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t))
	exec(t, db, `INSERT INTO profiles (id, handle, name) VALUES (1, 'ann', 'Ann'), (2, 'bob', 'Bob');
		INSERT INTO posts (author_id, title, body, category, language) VALUES (1, 't', 'b', 'food', 'en');
		INSERT INTO follows (follower_id, followee_id) VALUES (1, 2)`)
	down(t, db)
	if got := fingerprint(t, db); len(got) != 0 {
		t.Errorf("after down: got %q, want an empty database", got)
	}
}

func TestUp_ConcurrentCallersApplyOnce(t *testing.T) {
	t.Parallel()
	url := testenv.EmptyDatabase(t)
	type result struct {
		names []string
		err   error
	}
	const callers = 4
	results := make(chan result, callers)
	for range callers {
		db := open(t, url) // as separate processes
		go func() {
			names, err := migrations.Up(context.WithoutCancel(t.Context()), db)
			results <- result{names, err}
		}()
	}
	worked := 0
	for range callers {
		r := <-results
		if r.err != nil {
			t.Errorf("concurrent up: got %v, want no error", r.err)
		}
		if len(r.names) > 0 {
			worked++
		}
	}
	if worked != 1 {
		t.Errorf("callers that applied migrations: got %d, want 1", worked)
	}
}

func TestStatus_NeverMigrated(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.EmptyDatabase(t))
	states, err := migrations.Status(t.Context(), db)
	if err != nil || len(states) == 0 {
		t.Fatalf("status: got %v, %v, want all migrations", states, err)
	}
	if !slices.IsSortedFunc(states, func(a, b migrations.State) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("status: got %v, want the oldest first", states)
	}
	if got := applied(t, db); len(got) != 0 {
		t.Errorf("applied: got %q, want none", got)
	}
	var tables int
	if err := db.NewRaw("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(t.Context(), &tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("tables after asking for the status: got %d, want none", tables)
	}
}

func TestUp_FailedMigrationLeavesTheEarlierOnes(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.EmptyDatabase(t))
	exec(t, db, "CREATE SCHEMA changelog") // in the way of the second
	states, err := migrations.Status(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrations.Up(t.Context(), db); err == nil || !strings.Contains(err.Error(), "changelog") {
		t.Fatalf("up with a schema in the way: got %v, want an error that names it", err)
	}
	if got, want := applied(t, db), []string{states[0].Name}; !slices.Equal(got, want) {
		t.Fatalf("applied: got %q, want %q", got, want)
	}
	exec(t, db, "SELECT * FROM posts; DROP SCHEMA changelog")
	if got, want := len(up(t, db)), len(states)-1; got != want {
		t.Errorf("applied once nothing is in the way: got %d, want the other %d", got, want)
	}
	if got, want := len(down(t, db)), len(states); got != want {
		t.Errorf("taken back in two groups: got %d, want %d", got, want)
	}
}

func TestUp_AfterACallerGaveUp(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.EmptyDatabase(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := migrations.Up(ctx, db); err == nil {
		t.Fatal("up with an ended context: got no error, want one")
	}
	if got := up(t, db); len(got) == 0 {
		t.Errorf("up after it: got nothing applied, want all migrations")
	}
}
