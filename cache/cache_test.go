package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) {
	logging.Disable() // faults are made on purpose
	testenv.Main(m)
}

// unreached is a time that no test reaches: a limit that is not what a test is about.
const unreached = time.Hour

// rig is a cache over a real Redis, a source that counts, and what the observer heard.
type rig struct {
	t     testing.TB
	cache *Cache
	redis redis.UniversalClient
	log   *Log
	trips atomic.Int64
	lose  func(trip []redis.Cmder) bool // whether a round trip's reply is lost; nil loses none

	mu      sync.Mutex
	rows    map[int]string
	loads   [][]int
	batches []Batch
	now     time.Time
	onLoad  func(keys []int) // runs in a load, after the rows were read
}

func newRig(t testing.TB, url string) *rig {
	r := &rig{t: t, rows: map[int]string{}, log: NewLog(nil), now: time.Now(), onLoad: func([]int) {}}
	r.log.Reset(Position{Epoch: 1})
	r.log.Grant(r.log.Position(), math.MaxInt64)
	service := ""
	r.redis, service = connect(t, url)
	r.redis.AddHook(r)
	r.cache = New(Options{
		LocalBytes: -1, Redis: r.redis, Service: service, Freshness: r.log, Observer: r, Now: r.clock,
		Lease: unreached, ReadBudget: unreached, WriteBudget: unreached, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	r.cache.minPeerWait = unreached
	t.Cleanup(func() { r.cache.Close(); r.redis.Close() })
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) Stored(string, int) {}

func (r *rig) Observe(_ context.Context, b Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, b)
}

// The rig is a hook of the client, to count round trips.
func (r *rig) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *rig) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { r.count(cmd); return next(ctx, cmd) }
}

func (r *rig) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.count(cmds[0])
		err := next(ctx, cmds)
		if r.lose != nil && r.lose(cmds) {
			for _, cmd := range cmds {
				cmd.SetErr(context.DeadlineExceeded)
			}
			return context.DeadlineExceeded
		}
		return err
	}
}

// count leaves out how a connection begins: the pool makes some in advance.
func (r *rig) count(first redis.Cmder) {
	if !beginsConnection(first) {
		r.trips.Add(1)
	}
}

func beginsConnection(first redis.Cmder) bool {
	return slices.Contains([]string{"hello", "auth", "client", "select"}, first.Name())
}

func (r *rig) load(_ context.Context, keys []int) (map[int]string, error) {
	r.mu.Lock()
	values := map[int]string{}
	for _, key := range keys {
		if value, ok := r.rows[key]; ok {
			values[key] = value
		}
	}
	r.loads = append(r.loads, keys)
	onLoad := r.onLoad
	r.mu.Unlock()
	onLoad(keys)
	return values, nil
}

func (r *rig) write(key int, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows[key] = value
}

// commit is a write as a mutation answers it: the log has told this process.
func (r *rig) commit(key int, value string) {
	r.write(key, value)
	r.log.Apply(r.log.Position(), []string{fmt.Sprintf("row:%d", key)})
	r.log.Grant(r.log.Position(), math.MaxInt64)
}

// row is the key of a row in Redis.
func (r *rig) row(n int) string { return fmt.Sprintf("%s:row:%d", r.cache.Service, n) }

func (r *rig) kind() *Kind[int, string] { return NewKind(r.cache, r.options()) }

func (r *rig) options() KindOptions[int, string] {
	return KindOptions[int, string]{
		Name: "row", TTL: time.Minute, Key: func(i int) string { return fmt.Sprint(i) }, Load: r.load,
		Tags: func(i int, _ string, _ bool) []string { return []string{fmt.Sprintf("row:%d", i)} },
	}
}

// setBudget bounds round trips by a time that is reached.
func (r *rig) setBudget(budget time.Duration) {
	r.cache.ReadBudget, r.cache.looks.budget, r.cache.stores.budget = budget, budget, budget
}

// settle waits until what reads of this process have begun to bring in is stored: they answer before that.
func settle(k *Kind[int, string], keys ...int) {
	for _, key := range keys {
		k.flights.mu.Lock()
		under := k.flights.all[key]
		k.flights.mu.Unlock()
		if under != nil {
			<-under.done
		}
	}
}

func (r *rig) want(k *Kind[int, string], want map[int]string, keys ...int) {
	r.t.Helper()
	r.wantSoon(k, want, keys...)
	settle(k, keys...)
}

