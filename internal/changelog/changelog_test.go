package changelog

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"freshet/cache"
)

// Grants do not end here: a writer is answered because every instance has acknowledged its change, and only then.
func TestCommitted_NoInstanceServesWhatWasReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	instances := []*instance{c.start("a", nil), c.start("b", nil), c.start("c", nil)}
	c.granted(instances...)
	c.profile(1)
	if err := instances[0].Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		var readers []func() (bool, string)
		for _, i := range instances {
			readers = append(readers, i.reader(t, "profile:1"))
		}
		c.rename(1)
		if err := instances[n%3].Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, fresh := range readers {
			if ok, why := fresh(); ok || why != "tag" {
				t.Fatalf("instance %d after change %d: got fresh %v %q, want false \"tag\"", i, n, ok, why)
			}
		}
	}
	for _, i := range instances {
		if got := i.Stats().Lapsed; got != 0 {
			t.Errorf("changes of %s that waited for grants to end: got %d, want none", i.Name, got)
		}
	}
}

// pass has the time of a synctest bubble pass, and all in it that is due be done.
func pass(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}

// Without a word from the sequencer a writer waits for exactly as long as a grant from before may live.
func TestCommitted_WithoutAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Log: cache.NewLog(nil), Grant: 500 * time.Millisecond})
		done := make(chan error, 1)
		go func() { done <- n.Committed(t.Context()) }()
		pass(505*time.Millisecond - 1)
		if got := n.Stats(); len(done) > 0 || got.Waited != 1 || got.Lapsed != 0 {
			t.Errorf("before a grant has ended by the slowest clock: got %+v, answered %v, want the writer to wait", got, len(done) > 0)
		}
		pass(1)
		if got := n.Stats(); len(done) != 1 || got.Lapsed != 1 {
			t.Fatalf("then: got %+v, answered %v, want the writer to be answered", got, len(done) > 0)
		}
		if err := <-done; err != nil {
			t.Errorf("got %v, want no error", err)
		}
		given, giveUp := context.WithCancel(t.Context())
		giveUp()
		if err := n.Committed(given); err == nil {
			t.Error("a writer that gave up: got no error, want that of its context")
		}
	})
}

// A grant counts from when it was asked for, by the instance's own clock, however late the answer comes.
func TestTail_GrantCountsFromTheAsk(t *testing.T) {
	t.Parallel()
	now := time.Hour
	log := cache.NewLog(func() time.Duration { return now })
	log.Reset(cache.Position{Epoch: 1, At: 7})
	o := Options{Log: log, Grant: 500 * time.Millisecond}.withDefaults()
	tail := newTail(&o, "i")
	take := func(grant uint64) {
		tail.take(&bulletin{Epoch: 1, After: 7, Answers: map[string]answer{"i": {N: grant, Grant: grant}}})
	}
	want := func(what string, want bool) {
		t.Helper()
		if _, got := log.AsOf(); got != want {
			t.Errorf("%s: got a grant %v, want %v", what, got, want)
		}
	}
	first := tail.next(true)
	want("before an answer", false)
	now += o.Grant - 1
	take(first.N)
	want("the answer just in time", true)
	now++
	want("when a grant's time after the ask has passed", false)
	late := tail.next(true)
	now += o.Grant
	take(late.N)
	want("the answer too late", false)
	take(first.N)
	want("an answer that was had already", false)
}
