package changelog

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"freshet/cache"
	"freshet/internal/testenv"
)

// An instance that starts can prove what others have cached before, as far back as the log is kept.
func TestTail_NewInstanceReadsTheWindow(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.start("a", nil)
	c.granted(a)
	start := a.log.Position()
	c.profile(1)
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	middle := a.log.Position()
	c.profile(2)
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := c.start("b", nil)
	c.granted(b)
	mustExec(t, c.db, "DELETE FROM changelog.log WHERE after < $1", int64(middle.At))
	d := c.start("d", nil)
	c.granted(d)
	for _, k := range []struct {
		i    *instance
		asOf cache.Position
		tag  string
		want string
	}{
		{b, start, "profile:1", "tag"},
		{b, middle, "profile:1", ""},
		{b, middle, "profile:2", "tag"},
		{b, start, "profile:3", ""},
		{d, start, "profile:3", "floor"},
		{d, middle, "profile:1", ""},
		{d, middle, "profile:2", "tag"},
	} {
		if _, why := k.i.log.Fresh(k.asOf, k.i.log.Tags([]string{k.tag})); why != k.want {
			t.Errorf("%s: %s as of %v: got %q, want %q", k.i.Name, k.tag, k.asOf, why, k.want)
		}
	}
}

// An instance that was away for longer than the log is kept begins anew, and refuses what it cannot prove.
func TestTail_GapBeyondTheWindow(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.redis = testenv.Redis(t, nil).URL
	g := newGate()
	a := c.start("a", nil)
	b := c.start("b", g.options)
	c.granted(a, b)
	old := b.log.Position()
	open := g.shut(t, "bulletin")
	g.reached(t, "bulletin")
	for id := range 3 {
		seen := a.reader(t, fmt.Sprint("profile:", id+1))
		c.profile(id + 1)
		testenv.Eventually(t, "a has applied the change", func() bool { ok, _ := seen(); return !ok })
	}
	mustExec(t, c.db, "DELETE FROM changelog.log WHERE after < (SELECT max(after) FROM changelog.log)")
	// The messages that b has missed are gone, too.
	if err := c.redisClient(c.redis).ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	open()
	testenv.Eventually(t, "b has caught up", func() bool { return b.log.Position().At >= a.log.Position().At })
	c.granted(b)
	if ok, why := b.log.Fresh(old, b.log.Tags([]string{"profile:1"})); ok {
		t.Errorf("as of before the gap: got fresh %v %q, want false", ok, why)
	}
}

// Whoever follows the changes hears of each once, also of those whose messages were lost.
func TestTail_TellsOfEachChange(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	conn, term := c.claim(t, "seq")
	defer conn.Close()
	var told []string
	o := Options{DB: c.db, Redis: c.redisClient(c.redis), Log: cache.NewLog(nil), Applied: func(tags []string) {
		told = append(told, tags...)
	}}.withDefaults()
	tail := newTail(&o, "i")
	move := func(tag string) *bulletin {
		mustExec(t, c.db, "INSERT INTO changelog.outbox (tag) VALUES ($1)", tag)
		moved, _, err := term.round(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		return &bulletin{Epoch: moved.after.Epoch, After: moved.after.At, Tags: moved.tags}
	}
	check := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: got told of %q, want %q", what, told, want)
		}
		told = nil
	}
	move("post:1")
	if err := tail.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("what was there at the start")
	move("post:2")
	move("post:3")
	last := move("post:4")
	tail.follow(t.Context(), last)
	check("two lost messages and one that came", "post:2", "post:3", "post:4")
	tail.follow(t.Context(), last)
	check("a message that came twice")
	move("post:5")
	move("post:6")
	mustExec(t, c.db, "DELETE FROM changelog.log WHERE tags = '{post:5}'")
	tail.follow(t.Context(), move("post:7"))
	check("a gap beyond the window", "*")
}

