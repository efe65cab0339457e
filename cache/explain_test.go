package cache

import (
	"context"
	"slices"
	"testing"
	"time"

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
	r.commit(1, "new")
	check("changed", Detail{Miss: staleTag, Tag: "row:1"})
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