// wantSoon leaves what the read has begun to itself.
func (r *rig) wantSoon(k *Kind[int, string], want map[int]string, keys ...int) {
	r.t.Helper()
	got, err := k.Many(context.Background(), keys)
	if err != nil {
		r.t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		r.t.Errorf("Many(%v): got %v, want %v", keys, got, want)
	}
}

func (r *rig) wantLoads(want int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.loads) != want {
		r.t.Errorf("loads: got %v, want %d", r.loads, want)
	}
}

func (r *rig) last() Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.batches[len(r.batches)-1]
}

func (r *rig) setOnLoad(f func([]int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onLoad = f
}

func TestMany_HitsMissesAndAbsences(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	r.want(k, map[int]string{1: "one"}, 1, 2, 1)
	if b := r.last(); b.Keys != 2 || b.Hits != 0 || b.Misses[absent] != 2 || b.Loaded != 2 {
		t.Errorf("cold: got %+v, want 2 keys, 2 absent, 2 loaded", b)
	}
	before := r.trips.Load()
	r.want(k, map[int]string{1: "one"}, 1, 2)
	if b := r.last(); b.Hits != 2 || b.Misses != nil || b.Loaded != 0 {
		t.Errorf("warm: got %+v, want 2 hits and nothing else", b)
	}
	if got := r.trips.Load() - before; got != 1 {
		t.Errorf("round trips of a warm batch: got %d, want 1", got)
	}
	r.write(3, "three")
	r.want(k, map[int]string{1: "one", 3: "three"}, 1, 3)
	if b := r.last(); b.Hits != 1 || b.Loaded != 1 {
		t.Errorf("mixed: got %+v, want 1 hit, 1 loaded", b)
	}
	r.wantLoads(2)
}

func TestMany_ColdCostsTwoRoundTripsAndOneLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	var others []int
	for i := 100; i < 140; i++ {
		others = append(others, i)
	}
	r.want(k, map[int]string{}, others...) // Redis learns the script, on each node if it is a cluster
	var keys []int
	for i := 1; i <= 20; i++ {
		keys = append(keys, i)
		r.write(i, "row")
	}
	before := r.trips.Load()
	if _, err := k.Many(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	settle(k, keys...)
	if got := r.trips.Load() - before; got != 2 {
		t.Errorf("round trips of a cold batch of 20: got %d, want 2 (look and lock, fill)", got)
	}
	if b := r.last(); b.RoundTrips != 1 {
		t.Errorf("RoundTrips that the reader waited for: got %d, want 1", b.RoundTrips)
	}
	r.wantLoads(2)
}

// No script may reach all of these: each must find its own, and lock it.
func TestMany_MoreThanAScriptReaches(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	var all, odd []int
	want := map[int]string{}
	for i := range 450 {
		want[i] = fmt.Sprint("row ", i)
		r.write(i, want[i])
		if all = append(all, i); i%2 == 1 {
			odd = append(odd, i)
		}
	}
	if _, err := k.Many(t.Context(), odd); err != nil {
		t.Fatal(err)
	}
	settle(k, odd...)
	r.want(k, want, all...)
	if b := r.last(); b.Hits != len(odd) || b.Loaded != len(all)-len(odd) {
		t.Errorf("half of them were there: got %d hits, %d loaded, want %d, %d", b.Hits, b.Loaded, len(odd), len(all)-len(odd))
	}
	r.want(k, want, all...)
	if b := r.last(); b.Hits != len(all) || b.RoundTrips != 1 {
		t.Errorf("all of them are there: got %d hits in %d round trips, want %d in 1", b.Hits, b.RoundTrips, len(all))
	}
	if locks, err := r.redis.Keys(t.Context(), "{"+r.cache.Service+":*").Result(); err != nil || len(locks) > 0 {
		t.Errorf("locks left: got %d, %v, want none", len(locks), err)
	}
}

// What was loaded waits to be stored for its reader's end, and for nothing once somebody else waits for it.
func TestMany_StoresBehindItsReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	r.cache.moment = time.Hour
	k := r.kind()
	r.write(1, "one")
	r.write(2, "two")
	ctx, answered := context.WithCancel(t.Context())
	if _, err := k.Many(ctx, []int{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Many(ctx, []int{2}); err != nil {
		t.Fatal(err)
	}
	if n := r.redis.Exists(ctx, r.row(1), r.row(2)).Val(); n != 0 {
		t.Errorf("before the reader's end: got %d entries, want none", n)
	}
	r.want(k, map[int]string{2: "two"}, 2) // another, who has it stored
	if n := r.redis.Exists(ctx, r.row(2)).Val(); n != 1 {
		t.Errorf("once another waits: got %d entries, want 1", n)
	}
	answered()
	settle(k, 1)
	if n := r.redis.Exists(t.Context(), r.row(1)).Val(); n != 1 {
		t.Errorf("after the reader's end: got %d entries, want 1", n)
	}
	r.wantLoads(2)
}

func TestMany_StaleByTag(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "old")
	r.want(k, map[int]string{1: "old"}, 1)
	r.commit(1, "new")
	r.want(k, map[int]string{1: "new"}, 1)
	if b := r.last(); b.Misses["stale_tag"] != 1 {
		t.Errorf("misses: got %v, want 1 stale_tag", b.Misses)
	}
	r.want(k, map[int]string{1: "new"}, 1)
	r.wantLoads(2)
}

// A value that was read before a change and stored after it must not be served: the classic race of cache-aside.
func TestMany_LateFillIsStale(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "old")
	r.setOnLoad(func([]int) {
		r.setOnLoad(func([]int) {})
		r.commit(1, "new") // between the read of the row and the fill
	})
	r.want(k, map[int]string{1: "old"}, 1) // began before the change was answered
	r.want(k, map[int]string{1: "new"}, 1)
}

