package changelog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"freshet/cache"
	"freshet/internal/testenv"
)

// claim takes office by hand, on a session of its own, also if another holds the lock: as behind a pooler that shares
// sessions, or with a PostgreSQL that has lost the lock.
func (c *cluster) claim(t testing.TB, name string) (*sql.Conn, *term) {
	t.Helper()
	conn, err := c.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	term, _, err := take(t.Context(), conn, name)
	if err != nil || term == nil {
		t.Fatalf("take: got %v, error %v, want a term", term, err)
	}
	if _, err := conn.ExecContext(t.Context(), "SELECT pg_advisory_unlock_all()"); err != nil {
		t.Fatal(err)
	}
	return conn, term
}

func TestRound_ZombieFailsAndMovesNothing(t *testing.T) {
	t.Parallel()
	for name, depose := range map[string]string{
		"another term":  "UPDATE changelog.log_head SET term = term + 1",
		"another epoch": "UPDATE changelog.log_head SET epoch = epoch + 1",
	} {
		c := newCluster(t)
		conn, zombie := c.claim(t, "zombie")
		mustExec(t, c.db, depose)
		if _, _, err := zombie.round(t.Context(), 10); !errors.Is(err, errDeposed) {
			t.Errorf("%s, empty outbox: got error %v, want %v", name, err, errDeposed)
		}
		c.profile(1)
		if _, _, err := zombie.round(t.Context(), 10); err == nil {
			t.Errorf("%s: a zombie's round: got no error, want one", name)
		}
		if got := queryValue[int](t, c.db, "SELECT count(*) FROM changelog.outbox"); got != 2 {
			t.Errorf("%s: outbox rows after a zombie's round: got %d, want 2", name, got)
		}
		if got := queryValue[int](t, c.db, "SELECT count(*) FROM changelog.log"); got != 0 {
			t.Errorf("%s: log rows after a zombie's round: got %d, want 0", name, got)
		}
		conn.Close()
	}
}

// A zombie's round waits for the row that its successor is just taking.
func TestRound_TakeOverDuringTheStatement(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	conn, zombie := c.claim(t, "zombie")
	defer conn.Close()
	c.profile(1)
	tx, err := c.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "UPDATE changelog.log_head SET term = term + 1"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := zombie.round(context.WithoutCancel(t.Context()), 10)
		done <- err
	}()
	c.waiting(t)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("a round across a take-over: got no error, want one")
	}
	if got := queryValue[int](t, c.db, "SELECT count(*) FROM changelog.outbox"); got != 2 {
		t.Errorf("outbox rows: got %d, want 2", got)
	}
}

