package cache

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// grantedLog is a Log in epoch 1 at position 100 whose grant ends at 500 ms of the clock that it returns.
func grantedLog(t testing.TB) (*Log, *atomic.Int64) {
	t.Helper()
	clock := new(atomic.Int64)
	log := NewLog(func() time.Duration { return time.Duration(clock.Load()) })
	log.Reset(Position{Epoch: 1, At: 100})
	if !log.Grant(log.Position(), 500*time.Millisecond) {
		t.Fatal("Grant at the applied position: got false, want true")
	}
	return log, clock
}

func TestFresh_EachReason(t *testing.T) {
	t.Parallel()
	log, clock := grantedLog(t)
	log.Apply(log.Position(), []string{"profile:1", "post:2"}) // 101, 102
	for _, c := range []struct {
		name string
		asOf Position
		tags []string
		now  time.Duration
		want string
	}{
		{"unchanged since", Position{1, 101}, []string{"profile:1"}, 0, ""},
		{"never changed", Position{1, 100}, []string{"profile:3"}, 0, ""},
		{"no tags", Position{1, 100}, nil, 0, ""},
		{"filled by an instance further ahead", Position{1, 900}, []string{"profile:1"}, 0, ""},
		{"changed", Position{1, 100}, []string{"profile:1"}, 0, "tag"},
		{"last of several changed", Position{1, 101}, []string{"profile:1", "post:2"}, 0, "tag"},
		{"from before the log", Position{1, 99}, []string{"profile:3"}, 0, "floor"},
		{"of another epoch", Position{2, 101}, nil, 0, "epoch"},
		{"zero", Position{}, nil, 0, "epoch"},
		{"grant over", Position{1, 101}, []string{"profile:1"}, 500 * time.Millisecond, "grant"},
		{"changed, grant over", Position{1, 100}, []string{"profile:1"}, time.Second, "tag"},
	} {
		clock.Store(int64(c.now))
		ok, why := log.Fresh(c.asOf, log.Tags(c.tags))
		if ok != (c.want == "") || why != c.want {
			t.Errorf("%s: got %v %q, want %q", c.name, ok, why, c.want)
		}
	}
}

func TestFresh_NewLogHasNoGrant(t *testing.T) {
	t.Parallel()
	log := NewLog(nil)
	if ok, why := log.Fresh(Position{}, log.Tags([]string{"profile:1"})); ok || why != "epoch" {
		t.Errorf("Fresh on a new log: got %v %q, want false \"epoch\"", ok, why)
	}
	if _, ok := log.AsOf(); ok {
		t.Error("AsOf on a new log: got true, want false")
	}
}

func TestFresh_Wildcards(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ change, tag, want string }{
		{"profile:*", "profile:1", "tag"},
		{"profile:*", "profiles:1", ""},
		{"profile:*", "post:1", ""},
		{"*", "post:1", "tag"},
		{"liked:1:2", "liked:1:3", ""},
		{"liked:*", "liked:1:3", "tag"},
	} {
		log, _ := grantedLog(t)
		asOf, _ := log.AsOf()
		tags := log.Tags([]string{"other:1", c.tag, "other:2", c.tag})
		log.Apply(asOf, []string{c.change})
		if _, why := log.Fresh(asOf, tags); why != c.want {
			t.Errorf("%s after %s: got %q, want %q", c.tag, c.change, why, c.want)
		}
	}
}

func TestTags_WildcardOncePerType(t *testing.T) {
	t.Parallel()
	log, _ := grantedLog(t)
	tags := log.Tags([]string{"post:1", "profile:1", "post:2", "profile:2"})
	if want := 4 + 2 + 1; len(tags) != want {
		t.Errorf("got %d hashes, want %d: the tags, a wildcard for each type, and one for all", len(tags), want)
	}
}