// Shutting down gives the grant back, so that nobody waits for its end.
func TestRun_GivesTheGrantBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.start("a", nil)
	c.inOffice(a)
	b := c.start("b", nil)
	c.granted(a, b)
	fresh := b.reader(t, "profile:1")
	b.stop()
	if ok, why := fresh(); ok || why != "grant" {
		t.Errorf("after Run: got fresh %v %q, want false \"grant\"", ok, why)
	}
	c.profile(1)
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.Stats(); got.Lapsed != 0 || got.Waited != 1 {
		t.Errorf("changes waited for, and for grants to end: got %d, %d, want 1, 0", got.Waited, got.Lapsed)
	}
}

// PostgreSQL is restored, or fails over: positions could mean other changes now.
func TestEpoch_Changes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, disaster string }{
		{"another timeline or cluster", "UPDATE changelog.log_head SET cluster = 'elsewhere'"},
		{"positions went back", "WITH gone AS (DELETE FROM changelog.log) UPDATE changelog.log_head SET position = 1"},
	} {
		cl := newCluster(t)
		a, b := cl.start("a", nil), cl.start("b", nil)
		cl.granted(a, b)
		cl.profile(1)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := a.log.Position()
		fresh := b.reader(t, "profile:2")
		mustExec(t, cl.db, c.disaster)
		// The new sequencer must see it before it gives out the lost positions again.
		mustExec(t, cl.db, "INSERT INTO changelog.outbox (tag) SELECT 'post:' || n FROM generate_series(1, 9) n")
		cl.killSequencer(t)
		testenv.Eventually(t, c.name+": another epoch, with grants", func() bool {
			at, granted := b.log.AsOf()
			other, _ := a.log.AsOf()
			return granted && at.Epoch != before.Epoch && other.Epoch == at.Epoch
		})
		if ok, why := fresh(); ok || why != "epoch" {
			t.Errorf("%s: an entry of before: got fresh %v %q, want false \"epoch\"", c.name, ok, why)
		}
		again := b.reader(t, "profile:1")
		cl.rename(1)
		answered := a.writes(t)
		if answered() {
			t.Errorf("%s: a writer, while unknown instances may hold grants of before: got an answer, want none", c.name)
		}
		a.clock.set(a.patience())
		b.clock.set(b.patience()) // one of them is the sequencer
		testenv.Eventually(t, c.name+": the writer is answered", answered)
		if ok, why := again(); ok {
			t.Errorf("%s: a change in the new epoch: got fresh %v %q, want false", c.name, ok, why)
		}
	}
}

// With Redis gone, writers are answered once no grant can live, the outbox is worked off, and caches are left alone.
func TestRedis_KilledAndBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.shortGrants()
	server := testenv.Redis(t, nil)
	c.redis = server.URL
	a, b := c.start("a", nil), c.start("b", nil)
	c.granted(a, b)
	fresh := b.reader(t, "profile:1")
	server.Kill()
	<-server.Done()
	c.profile(1)
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, why := fresh(); ok {
		t.Errorf("after an answer without Redis: got fresh %v %q, want false", ok, why)
	}
	c.checkLog(t, 1)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.granted(a, b)
	if ok, why := fresh(); ok || why != "tag" {
		t.Errorf("with Redis back: got fresh %v %q, want false \"tag\"", ok, why)
	}
}

func TestRedis_PausedDuringAWrite(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.shortGrants()
	server := testenv.Redis(t, nil)
	c.redis = server.URL
	a, b := c.start("a", nil), c.start("b", nil)
	c.granted(a, b)
	fresh := b.reader(t, "profile:1")
	server.Pause()
	c.profile(1)
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, why := fresh(); ok {
		t.Errorf("after an answer while Redis stood still: got fresh %v %q, want false", ok, why)
	}
	server.Resume()
	c.grantedAnew(a, b)
}

// A sequencer on a Redis that has become a replica would speak where nobody listens.
func TestRedis_Demoted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	server := testenv.Redis(t, nil)
	c.redis = server.URL
	a := c.start("a", func(o *Options) { o.Election = 10 * time.Millisecond })
	c.granted(a)
	admin := c.redisClient(server.URL)
	if err := admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the sequencer gives up its office", func() bool { return a.Stats().Office == nil })
	if err := admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	c.grantedAnew(a)
}

