package cache

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

// results are of the rig's rows, with a tier in memory.
func (r *rig) results() *Results {
	return NewResults(r.cache, ResultsOptions{Name: "result", LocalBytes: 1 << 20})
}

// reading makes a result of a row.
func (r *rig) reading(k *Kind[int, string], row int) maker {
	return func(ctx context.Context) ([]byte, time.Duration) {
		value, _, err := k.One(ctx, row)
		if err != nil {
			r.t.Error(err)
		}
		return []byte("row: " + value), time.Minute
	}
}

func text(r *Result) string { return string(r.Value.([]byte)) }

// wantResult wants a result to be kept, or none if want is empty.
func (r *rig) wantResult(results *Results, key, want string) {
	r.t.Helper()
	r.cache.work.Wait() // for what is being stored
	found, ok := results.Get(r.t.Context(), key)
	switch {
	case ok != (want != ""):
		r.t.Errorf("result of %q: got it %v, want it %v", key, ok, want != "")
	case ok && text(found) != want:
		r.t.Errorf("result of %q: got %s, want %s", key, text(found), want)
	}
}

func TestResults_StaleWithAnyPart(t *testing.T) {
	t.Parallel()
	url := testenv.SharedRedis(t)
	a, b := newRig(t, url), newRig(t, url)
	k, ra, rb := a.kind(), a.results(), b.results()
	a.write(1, "one")
	a.wantResult(ra, "key", "")
	if kept, ran := ra.Do(t.Context(), "key", a.reading(k, 1)); kept == nil || !ran {
		t.Errorf("first asker: got %v, ran %v, want it to have run and kept", kept, ran)
	}
	a.wantResult(ra, "key", "row: one")
	a.wantResult(ra, "other key", "")
	b.wantResult(rb, "key", "row: one") // from Redis
	b.wantResult(rb, "key", "row: one") // from memory
	if last := b.last(); last.LocalHits != 1 || last.RoundTrips != 0 {
		t.Errorf("second read of another process: got %+v, want a local hit", last)
	}
	a.commit(1, "two")
	b.log.Apply(b.log.Position(), []string{"row:1"})
	a.wantResult(ra, "key", "")
	b.wantResult(rb, "key", "")
	// A hit's parts count like those that were loaded.
	a.want(k, map[int]string{1: "two"}, 1)
	ra.Do(t.Context(), "key", a.reading(k, 1))
	a.wantResult(ra, "key", "row: two")
	a.commit(1, "three")
	a.wantResult(ra, "key", "")
}

// What is read while a result is made counts as of before the making, whatever changes meanwhile.
func TestResults_ChangedWhileMade(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k, results := r.kind(), r.results()
	r.write(1, "old")
	results.Do(t.Context(), "key", func(ctx context.Context) ([]byte, time.Duration) {
		body, maxAge := r.reading(k, 1)(ctx)
		r.commit(1, "new")
		return body, maxAge
	})
	r.wantResult(results, "key", "")
}

func TestResults_EndsWithItsFirstPart(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.Tags, o.TTL, o.Name = nil, 10*time.Second, "count"
	counts, results := NewKind(r.cache, o), r.results()
	r.write(1, "5 likes")
	r.want(counts, map[int]string{1: "5 likes"}, 1)
	r.pass(5 * time.Second)
	results.Do(t.Context(), "key", r.reading(counts, 1)) // of a hit
	r.pass(3 * time.Second)
	r.wantResult(results, "key", "row: 5 likes")
	r.pass(2 * time.Second)
	r.wantResult(results, "key", "")
	results.Do(t.Context(), "key", r.reading(counts, 1)) // of a load
	r.pass(8 * time.Second)
	r.wantResult(results, "key", "row: 5 likes")
	r.pass(2 * time.Second)
	r.wantResult(results, "key", "")
	results.Do(t.Context(), "key", func(ctx context.Context) ([]byte, time.Duration) { return []byte("x"), 3 * time.Second })
	r.pass(2 * time.Second)
	r.wantResult(results, "key", "x")
	r.pass(time.Second)
	r.wantResult(results, "key", "")
}