func TestApply_GapsAndRepeats(t *testing.T) {
	t.Parallel()
	log, _ := grantedLog(t)
	steps := []struct {
		after Position
		names []string
		ok    bool
		at    uint64
	}{
		{Position{1, 101}, []string{"a:1"}, false, 100},
		{Position{2, 100}, []string{"a:1"}, false, 100},
		{Position{1, 100}, []string{"a:1", "a:2"}, true, 102},
		{Position{1, 100}, []string{"a:1", "a:2"}, true, 102},
		{Position{1, 101}, []string{"a:2", "a:3"}, true, 103},
		{Position{1, 50}, nil, true, 103},
	}
	for _, s := range steps {
		if ok := log.Apply(s.after, s.names); ok != s.ok || log.Position().At != s.at {
			t.Errorf("Apply(%v, %v): got %v at %d, want %v at %d", s.after, s.names, ok, log.Position().At, s.ok, s.at)
		}
	}
	// A repeated change must not seem newer than it is.
	if _, why := log.Fresh(Position{1, 102}, log.Tags([]string{"a:1", "a:2"})); why != "" {
		t.Errorf("after repeats: got %q, want fresh", why)
	}
}

func TestGrant_OnlyForWhatIsApplied(t *testing.T) {
	t.Parallel()
	log, clock := grantedLog(t)
	for _, at := range []Position{{1, 101}, {2, 100}} {
		if log.Grant(at, time.Second) {
			t.Errorf("Grant(%v) at %v: got true, want false", at, log.Position())
		}
	}
	log.Grant(Position{1, 100}, time.Millisecond)
	clock.Store(int64(499 * time.Millisecond))
	if _, ok := log.AsOf(); !ok {
		t.Error("a shorter grant ended a longer one")
	}
	log.Revoke()
	if _, ok := log.AsOf(); ok {
		t.Error("after Revoke: got a grant, want none")
	}
	log.Grant(log.Position(), time.Second)
	log.Reset(Position{Epoch: 1, At: 200})
	if _, ok := log.AsOf(); ok {
		t.Error("after Reset: got a grant, want none")
	}
}

// The log forgets when it is full. It must then refuse what it cannot prove, and stay useful for what is recent.
func TestLog_ForgettingIsNeverFresh(t *testing.T) {
	t.Parallel()
	log, _ := grantedLog(t)
	const (
		share   = 64 // of the sets, one in so many: they fill up as all would with so many times the changes
		changes = 2_000_000 / share
		recent  = 200_000 / share
	)
	random := rand.New(rand.NewPCG(1, 2))
	tags := make([]uint64, 1_500_000/share)
	last := make([]uint64, len(tags))
	for i := range tags {
		tags[i] = random.Uint64()/setCount*setCount + random.Uint64N(setCount/share)
	}
	v := log.view.Load()
	for at := uint64(1); at <= changes; at++ {
		n := random.IntN(len(tags))
		last[n] = at
		v.change(tags[n], at)
	}
	wrong, refused := 0, 0
	const samples = 10_000
	for range samples {
		n := random.IntN(len(tags))
		at := uint64(changes - random.IntN(recent))
		ok, _ := log.Fresh(Position{1, v.base + at}, tags[n:n+1])
		if ok && last[n] > at {
			wrong++
		}
		if !ok && last[n] <= at {
			refused++
		}
	}
	if wrong != 0 {
		t.Errorf("called fresh though changed: got %d of %d, want 0", wrong, samples)
	}
	if refused > samples/100 {
		t.Errorf("refused though unchanged: got %d of %d, want at most 1 %%", refused, samples)
	}
}

// A full view starts anew instead of wrapping its positions.
func TestApply_BeyondTheView(t *testing.T) {
	t.Parallel()
	log, _ := grantedLog(t)
	log.view.Load().applied.Store(100 + positionMask)
	log.Apply(log.Position(), []string{"a:1"})
	if got, want := log.Position(), (Position{1, 101 + positionMask}); got != want {
		t.Errorf("position: got %v, want %v", got, want)
	}
	if _, why := log.Fresh(Position{1, 100}, nil); why != "floor" {
		t.Errorf("read before the new view: got %q, want \"floor\"", why)
	}
	if _, why := log.Fresh(Position{1, 100 + positionMask}, log.Tags([]string{"a:1"})); why != "tag" {
		t.Errorf("changed in the new view: got %q, want \"tag\"", why)
	}
}

