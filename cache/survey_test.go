package cache

import (
	"context"
	"strings"
	"testing"
	"time"

	"freshet/internal/testenv"
)

func TestSurvey_AndEvict(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	r.cache.local = newLocal(1 << 20)
	k := r.kind()
	results := NewResults(r.cache, ResultsOptions{Name: "result"})
	r.write(1, "one")
	r.write(2, strings.Repeat("two", 1000))
	for range 3 { // into Redis, into memory, from there
		r.want(k, map[int]string{1: "one", 2: strings.Repeat("two", 1000)}, 1, 2)
	}
	results.Do(t.Context(), "key", func(context.Context) ([]byte, time.Duration) { return []byte("body"), time.Minute })
	r.cache.work.Wait()
	s := r.cache.Survey(2)
	if s.Values.Entries != 2 || s.Results.Entries != 1 || s.Values.Bytes < 6000 || s.Values.Limit != 1<<20 {
		t.Errorf("usage: got %+v and %+v, want 2 values and 1 result", s.Values, s.Results)
	}
	if len(s.Hottest) != 3 || len(s.Largest) != 2 || s.Largest[0].Name != "freshet:row:2" || len(s.Slowest) != 2 {
		t.Errorf("got %d hottest, %d slowest, largest %+v, want row 2 first of 2", len(s.Hottest), len(s.Slowest), s.Largest)
	}
	if d, err := r.cache.Look(t.Context(), "freshet:row:1"); err != nil || d.Miss != "" || len(d.Tags) != 1 || d.Bytes == 0 {
		t.Errorf("look: got %+v, %v, want a fresh entry with its tag", d, err)
	}
	r.commit(2, "changed")
	if d, err := r.cache.Look(t.Context(), "freshet:row:2"); err != nil || d.Miss != staleTag || d.Tag != "row:2" {
		t.Errorf("look at what has changed: got %+v, %v, want it stale by its tag", d, err)
	}
	for _, name := range []string{"freshet:row:1", "freshet:result:key"} {
		if err := r.cache.Evict(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if _, ok := results.Get(t.Context(), "key"); ok {
		t.Error("got an evicted result")
	}
	r.want(k, map[int]string{1: "one"}, 1)
	r.wantLoads(2)
	r.redis.Set(t.Context(), "freshet:other", "not an entry", 0)
	for _, name := range []string{"freshet:row:9", "freshet:other", "elsewhere:row:1", ""} {
		if err := r.cache.Evict(t.Context(), name); err == nil {
			t.Errorf("evict %q: got no error", name)
		}
		if d, err := r.cache.Look(t.Context(), name); err == nil {
			t.Errorf("look at %q: got %+v, want an error", name, d)
		}
	}
	if got := r.redis.Exists(t.Context(), "freshet:other").Val(); got != 1 {
		t.Error("what is no entry was removed")
	}
}

// What Redis has lost or never took is evicted from memory, once.
func TestEvict_FromMemoryAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t)).withLocal()
	k := r.kind()
	results := NewResults(r.cache, ResultsOptions{Name: "result"})
	r.write(1, "one")
	for range 2 { // into Redis, into memory
		r.want(k, map[int]string{1: "one"}, 1)
	}
	results.Do(t.Context(), "key", func(context.Context) ([]byte, time.Duration) { return []byte("body"), time.Minute })
	r.cache.work.Wait()
	if err := r.redis.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"freshet:row:1", "freshet:result:key"} {
		if err := r.cache.Evict(t.Context(), name); err != nil {
			t.Errorf("evict %s, which is in memory: got %v", name, err)
		}
		if err := r.cache.Evict(t.Context(), name); err == nil {
			t.Errorf("evict %s again: got no error, want one: it is nowhere", name)
		}
	}
}