func TestResults_NotKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	results := NewResults(r.cache, ResultsOptions{Name: "result", MaxBytes: 10})
	for name, make := range map[string]maker{
		"max age 0":  func(context.Context) ([]byte, time.Duration) { return []byte("x"), 0 },
		"too large":  func(context.Context) ([]byte, time.Duration) { return []byte("0123456789x"), time.Minute },
		"restricted": func(ctx context.Context) ([]byte, time.Duration) { Restrict(ctx, 0); return []byte("x"), time.Minute },
		"read without a grant": func(ctx context.Context) ([]byte, time.Duration) {
			r.log.Revoke()
			body, maxAge := r.reading(k, 1)(ctx)
			r.log.Grant(r.log.Position(), 1<<62)
			return body[:1], maxAge
		},
	} {
		if kept, ran := results.Do(t.Context(), name, make); kept != nil || !ran {
			t.Errorf("%s: got kept %v, ran %v, want it made and not kept", name, kept, ran)
		}
		r.wantResult(results, name, "")
	}
	r.log.Revoke()
	results.Do(t.Context(), "made without a grant", func(context.Context) ([]byte, time.Duration) { return []byte("x"), time.Minute })
	r.log.Grant(r.log.Position(), 1<<62)
	r.wantResult(results, "made without a grant", "")
	results.Do(t.Context(), "kept", func(context.Context) ([]byte, time.Duration) { return []byte("x"), time.Minute })
	r.wantResult(results, "kept", "x")
	r.log.Revoke()
	r.wantResult(results, "kept", "")
}

// gated makes a result once the gate is open, and says that it has begun.
func gated(begun chan<- struct{}, gate <-chan struct{}, make maker) maker {
	return func(ctx context.Context) ([]byte, time.Duration) {
		begun <- struct{}{}
		<-gate
		return make(ctx)
	}
}

func TestResults_AskedAtOnceAreMadeOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		maxAge time.Duration
		want   int // times made by 20 askers
	}{{"kept", time.Minute, 1}, {"not kept", 0, 20}} {
		r := newRig(t, testenv.SharedRedis(t))
		results := r.results()
		begun, gate := make(chan struct{}, 20), make(chan struct{})
		var work sync.WaitGroup
		var mu sync.Mutex
		runs := 0
		for i := range 20 {
			work.Go(func() {
				found, ran := results.Do(t.Context(), "key", gated(begun, gate, func(context.Context) ([]byte, time.Duration) {
					return []byte("x"), c.maxAge
				}))
				mu.Lock()
				defer mu.Unlock()
				if ran {
					runs++
				} else if text(found) != "x" {
					t.Errorf("%s: got %q, want x", c.name, text(found))
				}
			})
			if i == 0 {
				<-begun // the others come while it runs
			}
		}
		close(gate)
		work.Wait()
		if runs != c.want {
			t.Errorf("%s: made %d times, want %d", c.name, runs, c.want)
		}
	}
}

// Who asks after a change must not be given what was begun before it.
func TestResults_WaitingForAnOldMaking(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k, results := r.kind(), r.results()
	r.write(1, "old")
	r.want(k, map[int]string{1: "old"}, 1)
	begun, gate := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		results.Do(t.Context(), "key", func(ctx context.Context) ([]byte, time.Duration) {
			body, maxAge := r.reading(k, 1)(ctx)
			begun <- struct{}{}
			<-gate
			return body, maxAge
		})
	})
	<-begun
	r.commit(1, "new")
	work.Go(func() { close(gate) })
	var got []byte
	found, ran := results.Do(t.Context(), "key", func(ctx context.Context) ([]byte, time.Duration) {
		body, maxAge := r.reading(k, 1)(ctx)
		got = body
		return body, maxAge
	})
	work.Wait()
	if !ran {
		got = found.Value.([]byte)
	}
	if string(got) != "row: new" {
		t.Errorf("asked after the change: got %s, want row: new", got)
	}
}

func TestResults_PanicLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	results := r.results()
	func() {
		defer func() { recover() }()
		results.Do(t.Context(), "key", func(context.Context) ([]byte, time.Duration) { panic("x") })
	}()
	if _, ran := results.Do(t.Context(), "key", func(context.Context) ([]byte, time.Duration) { return []byte("x"), time.Minute }); !ran {
		t.Error("after a panic: the key is still being made, want it free")
	}
	r.wantResult(results, "key", "x")
}

