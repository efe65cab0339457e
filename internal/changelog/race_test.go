package changelog

import (
	"math"
	"testing"
	"time"

	"freshet/cache"
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
		name  string
		wait  bool
		stale bool
	}{
		{"waiting for acknowledgements", true, false},
		{"negative control: answering at once", false, true},
	} {
		cl := newCluster(t)
		cl.beginEpoch(t)
		slow, long := newGate(), grants(!c.wait)
		a := cl.start("a", long)
		b := cl.start("b", func(o *Options) { long(o); slow.options(o) })
		cl.granted(a, b)
		cl.profile(1)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := b.reader(t, "profile:1")
		slow.shut(t, "bulletin")
		slow.reached(t, "bulletin")
		if !c.wait {
			needFresh(t, fresh)
		}
		seen := a.reader(t, "profile:1")
		cl.rename(1)
		if c.wait {
			if err := a.Committed(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			eventually(t, "the writer's own instance sees the change", func() bool { ok, _ := seen(); return !ok })
		}
		if ok, why := fresh(); ok != c.stale {
			t.Errorf("%s: the lagging instance says fresh: got %v %q, want %v", c.name, ok, why, c.stale)
		}
	}
}

// grants makes them last. A negative control needs them to outlive its steps, however busy the machine.
func grants(control bool) func(*Options) {
	return func(o *Options) {
		o.Grant, o.Stuck = 2*time.Second, 300*time.Millisecond
		if control {
			o.Grant = 10 * time.Minute
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
		stale  bool
	}{
		{"with the list of registered instances", false, false},
		{"negative control: with an empty list", true, true},
	} {
		cl := newCluster(t)
		cl.beginEpoch(t)
		first, slow, long := newGate(), newGate(), grants(c.forget)
		a := cl.start("a", func(o *Options) { long(o); first.options(o) })
		eventually(t, "a is sequencer", func() bool { return a.Stats().Office != nil })
		w := cl.start("w", long)
		b := cl.start("b", func(o *Options) { long(o); o.Election = time.Hour; slow.options(o) })
		cl.granted(a, w, b)
		cl.profile(1)
		if err := w.Committed(t.Context()); err != nil {
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
		eventually(t, "w is sequencer", func() bool { return w.Stats().Office != nil })
		if c.forget {
			needFresh(t, fresh)
		}
		cl.rename(1)
		if err := w.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, why := fresh(); ok != c.stale {
			t.Errorf("%s: the lagging instance says fresh: got %v %q, want %v", c.name, ok, why, c.stale)
		}
	}
}

// A grant that does not end is a negative control of the clock: after an instance has been cut off for longer than its
// grant, a writer is answered, and only the grant's end keeps the instance from serving what was replaced.
func TestRace_GrantThatNeverLapses(t *testing.T) {
	t.Parallel()
	for _, never := range []bool{false, true} {
		cl := newCluster(t)
		slow := newGate()
		a := cl.start("a", nil)
		b := cl.start("b", slow.options)
		cl.granted(a, b)
		fresh := b.reader(t, "profile:1")
		slow.shut(t, "bulletin")
		slow.reached(t, "bulletin")
		if never {
			b.log.Grant(b.log.Position(), math.MaxInt64)
		}
		cl.profile(1)
		if err := a.Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, why := fresh(); ok != never {
			t.Errorf("grant without end %v: the instance says fresh: got %v %q, want %v", never, ok, why, never)
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