// The negative control of the test above: as-of sampled after the read makes the same race visible.
func TestMany_AsOfAfterReadIsCaught(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "old")
	r.setOnLoad(func([]int) { r.setOnLoad(func([]int) {}); r.commit(1, "new") })
	k.loads.begin = func() (Position, bool) {
		p, ok := r.log.AsOf()
		p.At++ // as if the change had already been seen
		return p, ok
	}
	r.want(k, map[int]string{1: "old"}, 1)
	r.want(k, map[int]string{1: "old"}, 1) // stale, as it must be with this fault
}

func TestMany_WithoutGrantLeavesRedisAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	r.log.Revoke()
	r.want(k, map[int]string{1: "one"}, 1)
	r.want(k, map[int]string{1: "one"}, 1)
	if got := r.trips.Load(); got != 0 {
		t.Errorf("round trips without a grant: got %d, want 0", got)
	}
	r.wantLoads(2)
}

func TestMany_TTLKindNeedsNoGrant(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.Tags = nil
	k := NewKind(r.cache, o)
	r.log.Revoke()
	r.write(1, "one")
	r.want(k, map[int]string{1: "one"}, 1)
	r.want(k, map[int]string{1: "one"}, 1)
	r.wantLoads(1)
	r.write(1, "two")
	k.Forget(t.Context(), 1)
	r.want(k, map[int]string{1: "two"}, 1)
}

func TestMany_ExpiresAtTheLatestAtTTL(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.TTL = 1000 * time.Hour
	k := NewKind(r.cache, o)
	r.write(1, "old")
	r.want(k, map[int]string{1: "old"}, 1)
	ttl, err := r.redis.PTTL(t.Context(), r.row(1)).Result()
	if err != nil || ttl > o.TTL || ttl < o.TTL*8/10 {
		t.Errorf("TTL: got %v, %v, want up to a tenth less than %v", ttl, err, o.TTL)
	}
	r.write(1, "new")
	r.pass(o.TTL)
	r.want(k, map[int]string{1: "new"}, 1)
	if b := r.last(); b.Misses[expired] != 1 {
		t.Errorf("misses: got %v, want 1 expired", b.Misses)
	}
}

