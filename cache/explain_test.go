package cache

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

func TestExplain_TellsOfEachKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	load := o.Load
	o.Load = func(ctx context.Context, keys []int) (map[int]string, error) {
		Stated(ctx, Statement{Text: "read rows"})
		return load(ctx, keys)
	}
	k := NewKind(r.cache, o)
	r.write(1, "one")
	r.write(2, "two")
	r.want(k, map[int]string{1: "one"}, 1)
	if b := r.last(); b.Details != nil || b.Statements != nil {
		t.Errorf("nobody asks: got %v and %v, want nothing", b.Details, b.Statements)
	}
	explained := Explain(t.Context())
	check := func(what string, key int, want Detail, statements int) {
		t.Helper()
		if _, _, err := k.One(explained, key); err != nil {
			t.Fatal(err)
		}
		settle(k, key)
		b := r.last()
		if len(b.Details) != 1 || len(b.Statements) != statements {
			t.Fatalf("%s: got %d details, %v, want 1 and %d statements", what, len(b.Details), b.Statements, statements)
		}
		got := b.Details[0]
		if got.Key != key || got.Tier != want.Tier || got.Miss != want.Miss || got.Tag != want.Tag || got.Changed != want.Changed ||
			got.Absent != want.Absent || got.Name != k.name(key) || !slices.Equal(got.Tags, k.Tags(key, "", true)) || got.Expires.IsZero() {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	check("hit", 1, Detail{Tier: "redis"}, 0)
	check("absent in Redis", 2, Detail{Tier: "source", Miss: absent}, 1)
	check("absent in the source", 3, Detail{Tier: "source", Miss: absent, Absent: true}, 1)
	check("known absence", 3, Detail{Tier: "redis", Absent: true}, 0)
	r.commit(2, "new")
	check("changed", 2, Detail{Tier: "source", Miss: staleTag, Tag: "row:2", Changed: 1}, 1)
	r.log.Apply(r.log.Position(), []string{"row:*"})
	check("all changed", 1, Detail{Tier: "source", Miss: staleTag, Tag: "row:*", Changed: 2}, 1)
	r.log.Revoke()
	check("no grant", 1, Detail{Tier: "source", Miss: staleGrant}, 1)
}

func TestExplain_OfResults(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	results := NewResults(r.cache, ResultsOptions{Name: "result"})
	k := r.kind()
	make := func(ctx context.Context) ([]byte, time.Duration) {
		k.One(ctx, 1)
		return []byte("body"), time.Minute
	}
	check := func(what string, want Detail) {
		t.Helper()
		results.Get(Explain(t.Context()), "key")
		got := r.last().Details
		if len(got) != 1 || got[0].Tier != want.Tier || got[0].Miss != want.Miss || got[0].Tag != want.Tag || got[0].Name != "freshet:result:key" {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	check("nothing yet", Detail{Miss: absent})
	results.Do(t.Context(), "key", make)
	check("made", Detail{Tier: "memory"})
	r.cache.work.Wait() // until it is in Redis too
	r.pass(2 * time.Minute)
	check("old", Detail{Miss: expired})
	r.redis.Del(t.Context(), "freshet:result:key")
	check("old, and dropped by Redis", Detail{Miss: expired})
	results.Do(t.Context(), "key", make)
	r.cache.work.Wait()
	r.commit(1, "new")
	check("changed", Detail{Miss: staleTag, Tag: "row:1"})
	r.redis.Del(t.Context(), "freshet:result:key")
	check("changed, and evicted by Redis", Detail{Miss: staleTag, Tag: "row:1"})
}

// A reader who waits for another process's load is told so, and what it got.
func TestExplain_WaitsForAnotherProcess(t *testing.T) {
	t.Parallel()
	url := testenv.SharedRedis(t)
	a, b := newRig(t, url), newRig(t, url)
	ka, kb := a.kind(), b.kind()
	a.write(1, "old")
	a.want(ka, map[int]string{1: "old"}, 1)
	b.log.Apply(b.log.Position(), []string{"row:1"})
	b.log.Grant(b.log.Position(), math.MaxInt64)
	a.commit(1, "one")
	loading, finish := make(chan struct{}), make(chan struct{})
	a.setOnLoad(func([]int) { close(loading); <-finish })
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { a.want(ka, map[int]string{1: "one"}, 1) })
	<-loading
	finished := sync.OnceFunc(func() { close(finish) })
	defer finished()
	b.lose = func(trip []redis.Cmder) bool { // nothing, but once its try for the lock was in vain the load may end
		if trip[0].Name() == "set" {
			finished()
		}
		return false
	}
	if got, _, err := kb.One(Explain(t.Context()), 1); err != nil || got != "one" {
		t.Fatalf("got %q, %v, want what the other has loaded", got, err)
	}
	b.wantLoads(0)
	batch := b.last()
	d := batch.Details[0]
	if d.Miss != leased || d.First != staleTag || d.Tag != "row:1" || d.Tier != "redis" || d.AsOf.At != 1 || d.Filled.IsZero() {
		t.Errorf("got %+v, want a lease after stale_tag, answered by Redis", d)
	}
	if batch.Waited != 1 || batch.WaitTook <= 0 || batch.Misses[staleTag] != 1 || batch.LoadTook != 0 {
		t.Errorf("got %+v, want 1 waited for, missed for its first reason, and nothing loaded", batch)
	}
}

// attended tells when somebody waits for its end.
type attended struct {
	context.Context
	waited func()
}

func (a attended) Done() <-chan struct{} {
	a.waited()
	return a.Context.Done()
}

func TestExplain_WaitsInThisProcess(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	r.write(2, "two")
	loading, finish := make(chan struct{}), make(chan struct{})
	r.setOnLoad(func([]int) { r.setOnLoad(func([]int) {}); close(loading); <-finish })
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { r.wantSoon(k, map[int]string{1: "one"}, 1) })
	<-loading
	// Its own key is brought in first, for which it waits too.
	times := 0
	ctx := attended{Explain(t.Context()), func() {
		if times++; times == 2 {
			close(finish)
		}
	}}
	got, err := k.Many(ctx, []int{1, 2})
	if err != nil || got[1] != "one" || got[2] != "two" {
		t.Fatalf("got %v, %v, want both", got, err)
	}
	r.wantLoads(2)
	for _, d := range r.lastOf(2).Details {
		want := Detail{Miss: leased, First: absent, Tier: "redis"}
		if d.Key == 2 {
			want = Detail{Miss: absent, Tier: "source"}
		}
		if d.Miss != want.Miss || d.First != want.First || d.Tier != want.Tier {
			t.Errorf("got %+v, want %+v", d, want)
		}
	}
}

// A wait in vain is one too: who waited for a load that failed has loaded by itself.
func TestExplain_WaitsInVain(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	mine := k.flights.claim([]int{1}).mine
	ctx := attended{Explain(t.Context()), sync.OnceFunc(func() { k.flights.land(mine, true) })}
	if got, _, err := k.One(ctx, 1); err != nil || got != "one" {
		t.Fatalf("got %q, %v, want the value", got, err)
	}
	if d := r.last().Details[0]; d.Miss != leased || d.First != absent || d.Tier != "source" {
		t.Errorf("got %+v, want a lease after absent, answered by the source", d)
	}
}

// What a bypass reads is the source's, and stays out of the caches.
func TestBypass_LeavesCachesAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	r.want(k, map[int]string{1: "one"}, 1)
	r.write(1, "unnoticed")
	for range 2 {
		if got, _, err := k.One(Bypass(t.Context()), 1); err != nil || got != "unnoticed" {
			t.Errorf("bypass: got %q, %v, want what the source has", got, err)
		}
		r.want(k, map[int]string{1: "one"}, 1)
	}
	r.wantLoads(3)
}

// lastOf is the last batch of so many keys.
func (r *rig) lastOf(keys int) Batch {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range slices.Backward(r.batches) {
		if b.Keys == keys {
			return b
		}
	}
	r.t.Fatalf("got no batch of %d keys in %v", keys, r.batches)
	return Batch{}
}
