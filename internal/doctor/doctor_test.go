package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/uptrace/bun"

	"freshet/internal/redisconn"
	"freshet/internal/store"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) {
	logging.Disable() // servers that are away are meant to be
	testenv.Main(m)
}

func openDatabase(t *testing.T, url string) *bun.DB {
	t.Helper()
	db, err := store.Open(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func openRedis(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisconn.Open(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func run(t *testing.T, db *bun.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// want looks for the checks that are not fine, and no others, each with a word of what was seen.
func want(t *testing.T, found []Finding, want map[string]string) {
	t.Helper()
	for _, f := range found {
		seen, expected := want[f.Check]
		switch {
		case (f.Level != Fine) != expected:
			t.Errorf("%s: got %s, %s", f.Check, f.Level, f.Seen)
		case expected && (!strings.Contains(f.Seen, seen) || f.Advice == ""):
			t.Errorf("%s: got %q with the advice %q, want %q with some", f.Check, f.Seen, f.Advice, seen)
		}
		delete(want, f.Check)
	}
	for check := range want {
		t.Errorf("%s: got no finding", check)
	}
}

func TestExamine_HealthyButForASequencer(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.Database(t))
	for _, url := range []string{testenv.SharedRedis(t), testenv.SharedCluster(t).URL, testenv.SharedSentinel(t).URL} {
		want(t, Examine(t.Context(), db, openRedis(t, url)), map[string]string{"sequencer": "0 in office"})
	}
}

func TestExamine_SeesFaultsOfRedis(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.EmptyDatabase(t))
	faulty := testenv.Redis(t, map[string]string{"maxmemory": "0", "maxmemory-policy": "noeviction", "save": "3600 1", "replica-serve-stale-data": "yes"})
	client := openRedis(t, faulty.URL)
	expected := map[string]string{
		"migrations": "missing", "redis 1 maxmemory": "0 bytes", "redis 1 maxmemory-policy": "noeviction", "redis 1 persistence": "on",
	}
	want(t, Examine(t.Context(), db, client), expected)
	if err := client.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	found := Examine(t.Context(), db, client)
	if i := slices.IndexFunc(found, func(f Finding) bool { return f.Check == "redis 1 role" }); i < 0 || found[i].Level != Mend {
		t.Errorf("a replica: got %+v, want its role to mend", found)
	}
}

func TestExamine_SeesFaultsOfPostgreSQL(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.Database(t))
	client := openRedis(t, testenv.SharedRedis(t))
	run(t, db,
		"DROP TRIGGER changelog_delete ON posts", "ALTER TABLE likes DISABLE TRIGGER changelog_insert",
		"INSERT INTO changelog.outbox (tag) SELECT 'x:' || n FROM generate_series(1, 10001) n")
	found := Examine(t.Context(), db, client)
	for check, part := range map[string]string{"triggers": "public.posts.changelog_delete is missing", "outbox": "changes wait", "sequencer": "0"} {
		i := slices.IndexFunc(found, func(f Finding) bool { return f.Check == check })
		if i < 0 || found[i].Level != Mend || !strings.Contains(found[i].Seen, part) {
			t.Errorf("%s: got %+v, want %q to mend", check, found, part)
		}
	}
	if i := slices.IndexFunc(found, func(f Finding) bool { return f.Check == "triggers" }); !strings.Contains(found[i].Seen, "likes.changelog_insert is not enabled always") {
		t.Errorf("triggers: got %q, want the one that is switched off too", found[i].Seen)
	}
}

func TestExamine_SeesWhatIsAway(t *testing.T) {
	t.Parallel()
	pg := openDatabase(t, "postgres://nobody:hunter2@127.0.0.1:1/none?sslmode=disable&connect_timeout=1")
	found := Examine(t.Context(), pg, openRedis(t, "redis://:hunter2@127.0.0.1:1"))
	want(t, found, map[string]string{"postgresql": "can't be asked", "redis": "can't be asked"})
	for _, f := range found {
		if strings.Contains(f.Seen+f.Advice, "hunter2") {
			t.Errorf("%s: got %q, which shows a password", f.Check, f.Seen)
		}
	}
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

func TestClock_Differs(t *testing.T) {
	t.Parallel()
	var e examination
	now := time.Now()
	e.clock("near", now, now.Add(time.Second), now)
	e.clock("far", now, now, now.Add(-time.Hour))
	want(t, e.found, map[string]string{"far": "-1h0m0s"})
}