func TestMany_DamagedAndForeignValuesAreMisses(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	r.write(2, "two")
	r.want(k, map[int]string{1: "one", 2: "two"}, 1, 2)
	good, err := r.redis.Get(t.Context(), r.row(1)).Result()
	if err != nil {
		t.Fatal(err)
	}
	other := r.options()
	other.TTL = time.Hour
	for name, value := range map[string]string{
		"empty":       "",
		"text":        "hello",
		"another key": must(r.redis.Get(t.Context(), r.row(2)).Result()),
		"cut":         good[:len(good)-1],
		"bit flip":    good[:len(good)-1] + string(good[len(good)-1]^1),
		"next format": good[:1] + string(rune(format+1)) + good[2:],
		"header only": good[:headerSize],
	} {
		if err := r.redis.Set(t.Context(), r.row(1), value, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		r.want(k, map[int]string{1: "one"}, 1)
		if b := r.last(); b.Misses[foreign] != 1 {
			t.Errorf("%s: got misses %v, want 1 foreign", name, b.Misses)
		}
	}
	r.want(NewKind(r.cache, other), map[int]string{1: "one"}, 1)
	if b := r.last(); b.Misses[foreign] != 1 {
		t.Errorf("another policy: got misses %v, want 1 foreign", b.Misses)
	}
	if err := r.redis.Del(t.Context(), r.row(1)).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.redis.LPush(t.Context(), r.row(1), "a list").Err(); err != nil {
		t.Fatal(err)
	}
	r.want(k, map[int]string{1: "one"}, 1)
}

// 500 readers in three processes' worth of caches ask for one cold key whose load lasts until all have asked.
func TestMany_HerdMakesOneLoad(t *testing.T) {
	t.Parallel()
	url := testenv.SharedRedis(t)
	var rigs []*rig
	var kinds []*Kind[int, string]
	asked := make(chan struct{})
	var loads, readers atomic.Int64
	for range 3 {
		r := newRig(t, url)
		r.write(1, "one")
		r.setOnLoad(func([]int) { loads.Add(1); <-asked })
		rigs, kinds = append(rigs, r), append(kinds, r.kind())
	}
	const each = 167
	var group sync.WaitGroup
	for i, k := range kinds {
		for range each {
			group.Go(func() {
				if readers.Add(1) == 3*each {
					close(asked)
				}
				rigs[i].want(k, map[int]string{1: "one"}, 1)
			})
		}
	}
	group.Wait()
	if got := loads.Load(); got != 1 {
		t.Errorf("loads: got %d, want 1", got)
	}
}

// Who finds a key waits for nobody who is after it too.
func TestMany_HitWaitsForNoFlight(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	r.want(k, map[int]string{1: "one"}, 1)
	settle(k, 1)
	mine := k.flights.claim([]int{1}).mine
	defer k.flights.land(mine, false)
	if got, err := k.Many(t.Context(), []int{1}); err != nil || got[1] != "one" {
		t.Errorf("got %v, %v, want the entry", got, err)
	}
	if b := r.last(); b.Waited != 0 {
		t.Errorf("waited for: got %d, want none", b.Waited)
	}
}

func TestMany_DeadHolderLapses(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	if err := r.redis.Set(t.Context(), lockKey(r.row(1)), "dead", 100*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	r.want(k, map[int]string{1: "one"}, 1)
	r.wantLoads(1)
}

// A round trip that took a lock, and whose reply was lost, must not keep anyone waiting for that lock to lapse.
func TestMany_LockTakenByALostRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		lost   int // replies
		stored int64
	}{{"looking", 1, 1}, {"looking, and once more", 2, 1}, {"until it gives up", 4, 0}} {
		r := newRig(t, testenv.SharedRedis(t))
		if err := r.redis.Del(t.Context(), r.row(1), lockKey(r.row(1))).Err(); err != nil { // of the round before
			t.Fatal(err)
		}
		left := c.lost
		r.lose = func(trip []redis.Cmder) bool {
			looks := slices.Contains(trip[0].Args(), any(lookScript.Hash()))
			if trip[0].Name() != "set" && !looks {
				return false
			}
			left--
			return left >= 0
		}
		r.write(1, "one")
		r.want(r.kind(), map[int]string{1: "one"}, 1)
		r.wantLoads(1)
		r.cache.work.Wait()
		name := r.row(1)
		if got := must(r.redis.Exists(t.Context(), name).Result()); got != c.stored {
			t.Errorf("%s: entries stored: got %d, want %d", c.name, got, c.stored)
		}
		if got := must(r.redis.Exists(t.Context(), lockKey(name)).Result()); got != 0 {
			t.Errorf("%s: locks left: got %d, want none", c.name, got)
		}
	}
}

