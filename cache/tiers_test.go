package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"freshet/internal/testenv"
)

// withLocal gives the rig a tier in memory.
func (r *rig) withLocal() *rig {
	r.cache.local = newLocal(1 << 20)
	return r
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) value(key int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rows[key]
}

func TestLocal_HitsWithoutARoundTrip(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t)).withLocal()
	k := r.kind()
	r.write(1, "one")
	want := map[int]string{1: "one"}
	r.want(k, want, 1, 2) // loads and fills Redis
	r.want(k, want, 1, 2) // fills memory
	before := r.trips.Load()
	r.want(k, want, 1, 2)
	if b := r.last(); b.LocalHits != 2 || b.Hits != 0 || r.trips.Load() != before {
		t.Errorf("third read: got %+v and %d round trips, want 2 local hits and none", b, r.trips.Load()-before)
	}
	r.commit(2, "two")
	r.want(k, map[int]string{1: "one", 2: "two"}, 1, 2)
	if b := r.last(); b.LocalHits != 1 || b.Misses[staleTag] != 1 {
		t.Errorf("after a change of one: got %+v, want 1 local hit and 1 stale", b)
	}
	r.log.Revoke()
	r.want(k, map[int]string{1: "one", 2: "two"}, 1, 2)
	if b := r.last(); b.LocalHits != 0 || b.Loaded != 2 {
		t.Errorf("without a grant: got %+v, want both loaded", b)
	}
}

func TestLocal_ForgottenAndExpired(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t)).withLocal()
	o := r.options()
	o.Tags = nil
	k := NewKind(r.cache, o)
	r.write(1, "one")
	for range 3 {
		r.want(k, map[int]string{1: "one"}, 1)
	}
	r.write(1, "two")
	k.Forget(t.Context(), 1)
	for range 3 {
		r.want(k, map[int]string{1: "two"}, 1)
	}
	r.write(1, "three")
	r.pass(o.TTL)
	r.want(k, map[int]string{1: "three"}, 1)
}

// Wall clocks that differ by days, and step, make nothing stale: what the log checks knows no wall clock, and the rest lives
// no longer in memory than its TTL from when it was read.
func TestClocks_DifferAndStep(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, apart := range []time.Duration{-day, 0, day} {
		url := testenv.SharedRedis(t)
		a, b := newRig(t, url), newRig(t, url).withLocal()
		if err := a.redis.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		a.pass(apart)
		ttl := a.options()
		ttl.Tags, ttl.Name = nil, "count"
		ka, kb := NewKind(a.cache, ttl), NewKind(b.cache, KindOptions[int, string]{Name: "count", TTL: ttl.TTL, Key: ttl.Key, Load: b.load})
		tagged := b.kind()
		for _, r := range []*rig{a, b} {
			r.write(1, "one")
		}
		a.want(ka, map[int]string{1: "one"}, 1)
		a.want(a.kind(), map[int]string{1: "one"}, 1)
		for range 3 { // into b's memory, from a's entry unless a's clock has it expired
			b.want(kb, map[int]string{1: "one"}, 1)
			b.want(tagged, map[int]string{1: "one"}, 1)
		}
		b.write(1, "two")
		if err := b.redis.FlushDB(t.Context()).Err(); err != nil { // Redis' own clock has ended its entries
			t.Fatal(err)
		}
		b.pass(ttl.TTL)
		b.want(kb, map[int]string{1: "two"}, 1)
		for i, step := range []time.Duration{day, -2 * day, day} {
			value := fmt.Sprint("step ", i)
			b.pass(step)
			b.want(tagged, map[int]string{1: b.value(1)}, 1)
			b.commit(1, value)
			b.want(tagged, map[int]string{1: value}, 1)
		}
	}
}

// A reader that took the old entry from Redis before it was forgotten must not hold it after.
func TestLocal_NothingOldIsHeldAfterForget(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t)).withLocal()
	o := r.options()
	o.Tags = nil
	k := NewKind(r.cache, o)
	r.write(1, "old")
	r.want(k, map[int]string{1: "old"}, 1)
	before := k.forgotten() // what a reader notes before its GET
	raw := must(r.redis.Get(t.Context(), k.name(1)).Bytes())
	r.write(1, "new")
	k.Forget(t.Context(), 1)
	e, why := k.open(k.name(1), raw, r.cache.look())
	if why != "" {
		t.Fatalf("the old entry: got %s, want it intact", why)
	}
	k.keepLocal(k.name(1), e, "old", len(raw), before)
	r.want(k, map[int]string{1: "new"}, 1)
}