// Readers run beside a writer that overfills one set, so that tags give way all the time. What has been applied before a
// reader asks must never seem fresh to it.
func TestFresh_WhileTagsGiveWay(t *testing.T) {
	t.Parallel()
	log, _ := grantedLog(t)
	var names []string
	for i := 0; len(names) < 20; i++ {
		if name := fmt.Sprint("t:", i); log.Tags([]string{name})[1]%setCount == 7 {
			names = append(names, name)
		}
	}
	applied := make([]atomic.Uint64, len(names))
	var stop atomic.Bool
	var readers sync.WaitGroup
	var wrong, checked atomic.Int64
	for range 2 {
		readers.Go(func() {
			for i := 0; !stop.Load(); i = (i + 1) % len(names) {
				tags := log.Tags(names[i : i+1])[1:2]
				if at := applied[i].Load(); at > 0 {
					checked.Add(1)
					if ok, _ := log.Fresh(Position{1, at - 1}, tags); ok {
						wrong.Add(1)
					}
				}
			}
		})
	}
	for i := 0; i < 2000 || checked.Load() < 2000; i++ {
		n := i * 7 % len(names)
		at := log.Position()
		log.Apply(at, names[n:n+1])
		applied[n].Store(at.At + 1)
	}
	stop.Store(true)
	readers.Wait()
	if wrong.Load() != 0 {
		t.Errorf("called fresh though applied before: got %d of %d, want 0", wrong.Load(), checked.Load())
	}
}

func TestFresh_DoesNotAllocate(t *testing.T) {
	log, tags := logWithTags(t, 10_000)
	asOf := log.Position()
	if got := testing.AllocsPerRun(1000, func() { log.Fresh(asOf, tags) }); got != 0 {
		t.Errorf("allocations of Fresh with %d tags: got %v, want 0", len(tags), got)
	}
}

func TestNow_GoesOn(t *testing.T) {
	t.Parallel()
	log := NewLog(nil)
	if before, after := log.Now(), log.Now(); before <= 0 || after < before {
		t.Errorf("clock: got %v, then %v", before, after)
	}
}

// logWithTags has n changes in it, and returns 40 tags spread over them.
func logWithTags(t testing.TB, n int) (*Log, []uint64) {
	t.Helper()
	log := NewLog(nil)
	log.Reset(Position{Epoch: 1})
	log.Grant(log.Position(), math.MaxInt64)
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("posts:", i)
	}
	log.Apply(log.Position(), names)
	tags := make([]string, 0, 40)
	for name := range slices.Chunk(names, n/40) {
		if len(tags) < cap(tags) {
			tags = append(tags, name[0])
		}
	}
	return log, log.Tags(tags)
}

func BenchmarkFresh40Tags(b *testing.B) {
	log, tags := logWithTags(b, 1_000_000)
	asOf := log.Position()
	b.ReportAllocs()
	for b.Loop() {
		if _, why := log.Fresh(asOf, tags); why == "tag" {
			b.Fatal(why)
		}
	}
}

// Every check looks at other tags, so most are in no processor cache.
func BenchmarkFresh40ColdTags(b *testing.B) {
	log, _ := logWithTags(b, 500_000)
	asOf := log.Position()
	entries := make([][]uint64, 10_000)
	for i := range entries {
		names := make([]string, 40)
		for n := range names {
			names[n] = fmt.Sprint("posts:", rand.IntN(500_000))
		}
		entries[i] = log.Tags(names)
	}
	i := 0
	for b.Loop() {
		log.Fresh(asOf, entries[i%len(entries)])
		i++
	}
}

func BenchmarkTags40(b *testing.B) {
	log := NewLog(nil)
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprint("posts:", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		log.Tags(names)
	}
}

func BenchmarkApply(b *testing.B) {
	log := NewLog(nil)
	log.Reset(Position{Epoch: 1})
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprint("posts:", i)
	}
	for b.Loop() {
		log.Apply(log.Position(), names)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(names)), "ns/change")
}

func BenchmarkMemoryPerMillion(b *testing.B) {
	names := make([]string, 1_000_000)
	for i := range names {
		names[i] = fmt.Sprint("posts:", i)
	}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		log := NewLog(nil)
		log.Reset(Position{Epoch: 1})
		log.Apply(log.Position(), names)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB/million")
		runtime.KeepAlive(log)
	}
	runtime.KeepAlive(names)
}