// What a writer reads back waits for no lock whose holder may be dead, no flight that does, and no Redis that stands still: of
// those none ends before the read does.
func TestStrict_WaitsForNobody(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, nil)
	r := newRig(t, server.URL)
	k := r.kind()
	r.write(1, "one")
	r.write(2, "two")
	readBack := func(key int, want string) {
		t.Helper()
		if got, _, err := k.One(Strict(t.Context()), key); err != nil || got != want {
			t.Errorf("read back of %d: got %q, %v, want %q", key, got, err, want)
		}
	}
	lock := lockKey(r.row(1))
	if err := r.redis.Set(t.Context(), lock, "dead", unreached).Err(); err != nil {
		t.Fatal(err)
	}
	readBack(1, "one")
	var ordinary sync.WaitGroup
	ordinary.Go(func() { r.want(k, map[int]string{1: "one"}, 1) })
	testenv.Eventually(t, "an ordinary read waits", func() bool {
		k.flights.mu.Lock()
		defer k.flights.mu.Unlock()
		return len(k.flights.all) > 0
	})
	readBack(1, "one")
	r.redis.Del(t.Context(), lock)
	ordinary.Wait()
	r.cache.ReadBudget = time.Millisecond
	r.setOnLoad(func([]int) { server.Pause() })
	readBack(2, "two")
	server.Resume()
}

// A writer that has waited for the caches in vain does not wait for Redis again.
func TestHurry_ReadsBackFromTheSource(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	r.want(k, map[int]string{1: "one"}, 1)
	Hurry(t.Context()) // no writer: nothing to hurry
	r.want(k, map[int]string{1: "one"}, 1)
	writer := Strict(t.Context())
	for _, loaded := range []int{0, 1} {
		if got, _, err := k.One(writer, 1); err != nil || got != "one" {
			t.Errorf("read back: got %q, %v, want \"one\"", got, err)
		}
		if got := r.last(); got.Loaded != loaded || loaded == 1 && got.RoundTrips != 0 {
			t.Errorf("read back: got %d loaded in %d round trips, want %d, 0 in a hurry", got.Loaded, got.RoundTrips, loaded)
		}
		Hurry(writer)
	}
}

// The author of a change sees it, also where caches promise their TTL alone, and whether or not the entry was forgotten.
func TestStrict_OfATTLKindComesFromTheSource(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.Tags = nil
	k := NewKind(r.cache, o)
	r.write(1, "old")
	r.want(k, map[int]string{1: "old"}, 1)
	r.write(1, "new")
	r.want(k, map[int]string{1: "old"}, 1)
	if got, _, err := k.One(Strict(t.Context()), 1); err != nil || got != "new" {
		t.Errorf("read back: got %q, %v, want \"new\"", got, err)
	}
}

// A living holder keeps its lock past the lease, however long the load takes.
func TestMany_LongLoadKeepsItsLock(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	r.cache.Lease = 30 * time.Millisecond
	r.write(1, "one")
	renewals := make(chan struct{}, 1)
	r.lose = func(trip []redis.Cmder) bool {
		if slices.Contains(trip[0].Args(), any(renewScript.Hash())) {
			select {
			case renewals <- struct{}{}:
			default:
			}
		}
		return false
	}
	r.setOnLoad(func([]int) {
		for range 3 {
			testenv.Receive(t, "a renewal of the lock of a running load", renewals)
		}
	})
	r.want(r.kind(), map[int]string{1: "one"}, 1)
	r.wantLoads(1)
}

func TestMany_ForgottenWhileLoadingIsNotStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.Tags = nil
	k := NewKind(r.cache, o)
	r.write(1, "old")
	r.setOnLoad(func([]int) {
		r.setOnLoad(func([]int) {})
		r.write(1, "new")
		k.Forget(context.Background(), 1)
	})
	r.want(k, map[int]string{1: "old"}, 1)
	r.want(k, map[int]string{1: "new"}, 1)
}

// waitQueued waits until so many callers wait for the first load that has not begun.
func waitQueued(t *testing.T, k *Kind[int, string], callers int) {
	t.Helper()
	testenv.Eventually(t, "callers wait for a load", func() bool {
		k.loads.mu.Lock()
		defer k.loads.mu.Unlock()
		return len(k.loads.queue) > 0 && k.loads.queue[0].callers == callers
	})
}

func TestLoads_NeverJoinARunningOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.MaxLoads = 1
	k := NewKind(r.cache, o)
	r.log.Revoke() // every read goes to the source
	r.write(1, "old")
	loading, finish := make(chan struct{}), make(chan struct{})
	r.setOnLoad(func([]int) { r.setOnLoad(func([]int) {}); close(loading); <-finish })
	var group sync.WaitGroup
	group.Go(func() { r.want(k, map[int]string{1: "old"}, 1) })
	<-loading
	r.write(1, "new")
	for range 50 {
		group.Go(func() { r.want(k, map[int]string{1: "new"}, 1) })
	}
	waitQueued(t, k, 50)
	close(finish)
	group.Wait()
	r.wantLoads(2)
}

