package ratelimit

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// clock is moved by the test alone.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// alone is a limiter of 10 a second and 100 at once that nobody shares.
func alone(c *clock) *Limiter { return New(Options{Name: "test", Rate: 10, Burst: 100, Now: c.now}) }

func taken(l *Limiter, key uint64, cost float64, most int) (n int) {
	for n < most && l.Take(key, cost) == 0 {
		n++
	}
	return n
}

func TestTake_BurstThenRate(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := alone(c)
	if got := taken(l, 1, 1, 1000); got != 100 {
		t.Errorf("taken at once: got %d, want the burst of 100", got)
	}
	if got := l.Take(1, 1); got != 100*time.Millisecond {
		t.Errorf("wait for 1: got %v, want 100ms", got)
	}
	if got := l.Take(1, 25); got != 2500*time.Millisecond {
		t.Errorf("wait for 25: got %v, want 2.5s", got)
	}
	c.pass(2500 * time.Millisecond)
	if got := taken(l, 1, 1, 1000); got != 25 {
		t.Errorf("taken after 2.5s: got %d, want 25", got)
	}
	c.pass(time.Hour)
	if got := taken(l, 1, 1, 1000); got != 100 {
		t.Errorf("taken after an hour: got %d, want no more than the burst of 100", got)
	}
}

func TestTake_KeysAreApart(t *testing.T) {
	t.Parallel()
	l := alone(newClock())
	taken(l, 1, 1, 1000)
	if got := l.Take(2, 100); got != 0 {
		t.Errorf("another key: got a wait of %v, want none", got)
	}
}

func TestTake_RefusalCostsNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := alone(c)
	taken(l, 1, 1, 1000)
	for range 1000 {
		l.Take(1, 50)
	}
	c.pass(5 * time.Second)
	if got := l.Take(1, 50); got != 0 {
		t.Errorf("after the wait that the first refusal named: got another %v, want none", got)
	}
}

func TestTake_MoreThanABurst(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := alone(c)
	if got := l.Take(1, 300); got != 0 {
		t.Fatalf("300 of a burst of 100, owing nothing: got a wait of %v, want none", got)
	}
	if got := l.Take(1, 1); got != 20100*time.Millisecond {
		t.Errorf("the next: got a wait of %v, want 20.1s until all but the burst is paid off", got)
	}
	if got := l.Take(2, 1e300); got != 0 {
		t.Errorf("a cost beyond all bounds, owing nothing: got a wait of %v, want none", got)
	}
	if got := l.Take(2, 1); got <= 0 {
		t.Errorf("the next: got %v, want a wait", got)
	}
}

func TestStats_CountRefusalsAndKeys(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := alone(c)
	taken(l, 1, 1, 1000) // the last of them is refused
	l.Take(1, 50)
	l.Take(2, 1)
	if got, want := l.Stats(), (Stats{Refused: 2, Keys: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	c.pass(time.Minute)
	l.collect()
	for i := range l.shards {
		l.sweep(&l.shards[i])
	}
	if got, want := l.Stats(), (Stats{Refused: 2}); got != want {
		t.Errorf("once all is paid off: got %+v, want %+v", got, want)
	}
	if got := (*Limiter)(nil).Stats(); got != (Stats{}) {
		t.Errorf("of no limiter: got %+v, want nothing", got)
	}
}

func TestTake_NilLetsAllThrough(t *testing.T) {
	t.Parallel()
	var l *Limiter
	if got := taken(l, 1, 1e9, 10); got != 10 {
		t.Errorf("nil limiter: got %d taken, want 10", got)
	}
	l.Run(t.Context()) // returns
}

func TestTake_AtTheSameTime(t *testing.T) {
	t.Parallel()
	l := alone(newClock())
	var together sync.WaitGroup
	var mu sync.Mutex
	sum := 0
	for range 8 {
		together.Go(func() {
			n := taken(l, 1, 1, 1000)
			mu.Lock()
			defer mu.Unlock()
			sum += n
		})
	}
	together.Wait()
	if sum != 100 {
		t.Errorf("taken by 8 at once: got %d, want 100", sum)
	}
}

// Whoever sends from very many addresses fills the memory no further, and does not push out who owes most.
func TestTake_KeysAreBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := New(Options{Name: "test", Rate: 10, Burst: 100, Keys: 6400, Now: c.now})
	taken(l, 7, 1, 1000)
	for key := range uint64(100_000) {
		l.Take(key+1000, 1)
	}
	held := 0
	for i := range l.shards {
		held += len(l.shards[i].buckets)
	}
	if held > 6400 {
		t.Errorf("keys held: got %d, want 6400 at most", held)
	}
	if got := l.Take(7, 1); got == 0 {
		t.Error("the key that owed most: was forgotten, want it remembered")
	}
}

func TestSweep_ForgetsWhoOwesNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := alone(c)
	l.Take(1, 3)
	l.Take(2, 5)
	c.pass(500 * time.Millisecond) // 1 has paid, and what it spent may still have to be settled
	sweepAll(l)
	if got := held(l); got != 2 {
		t.Errorf("keys held too early: got %d, want 2", got)
	}
	c.pass(time.Second)
	sweepAll(l)
	if got := held(l); got != 0 {
		t.Errorf("keys held after they have paid: got %d, want 0", got)
	}
}

func sweepAll(l *Limiter) {
	for i := range l.shards {
		l.sweep(&l.shards[i])
	}
}

