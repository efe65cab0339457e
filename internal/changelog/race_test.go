package changelog

import (
	"math"
	"testing"
	"time"

	"freshet/cache"
	"freshet/internal/testenv"
)

// The value is read before a change and stored after it was answered. It must carry a position from before the read.
func TestRace_StaleWriteBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after bool // the negative control: the position is sampled after the read
		stale bool
	}{
		{"as of before the read", false, false},
		{"as of after the read", true, true},
	} {
		cl := newCluster(t)
		a := cl.start("a", nil)
		cl.granted(a)
		cl.profile(1)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		asOf, _ := a.log.AsOf()
		value := queryValue[string](t, cl.db, "SELECT name FROM profiles WHERE id = 1")
		cl.rename(1)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.after {
			asOf, _ = a.log.AsOf()
		}
		now := queryValue[string](t, cl.db, "SELECT name FROM profiles WHERE id = 1")
		fresh, _ := a.log.Fresh(asOf, a.log.Tags([]string{"profile:1"}))
		if stale := fresh && value != now; stale != c.stale {
			t.Errorf("%s: got stale %v, want %v", c.name, stale, c.stale)
		}
	}
}

// An instance has a grant, and does not get on with applying. A writer's answer must wait until its grant is over.
func TestRace_InstanceThatLagsBehind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		wait, never bool // the writer waits; the grant does not end
		stale       bool
	}{
		{"waiting for acknowledgements", true, false, false},
		{"negative control: answering at once", false, false, true},
		{"negative control: a grant without end", true, true, true},
	} {
		cl := newCluster(t)
		if c.wait {
			cl.shortGrants()
		}
		slow := newGate()
		a, b := cl.start("a", nil), cl.start("b", slow.options)
		cl.granted(a, b)
		cl.profile(1)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := b.reader(t, "profile:1")
		slow.shut(t, "bulletin")
		slow.reached(t, "bulletin")
		if c.never {
			b.log.Grant(b.log.Position(), math.MaxInt64)
		}
		if c.stale {
			needFresh(t, fresh)
		}
		seen := a.reader(t, "profile:1")
		cl.rename(1)
		if c.wait {
			if err := a.Committed(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			testenv.Eventually(t, "the writer's own instance sees the change", func() bool { ok, _ := seen(); return !ok })
		}
		if ok, why := fresh(); ok != c.stale {
			t.Errorf("%s: the lagging instance says fresh: got %v %q, want %v", c.name, ok, why, c.stale)
		}
	}
}

// needFresh makes sure that a test is about to break something.
func needFresh(t testing.TB, fresh func() (bool, string)) {
	t.Helper()
	if ok, why := fresh(); !ok {
		t.Fatalf("before the change: got fresh %v %q, want true", ok, why)
	}
}

// The sequencer dies after it has granted an instance that lags. Its successor must know of that grant.
func TestRace_TakeOverWhileAnInstanceLags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		forget bool
	}{
		{"with the list of registered instances", false},
		{"negative control: with an empty list", true},
	} {
		cl := newCluster(t)
		first, slow := newGate(), newGate()
		a := cl.start("a", first.options)
		cl.inOffice(a)
		b := cl.start("b", func(o *Options) { o.Election = time.Hour; slow.options(o) })
		cl.granted(a, b)
		cl.profile(1)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := b.reader(t, "profile:1")
		for _, step := range []string{"bulletin", "ask"} { // neither does it get on, nor is it heard
			slow.shut(t, step)
			slow.reached(t, step)
		}
		if c.forget {
			mustExec(t, cl.db, "DELETE FROM changelog.instances")
		}
		first.shut(t, "round")
		first.reached(t, "round")
		w := cl.start("w", impatient)
		cl.inOffice(w)
		needFresh(t, fresh)
		seen := a.reader(t, "profile:1")
		cl.rename(1)
		answered := w.writes(t)
		testenv.Eventually(t, "the other instance sees the change", func() bool { ok, _ := seen(); return !ok })
		if c.forget {
			testenv.Eventually(t, c.name+": the writer is answered", answered)
			needFresh(t, fresh) // as it must not be
			continue
		}
		if answered() {
			t.Errorf("%s, while the lagging instance holds a grant: got the writer answered, want it to wait", c.name)
		}
		b.clock.set(b.Grant)
		w.clock.set(w.patience())
		testenv.Eventually(t, c.name+": the writer is answered", answered)
		if ok, why := fresh(); ok {
			t.Errorf("%s: the lagging instance says fresh: got %v %q, want false", c.name, ok, why)
		}
	}
}

// A renewal is answered after a round that began later. Whatever was committed before the renewal is in the log then, so
// a grant taken from it cannot hide the change, even if all messages about the change itself are lost.
func TestRace_GrantCoversWhatWasCommittedBefore(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	conn, first := c.claim(t, "seq")
	defer conn.Close()
	log := cache.NewLog(nil)
	o := Options{DB: c.db, Redis: c.redisClient(c.redis), Log: log}.withDefaults()
	tail := newTail(&o, "i")
	if err := tail.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := log.Position()
	stale := log.Tags([]string{"profile:1"})
	c.profile(1)
	a := tail.next(true)
	if _, _, err := first.round(t.Context(), 100); err != nil { // its bulletin is lost
		t.Fatal(err)
	}
	moved, drained, err := first.round(t.Context(), 100)
	if err != nil || !drained {
		t.Fatalf("second round: got drained %v, error %v, want true, nil", drained, err)
	}
	b := bulletin{Epoch: moved.after.Epoch, After: moved.after.At, Tags: moved.tags, Answers: map[string]answer{"i": {N: a.N, Grant: a.N}}}
	if !tail.follow(t.Context(), &b) {
		t.Fatal("follow: got false, want the gap read from PostgreSQL")
	}
	tail.take(&b)
	if _, granted := log.AsOf(); !granted {
		t.Fatal("got no grant")
	}
	if ok, why := log.Fresh(at, stale); ok || why != "tag" {
		t.Errorf("changed before the grant: got fresh %v %q, want false \"tag\"", ok, why)
	}
}