func TestLoads_PanicFailsAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := r.options()
	o.MaxLoads = 1
	loading, finish := make(chan struct{}), make(chan struct{})
	var once sync.Once
	o.Load = func(ctx context.Context, keys []int) (map[int]string, error) {
		once.Do(func() { close(loading); <-finish })
		for _, key := range keys {
			if key == 13 {
				panic("thirteen")
			}
		}
		return r.load(ctx, keys)
	}
	k := NewKind(r.cache, o)
	r.log.Revoke()
	r.write(1, "one")
	var group sync.WaitGroup
	group.Go(func() { r.want(k, map[int]string{1: "one"}, 1) })
	<-loading
	group.Go(func() { r.want(k, map[int]string{1: "one"}, 1) })
	group.Go(func() {
		_, err := k.Many(t.Context(), []int{13})
		var panicked *panicError
		if !errors.As(err, &panicked) {
			t.Errorf("the panicking key: got %v, want its panic", err)
		}
	})
	waitQueued(t, k, 2)
	close(finish)
	group.Wait()
}

func TestMany_CancelledReaderLeavesTheLoadToOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	k := r.kind()
	r.write(1, "one")
	ctx, cancel := context.WithCancel(t.Context())
	r.setOnLoad(func([]int) { cancel() })
	if _, err := k.Many(ctx, []int{1}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled read: got %v, want context.Canceled", err)
	}
	r.want(k, map[int]string{1: "one"}, 1)
	r.wantLoads(1)
}

func TestCache_RedisAwayAndBack(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, nil)
	r := newRig(t, server.URL)
	k := r.kind()
	r.write(1, "one")
	r.want(k, map[int]string{1: "one"}, 1)
	server.Kill()
	for r.cache.Available() {
		r.want(k, map[int]string{1: "one"}, 1)
	}
	if b := r.last(); b.Misses[unavailable] != 1 {
		t.Errorf("misses: got %v, want 1 unavailable", b.Misses)
	}
	before := r.trips.Load()
	r.want(k, map[int]string{1: "one"}, 1)
	if b := r.last(); b.RoundTrips != 0 {
		t.Errorf("round trips while out of use: got %d (%d in all), want 0", b.RoundTrips, r.trips.Load()-before)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "Redis is in use again", r.cache.Available)
	r.want(k, map[int]string{1: "one"}, 1)
	r.want(k, map[int]string{1: "one"}, 1)
	if b := r.last(); b.Hits != 1 {
		t.Errorf("once it is back: got %+v, want a hit", b)
	}
}

// A Redis that stands still is given up as well: each round trip ends with its budget.
func TestCache_RedisStandsStill(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, nil)
	r := newRig(t, server.URL)
	k := r.kind()
	r.write(1, "one")
	r.want(k, map[int]string{1: "one"}, 1)
	server.Pause()
	r.setBudget(time.Millisecond)
	for r.cache.Available() {
		r.want(k, map[int]string{1: "one"}, 1)
	}
	server.Resume()
	testenv.Eventually(t, "Redis is in use again", r.cache.Available)
}

func TestName_LongVariantsAreHashed(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	o := KindOptions[string, string]{Name: "feed", Key: strings.Clone}
	k := NewKind(r.cache, o)
	if got, want := k.name("user:42:first=20"), "freshet:feed:user:42:first=20"; got != want {
		t.Errorf("short name: got %q, want %q", got, want)
	}
	long := "user:42:after=" + strings.Repeat("x", 500)
	if got := k.name(long); len(got) > 200 || got == k.name(long+"y") {
		t.Errorf("long names: got %q and %q, want short and different ones", got, k.name(long+"y"))
	}
}

func FuzzParseEntry(f *testing.F) {
	e := entry{shape: 7, asOf: Position{1, 2}, filled: time.UnixMilli(3), expires: time.UnixMilli(4), tags: pack([]string{"a:1"}), payload: []byte("p")}
	f.Add(e.append(nil, "key"))
	f.Add([]byte{magic, format})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, ok := parseEntry("key", raw)
		if !ok {
			return
		}
		if again := got.append(nil, "key"); string(again) != string(raw) && raw[2] <= flagAbsent {
			t.Errorf("written again: got %x, want %x", again, raw)
		}
	})
}