func TestPostgres_RestartedInTheMiddle(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t, nil)
	c := &cluster{t: t, db: openPool(t, server.URL), redis: testenv.SharedRedis(t), service: t.Name()}
	c.shortGrants()
	migrateUp(t, c.db)
	c.db.SetMaxIdleConns(-1) // a connection from before the restart would fail the test's own statement
	a, b := c.start("a", nil), c.start("b", nil)
	c.granted(a, b)
	c.profile(1)
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.log.Position()
	fresh := b.reader(t, "profile:2")
	server.Kill()
	<-server.Done()
	testenv.Eventually(t, "grants have ended", func() bool { _, ok := b.log.AsOf(); return !ok })
	if _, why := fresh(); why != "grant" {
		t.Errorf("without PostgreSQL: got %q, want \"grant\": unchanged, as far as is known", why)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.granted(a, b)
	if got := b.log.Position().Epoch; got != before.Epoch {
		t.Errorf("epoch after a restart: got %d, want %d as before", got, before.Epoch)
	}
	if ok, why := fresh(); !ok {
		t.Errorf("unchanged since before the restart: got fresh %v %q, want true", ok, why)
	}
	c.rename(1)
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.checkLog(t, 1)
}

func TestPrune_KeepsTheWindow(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	conn, term := c.claim(t, "seq")
	defer conn.Close()
	for range 50 {
		mustExec(t, c.db, "INSERT INTO changelog.outbox (tag) VALUES ('post:1'), ('post:2')")
		if _, _, err := term.round(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, c.db, "UPDATE changelog.log SET moved_at = now() - interval '1 hour' WHERE after < 10")
	mustExec(t, c.db, "INSERT INTO changelog.log (epoch, after, tags) SELECT 0, n, '{old:1}' FROM generate_series(1, 50) n")
	for _, k := range []struct {
		size int
		want string
	}{{1000, "45 from 10"}, {40, "20 from 60"}} {
		o := Options{DB: c.db, WindowSize: k.size}.withDefaults()
		if err := prune(t.Context(), &o, 7); err != nil {
			t.Fatal(err)
		}
		got := queryValue[string](t, c.db, "SELECT count(*) || ' from ' || min(after) FROM changelog.log")
		if got != k.want {
			t.Errorf("batches of 2 in a window of 15 minutes and %d positions: got %s, want %s", k.size, got, k.want)
		}
	}
}

// Ids of transactions that are done with are not looked at again, and none is skipped that may still commit.
func TestRound_SkipsWhatIsDone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	conn, term := c.claim(t, "seq")
	defer conn.Close()
	early, err := c.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := early.ExecContext(t.Context(), "INSERT INTO changelog.outbox (tag) VALUES ('post:1')"); err != nil {
		t.Fatal(err)
	}
	var id string
	if err := early.QueryRowContext(t.Context(), "SELECT pg_current_xact_id()::text").Scan(&id); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		mustExec(t, c.db, "INSERT INTO changelog.outbox (tag) VALUES ($1)", fmt.Sprint("post:", n+2))
		if _, drained, err := term.round(t.Context(), 100); err != nil || !drained {
			t.Fatalf("round: got drained %v, error %v, want true, nil", drained, err)
		}
	}
	if err := early.Commit(); err != nil {
		t.Fatal(err)
	}
	moved, _, err := term.round(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(moved.tags) != 1 || moved.tags[0] != "post:1" || moved.after.At != 3 {
		t.Errorf("the late commit: got %v after %d, want [post:1] after 3", moved.tags, moved.after.At)
	}
	// Transactions of other tests, in other databases of the server, count until they end.
	testenv.Eventually(t, "the late commit's transaction id is done with", func() bool {
		if _, _, err := term.round(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		return queryValue[bool](t, c.db, "SELECT $1::text::xid8 > $2::text::xid8", term.low, id)
	})
}
