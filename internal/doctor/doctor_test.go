package doctor

import (
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

func openSentinels(t *testing.T, url string) *redisconn.Sentinels {
	t.Helper()
	s, err := redisconn.OpenSentinels(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func run(t *testing.T, db *bun.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// expected is a finding that is not fine, by a word of what was seen and one of how to mend it.
type expected struct {
	level        Level
	seen, advice string
}

func (x expected) is(f Finding) bool {
	return f.Level == x.level && strings.Contains(f.Seen, x.seen) && x.advice != "" && strings.Contains(f.Advice, x.advice)
}

// want looks for findings that are not fine, and no others.
func want(t *testing.T, found []Finding, want map[string]expected) {
	t.Helper()
	for _, f := range found {
		x, meant := want[f.Check]
		if (f.Level != Fine) != meant || meant && !x.is(f) {
			t.Errorf("%s: got %+v, want %+v", f.Check, f, x)
		}
		delete(want, f.Check)
	}
	for check := range want {
		t.Errorf("%s: got no finding", check)
	}
}

// noSequencer is what every test without a running instance finds.
func noSequencer(more map[string]expected) map[string]expected {
	if more == nil {
		more = map[string]expected{}
	}
	more["sequencer"] = expected{Mend, "0 in office", "freshet serve"}
	return more
}

func TestExamine_HealthyButForASequencer(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.Database(t))
	for _, url := range []string{testenv.SharedRedis(t), testenv.SharedCluster(t).URL, testenv.SharedSentinel(t).URL} {
		want(t, examine(t.Context(), Deployment{DB: db, Redis: openRedis(t, url), Sentinels: openSentinels(t, url)}, patient()), noSequencer(nil))
	}
}

func TestExamine_SeesWhatIsAway(t *testing.T) {
	t.Parallel()
	pg := openDatabase(t, "postgres://nobody:hunter2@127.0.0.1:1/none?sslmode=disable&connect_timeout=1")
	found := Examine(t.Context(), Deployment{DB: pg, Redis: openRedis(t, "redis://:hunter2@127.0.0.1:1")})
	want(t, found, map[string]expected{
		"postgresql": {Away, "can't be asked", "DATABASE_URL"}, "redis": {Away, "can't be asked", "REDIS_URL"},
	})
	for _, f := range found {
		if strings.Contains(f.Seen+f.Advice, "hunter2") {
			t.Errorf("%s: got %q, which shows a password", f.Check, f.Seen)
		}
	}
}

// patient timing calls nothing late, and waits until it knows.
func patient() timing {
	return timing{move: 10 * time.Millisecond, late: waitLong, catchUp: waitLong, pooler: waitLong}
}

// waitLong is for budgets that are no part of what a test is about: only a hang reaches it.
const waitLong = 5 * time.Minute

// A server may tell its time at any moment of a round trip, and those are long on a busy machine.
func TestClock_DiffersByMoreThanTheRoundTripExplains(t *testing.T) {
	t.Parallel()
	before := time.Now()
	after := before.Add(10 * time.Second)
	for server, want := range map[time.Time]Level{
		before: Fine, after: Fine, before.Add(-time.Second): Fine, after.Add(time.Second): Fine,
		before.Add(-1001 * time.Millisecond): Warning, after.Add(1001 * time.Millisecond): Warning,
	} {
		e := &examination{}
		e.clock("clock", before, after, server)
		if got := e.found[0].Level; got != want {
			t.Errorf("%s after a round trip of 10 s began: got %s, want %s", server.Sub(before), got, want)
		}
	}
}