func held(l *Limiter) (n int) {
	for i := range l.shards {
		n += len(l.shards[i].buckets)
	}
	return n
}

// fleet is limiters that share a Redis, with a clock that the test moves.
func fleet(t *testing.T, n int, c *clock) []*Limiter {
	t.Helper()
	o, err := redis.ParseURL(testenv.SharedRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	limiters := make([]*Limiter, n)
	for i := range limiters {
		limiters[i] = New(Options{Name: "test", Rate: 0.01, Burst: 160, Redis: client, Now: c.now})
	}
	return limiters
}

func TestSettle_InstancesCountTogether(t *testing.T) {
	t.Parallel()
	all := fleet(t, 3, newClock())
	sum := 0
	for range 100 {
		for _, l := range all {
			sum += taken(l, 1, 1, 5)
			l.settle(t.Context())
		}
	}
	// Each may have spent up to a sixteenth of the burst that it has not said yet.
	if sum < 160 || sum > 160+3*10+5 {
		t.Errorf("taken on three instances: got %d, want 160, and up to 35 that were not yet settled", sum)
	}
	if got := all[0].Take(2, 160); got != 0 {
		t.Errorf("another key: got a wait of %v, want none", got)
	}
}

// Who spends at the rate on each instance owes nothing to any of them alone.
func TestSettle_SpreadEvenly(t *testing.T) {
	t.Parallel()
	c := newClock()
	all := fleet(t, 4, c)
	sum := 0
	for range 400 {
		for _, l := range all {
			sum += taken(l, 1, 1, 1)
			l.settle(t.Context())
			sweepAll(l)
		}
		c.pass(100 * time.Second) // Redis' own clock stands nearly still meanwhile
	}
	if sum > 160+400+4*10 {
		t.Errorf("taken on four instances: got %d of 1600, want no more than if it were one and what was not settled", sum)
	}
}

func TestSettle_OrdinaryKeysCostNoCommand(t *testing.T) {
	t.Parallel()
	l := fleet(t, 1, newClock())[0]
	for key := range uint64(1000) {
		taken(l, key, 1, 9)
	}
	if got := l.collect(); len(got) != 0 {
		t.Errorf("keys to settle: got %d, want none under a sixteenth of the burst", len(got))
	}
}

func TestSettle_NoAddressInKeys(t *testing.T) {
	t.Parallel()
	l := fleet(t, 1, newClock())[0]
	l.Take(0x7f000001, 100)
	l.settle(t.Context())
	keys, err := l.Redis.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 1 || len(keys[0]) != len("freshet:rate:test:")+32 {
		t.Fatalf("keys: got %q, %v, want one with a hash", keys, err)
	}
	ttl, err := l.Redis.PTTL(t.Context(), keys[0]).Result()
	if err != nil || ttl <= 0 || ttl > 10_001*time.Second {
		t.Errorf("TTL: got %v, %v, want that of the debt, 10,000s", ttl, err)
	}
}

// What was let through while Redis was away is settled when it is back, and meanwhile each instance has its own limit.
func TestSettle_WithoutRedis(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, nil)
	o, err := redis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled, o.MaxRetries = true, -1
	client := redis.NewClient(o)
	defer client.Close()
	options := Options{Name: "test", Rate: 0.01, Burst: 160, Redis: client, Log: slog.New(slog.DiscardHandler)}
	a, b := New(options), New(options)
	server.Kill()
	if got := taken(a, 1, 1, 1000); got != 160 {
		t.Errorf("taken without Redis: got %d, want 160", got)
	}
	a.settle(t.Context())
	if got, want := a.Stats(), (Stats{Refused: 1, Unsettled: 1, Keys: 1}); got != want {
		t.Errorf("counted: got %+v, want %+v", got, want)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for a.settle(t.Context()); a.failing.Load(); a.settle(t.Context()) {
	}
	if got := b.Take(1, 100); got != 0 { // it knows nothing yet
		t.Errorf("first of the other: got a wait of %v, want none", got)
	}
	b.settle(t.Context())
	if got := b.Take(1, 1); got == 0 {
		t.Error("after it was settled: got no wait, want one for what the first has spent")
	}
}

func TestRun_SettlesAndEnds(t *testing.T) {
	t.Parallel()
	all := fleet(t, 2, newClock())
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, l := range all {
		l.Every = time.Millisecond
		running.Go(func() { l.Run(ctx) })
	}
	taken(all[0], 1, 1, 1000)
	for all[1].Take(1, 1) == 0 { // each round settles what this instance has spent, and learns of the others
	}
	cancel()
	running.Wait()
}

func BenchmarkTake(b *testing.B) {
	l := New(Options{Name: "bench", Rate: 1e12, Burst: 1e12})
	l.Take(1, 1)
	b.ReportAllocs()
	for b.Loop() {
		l.Take(1, 1)
	}
}

func BenchmarkTake_ManyKeysInParallel(b *testing.B) {
	l := New(Options{Name: "bench", Rate: 1e12, Burst: 1e12})
	for key := range uint64(50_000) {
		l.Take(key, 1)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for key := uint64(0); pb.Next(); key += 7919 {
			l.Take(key%50_000, 1)
		}
	})
}

func BenchmarkTake_Refused(b *testing.B) {
	l := New(Options{Name: "bench", Rate: 1e-6, Burst: 1})
	l.Take(1, 1)
	b.ReportAllocs()
	for b.Loop() {
		l.Take(1, 1)
	}
}