func TestLocal_IsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t)).withLocal()
	k := r.kind()
	r.cache.local = newLocal(64 << 10)
	for first := 0; first < 2000; first += 100 {
		keys := make([]int, 100)
		for i := range keys {
			keys[i] = first + i
			r.write(first+i, "some value of a row")
		}
		for range 2 {
			if _, err := k.Many(t.Context(), keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.cache.local.CleanUp()
	if got := r.cache.local.WeightedSize(); got == 0 || got > 64<<10 {
		t.Errorf("bytes held: got %d, want at most %d and some", got, 64<<10)
	}
}

// An entry near its end is loaded again in the background, once, while the old value is served.
func TestEarly_RefreshesOnceInTheBackground(t *testing.T) {
	t.Parallel()
	url := testenv.SharedRedis(t)
	a, b := newRig(t, url), newRig(t, url).withLocal()
	for _, r := range []*rig{a, b} {
		r.cache.exponential = func() float64 { return 0 } // never due
		r.write(1, "old")
	}
	ka, kb := a.kind(), b.kind()
	a.want(ka, map[int]string{1: "old"}, 1)
	b.want(kb, map[int]string{1: "old"}, 1)
	b.want(kb, map[int]string{1: "old"}, 1)
	loading, finish := make(chan struct{}), make(chan struct{})
	for _, r := range []*rig{a, b} {
		r.write(1, "new")
		r.setOnLoad(func([]int) { close(loading); <-finish })
		r.cache.exponential = func() float64 { return 1 }
	}
	// The entry says that its load took no time; due looks at that first. Age it by hand instead of by a slow load.
	raw := must(a.redis.Get(t.Context(), ka.name(1)).Bytes())
	e, _ := ka.open(ka.name(1), raw, a.cache.look())
	e.load = time.Minute
	if err := a.redis.Set(t.Context(), ka.name(1), e.append(nil, ka.name(1)), time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	b.cache.dropLocal(kb.name(1))
	for _, r := range []*rig{a, b} {
		r.pass(50 * time.Second)
	}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { a.wantSoon(ka, map[int]string{1: "old"}, 1) })
		group.Go(func() { b.wantSoon(kb, map[int]string{1: "old"}, 1) })
	}
	group.Wait()
	<-loading
	close(finish)
	for _, r := range []*rig{a, b} {
		r.cache.exponential = func() float64 { return 0 }
		r.cache.work.Wait()
	}
	a.want(ka, map[int]string{1: "new"}, 1)
	b.want(kb, map[int]string{1: "new"}, 1)
	if got := len(a.loads) + len(b.loads); got != 2 {
		t.Errorf("loads: got %d, want 2 (the first and the refresh)", got)
	}
}

func TestRescue_ExpiredWithinGraceIsServedMarked(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.Grace = time.Hour
	down := errors.New("the source is down")
	failing := false
	o.Load = func(ctx context.Context, keys []int) (map[int]string, error) {
		if failing {
			return nil, down
		}
		return r.load(ctx, keys)
	}
	k := NewKind(r.cache, o)
	r.write(1, "one")
	r.write(2, "two")
	r.want(k, map[int]string{1: "one", 2: "two"}, 1, 2)
	failing = true
	r.pass(2 * time.Minute)
	r.want(k, map[int]string{1: "one"}, 1)
	if b := r.last(); b.Stale != 1 {
		t.Errorf("served after its end: got %+v, want 1 stale", b)
	}
	if _, err := k.Many(Strict(t.Context()), []int{1}); !errors.Is(err, down) {
		t.Errorf("a strict read: got %v, want the source's error", err)
	}
	// What was changed since is never served, expired or not.
	r.commit(2, "newer")
	if _, err := k.Many(t.Context(), []int{1, 2}); !errors.Is(err, down) {
		t.Errorf("one of two changed: got %v, want the source's error", err)
	}
	// Contact with the log is lost as well: what was fresh then is served, marked.
	r.log.Revoke()
	r.want(k, map[int]string{1: "one"}, 1)
	if b := r.last(); b.Stale != 1 {
		t.Errorf("served without a grant: got %+v, want 1 stale", b)
	}
	if _, err := k.Many(t.Context(), []int{2}); !errors.Is(err, down) {
		t.Errorf("changed, without a grant: got %v, want the source's error", err)
	}
	r.pass(2 * time.Hour)
	if _, err := k.Many(t.Context(), []int{1}); !errors.Is(err, down) {
		t.Errorf("after its grace: got %v, want the source's error", err)
	}
}

func TestRescue_NotOfProvedKinds(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	down := errors.New("the source is down")
	failing := false
	o := r.options()
	o.Load = func(ctx context.Context, keys []int) (map[int]string, error) {
		if failing {
			return nil, down
		}
		return r.load(ctx, keys)
	}
	ordinary := NewKind(r.cache, o)
	o.Name, o.Proved = "proved", true
	proved := NewKind(r.cache, o)
	r.write(1, "one")
	r.want(ordinary, map[int]string{1: "one"}, 1)
	r.want(proved, map[int]string{1: "one"}, 1)
	settle(ordinary, 1)
	settle(proved, 1)
	failing = true
	r.log.Revoke()
	r.want(ordinary, map[int]string{1: "one"}, 1)
	if got, err := proved.Many(t.Context(), []int{1}); !errors.Is(err, down) {
		t.Errorf("without a grant: got %v, %v, want the source's error", got, err)
	}
}

func TestKind_HitAllocatesLittle(t *testing.T) {
	r := newRig(t, testenv.SharedRedis(t)).withLocal()
	k := r.kind()
	r.write(1, "one")
	for range 3 {
		r.want(k, map[int]string{1: "one"}, 1)
	}
	name := k.name(1)
	if got := testing.AllocsPerRun(100, func() {
		if _, _, why := k.near(name, r.cache.look()); why != "" {
			t.Errorf("a held entry: got %s, want a hit", why)
		}
	}); got > 0 {
		t.Errorf("allocations of a look into memory: got %v, want 0", got)
	}
}