// waiting waits until a session of the database waits for a lock.
func (c *cluster) waiting(t testing.TB) {
	t.Helper()
	testenv.Eventually(t, "a session waits for a lock", func() bool {
		return queryValue[int](t, c.db, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	})
}

func (c *cluster) killSequencer(t testing.TB) {
	t.Helper()
	mustExec(t, c.db, `SELECT pg_terminate_backend(l.pid) FROM pg_locks l
		WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

// checkLog compares the log with what was written: each profile's tag, and positions without a gap.
func (c *cluster) checkLog(t testing.TB, profiles int) {
	t.Helper()
	testenv.Eventually(t, "the outbox is empty", func() bool {
		return queryValue[int](t, c.db, "SELECT count(*) FROM changelog.outbox") == 0
	})
	if got := queryValue[int](t, c.db, "SELECT count(DISTINCT tag) FROM changelog.log, unnest(tags) tag WHERE tag LIKE 'profile:%'"); got != profiles {
		t.Errorf("profiles in the log: got %d, want %d", got, profiles)
	}
	if dense := queryValue[bool](t, c.db, `SELECT coalesce(bool_and(after = before), true) FROM (
		SELECT after, sum(cardinality(tags)) OVER (ORDER BY after) - cardinality(tags) AS before FROM changelog.log) l`); !dense {
		t.Error("positions: got gaps, want 1 to the head")
	}
}

// The sequencer's session is killed before and after each statement, and while its messages are under way.
func TestSequencer_KilledAnywhereLosesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	g := newGate()
	// One instance: whoever takes over is the same one, and every step is its own.
	a := c.start("a", g.options)
	c.granted(a)
	profiles := 0
	for range 3 {
		for _, step := range []string{"round", "moved", "publish"} {
			open := g.shut(t, step)
			profiles++
			c.profile(profiles)
			g.reached(t, step)
			c.killSequencer(t)
			profiles++
			c.profile(profiles)
			open()
			if err := a.Committed(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.checkLog(t, profiles)
	c.grantedAnew(a)
}

// The session is killed within its statement, after it has deleted from the outbox and before it can write the log.
func TestSequencer_KilledWithinTheRound(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.start("a", nil)
	c.granted(a)
	tx, err := c.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE changelog.log IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	c.profile(1)
	c.waiting(t)
	c.killSequencer(t)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	c.checkLog(t, 1)
	c.grantedAnew(a)
}

// A sequencer stops at work with its lock held. PostgreSQL shows it, another takes over, and when it comes back it fails.
func TestSequencer_StuckWithItsLock(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"round", "moved", "publish"} {
		c := newCluster(t)
		g := newGate()
		a := c.start("a", g.options)
		c.granted(a)
		open := g.shut(t, step)
		c.profile(1)
		g.reached(t, step)
		fresh := a.reader(t, "profile:1")
		b := c.start("b", impatient)
		c.inOffice(b)
		c.profile(2)
		c.rename(1)
		if err := b.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, why := fresh(); ok {
			t.Errorf("stuck at %s, after the answer: the old sequencer's instance says fresh %q", step, why)
		}
		open()
		testenv.Eventually(t, "a has given up", func() bool { return a.Stats().Office == nil })
		c.checkLog(t, 2)
		c.grantedAnew(a, b)
	}
}

// impatient has an instance end the session of a sequencer as soon as that does nothing.
func impatient(o *Options) { o.Stuck, o.Election = time.Millisecond, 10*time.Millisecond }

// A transaction that stays open holds up neither the log nor other writers, and its own tags come when it commits.
func TestSequencer_TransactionLeftOpen(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.start("a", nil)
	c.granted(a)
	tx, err := c.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "INSERT INTO profiles (id, handle, name) VALUES (1, 'open', '')"); err != nil {
		t.Fatal(err)
	}
	for id := 2; id < 12; id++ {
		fresh := a.reader(t, fmt.Sprint("profile:", id))
		c.profile(id)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, why := fresh(); ok || why != "tag" {
			t.Errorf("profile %d: got fresh %v %q, want false \"tag\"", id, ok, why)
		}
	}
	testenv.Eventually(t, "operators see the open transaction", func() bool {
		office := a.Stats().Office
		return office != nil && office.OldestTransaction > 0
	})
	fresh := a.reader(t, "profile:1")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := a.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, why := fresh(); ok || why != "tag" {
		t.Errorf("after the late commit: got fresh %v %q, want false \"tag\"", ok, why)
	}
	c.checkLog(t, 11)
}

// With the sequencer away, writes go on. What has piled up is moved in batches of bounded size, and nobody is granted
// before all of it is.
func TestSequencer_Backlog(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	const rows, batch = 4000, 20
	mustExec(t, c.db, "INSERT INTO changelog.outbox (tag) SELECT 'post:' || n FROM generate_series(1, $1::int) n", rows)
	g := newGate()
	a := c.start("a", func(o *Options) { g.options(o); o.Batch = batch })
	c.granted(a)
	if got, want := a.log.Position().At, uint64(rows); got != want {
		t.Errorf("applied when granted: got %d, want %d", got, want)
	}
	if got, want := g.count("moved"), rows/(10*batch)+1; got < want {
		t.Errorf("rounds: got %d, want at least %d", got, want)
	}
	c.checkLog(t, 0)
}

// In a new epoch, instances that no list names may hold grants of the one before: no writer is answered until those have
// ended by the sequencer's clock.
func TestSequencer_NewEpochWaitsForUnknownGrants(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	conn, term := c.claim(t, "seq")
	defer conn.Close()
	now := time.Duration(0)
	o := Options{Log: cache.NewLog(func() time.Duration { return now }), Grant: 500 * time.Millisecond}.withDefaults()
	for _, newEpoch := range []bool{false, true} {
		now = time.Hour
		term.newEpoch = newEpoch
		s := &sequencer{o: &o, term: term, head: cache.Position{Epoch: 1, At: 100}}
		if err := s.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		early := uint64(100)
		if newEpoch {
			early = 0
		}
		now += o.patience() - 1
		if got := s.settled(); got != early {
			t.Errorf("new epoch %v, while grants may live: got settled %d, want %d", newEpoch, got, early)
		}
		now++
		if got := s.settled(); got != 100 {
			t.Errorf("new epoch %v, when none can: got settled %d, want 100", newEpoch, got)
		}
	}
}

func TestSequencer_RefusesWhoIsFarBehind(t *testing.T) {
	t.Parallel()
	o := Options{Log: cache.NewLog(nil), MaxLag: 10}.withDefaults()
	s := &sequencer{o: &o, head: cache.Position{Epoch: 1, At: 100}, members: map[string]*member{}}
	s.hear(ask{From: "near", N: 7, Epoch: 1, Applied: 90, Renew: true})
	s.hear(ask{From: "far", N: 8, Epoch: 1, Applied: 89, Renew: true})
	s.hear(ask{From: "elsewhere", N: 9, Epoch: 2, Applied: 100, Renew: true})
	var b bulletin
	if err := s.answer(&b); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]answer{"near": {7, 7}, "far": {8, 0}, "elsewhere": {9, 0}} {
		if got := b.Answers[id]; got != want {
			t.Errorf("answer to %s: got %+v, want %+v", id, got, want)
		}
	}
	if got := s.settled(); got != 90 {
		t.Errorf("settled: got %d, want 90, which all who may hold a grant have applied", got)
	}
}

// Operators see which instance keeps writers waiting, and for how long it has been behind.
func TestSequencer_TellsWhoIsBehind(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	slow := newGate()
	a := c.start("a", nil)
	c.inOffice(a)
	b := c.start("b", slow.options)
	c.granted(a, b)
	slow.shut(t, "bulletin")
	slow.reached(t, "bulletin")
	c.profile(1)
	testenv.Eventually(t, "b is behind, and a is not", func() bool {
		office := a.Stats().Office
		behind, there := office.Instances[b.id]
		return there && behind.Positions == 2 && behind.For > 0 && office.Instances[a.id] == Lag{}
	})
}