func TestResults_ForeignAndDerived(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	far := NewResults(r.cache, ResultsOptions{Name: "result", LocalBytes: -1})
	next := NewResults(r.cache, ResultsOptions{Name: "result", LocalBytes: -1, Version: "2"})
	r.write(1, "one")
	far.Do(t.Context(), "key", r.reading(k, 1))
	r.wantResult(far, "key", "row: one")
	r.wantResult(next, "key", "")
	found, _ := far.Get(t.Context(), "key")
	far.Derive(found, "key:plain", []byte("plain"))
	long := make([]byte, far.MaxBytes+1)
	if large := far.Derive(found, "key:large", long); large == nil || len(large.Value.([]byte)) != len(long) {
		t.Errorf("too large to be kept: got %v, want it all the same", large)
	}
	r.wantResult(far, "key:large", "")
	r.wantResult(far, "key:plain", "plain")
	r.commit(1, "two")
	r.wantResult(far, "key:plain", "")
	if err := r.redis.Set(t.Context(), "freshet:result:other", must(r.redis.Get(t.Context(), "freshet:result:key").Result()), 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.wantResult(far, "other", "")
	if last := r.last(); last.Misses[foreign] != 1 {
		t.Errorf("a result under another key: got %+v, want a foreign one", last)
	}
}

func TestResults_EarlyRefreshIsOneCallers(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	results := r.results()
	slow := func(context.Context) ([]byte, time.Duration) {
		r.pass(10 * time.Second)
		return []byte("x"), time.Minute
	}
	results.Do(t.Context(), "key", slow)
	r.cache.work.Wait()
	early := func() bool {
		found, ok := results.Get(t.Context(), "key")
		return ok && found.Early
	}
	r.cache.exponential = func() float64 { return 0 }
	if early() {
		t.Error("not due: got early, want not")
	}
	r.cache.exponential = func() float64 { return 10 }
	if !early() {
		t.Error("due: got not early, want early")
	}
	results.Refresh(t.Context(), "key", func(context.Context) ([]byte, time.Duration) { return []byte("y"), time.Minute })
	r.wantResult(results, "key", "y")
}

func TestResults_MemoryHitAllocatesLittle(t *testing.T) {
	r := newRig(t, testenv.SharedRedis(t))
	k, results := r.kind(), r.results()
	results.Do(t.Context(), "key", r.reading(k, 1))
	name := results.name("key")
	if got := testing.AllocsPerRun(100, func() {
		if _, why := results.near(name, r.cache.look()); why != "" {
			t.Errorf("got %s, want a hit", why)
		}
	}); got > 0 {
		t.Errorf("allocations of a hit in memory: got %v, want 0", got)
	}
}

func BenchmarkResults(b *testing.B) {
	r := newRig(b, testenv.SharedRedis(b))
	k, results := r.kind(), r.results()
	results.Do(b.Context(), "key", r.reading(k, 1))
	b.ReportAllocs()
	for b.Loop() {
		results.Get(b.Context(), "key")
	}
}

// late is a client whose storing of a result begins when the cache closes.
type late struct {
	*rig
	key string
}

func (l late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if args := cmds[0].Args(); args[0] == "set" && args[1] == l.key {
			<-l.cache.ctx.Done()
		}
		return next(ctx, cmds)
	}
}

// A process that ends right after it has said that a result is kept has kept it.
func TestResults_StoredWhenTheCacheCloses(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k, results := r.kind(), r.results()
	r.write(1, "one")
	r.redis.AddHook(late{r, results.name("key")})
	if kept, _ := results.Do(t.Context(), "key", r.reading(k, 1)); kept == nil {
		t.Fatal("got no result, want it kept")
	}
	r.cache.Close()
	if n, err := r.redis.Exists(t.Context(), results.name("key")).Result(); n != 1 || err != nil {
		t.Errorf("in Redis afterwards: got %d, %v, want the result", n, err)
	}
}
