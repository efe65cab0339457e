package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/redisconn"
	"freshet/internal/testenv"
)

// connect makes the client of a rig. Under TestOnEachForm it is one of the form that the test's name says, where the
// number of the database becomes the service.
func connect(t testing.TB, address string) (client redis.UniversalClient, service string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case strings.Contains(t.Name(), "/cluster/"):
		return openForm(t, testenv.SharedCluster(t).URL), "cache" + strings.Trim(u.Path, "/")
	case strings.Contains(t.Name(), "/sentinel/"):
		return openForm(t, testenv.SharedSentinel(t).URL), "cache" + strings.Trim(u.Path, "/")
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	return redis.NewClient(o), ""
}

func openForm(t testing.TB, address string) redis.UniversalClient {
	t.Helper()
	client, err := redisconn.Open(address, 8)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// What holds of a single server holds of the others too.
func TestOnEachForm(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"sentinel", "cluster"} {
		for name, test := range map[string]func(*testing.T){
			"HitsMissesAndAbsences":           TestMany_HitsMissesAndAbsences,
			"ColdCostsTwoRoundTrips":          TestMany_ColdCostsTwoRoundTripsAndOneLoad,
			"StaleByTag":                      TestMany_StaleByTag,
			"LateFillIsStale":                 TestMany_LateFillIsStale,
			"WithoutGrantLeavesRedisAlone":    TestMany_WithoutGrantLeavesRedisAlone,
			"HerdMakesOneLoad":                TestMany_HerdMakesOneLoad,
			"DeadHolderLapses":                TestMany_DeadHolderLapses,
			"LockTakenByALostRoundTrip":       TestMany_LockTakenByALostRoundTrip,
			"LongLoadKeepsItsLock":            TestMany_LongLoadKeepsItsLock,
			"ForgottenWhileLoading":           TestMany_ForgottenWhileLoadingIsNotStored,
			"ForgottenAndExpired":             TestLocal_ForgottenAndExpired,
			"DamagedAndForeignValues":         TestMany_DamagedAndForeignValuesAreMisses,
			"CancelledReader":                 TestMany_CancelledReaderLeavesTheLoadToOthers,
			"ResultsStaleWithAnyPart":         TestResults_StaleWithAnyPart,
			"ResultsEarlyRefreshIsOneCallers": TestResults_EarlyRefreshIsOneCallers,
		} {
			t.Run(form+"/"+name, test)
		}
	}
}

// Locks of all kinds of keys stand in the slots of their entries.
func TestLockKey_SameSlot(t *testing.T) {
	t.Parallel()
	client := openForm(t, testenv.SharedCluster(t).URL)
	defer client.Close()
	for _, key := range []string{"freshet:row:1", "{freshet}:row:1", "a{b}c{d}", "a{b"} {
		one, err := client.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if other := client.ClusterKeySlot(t.Context(), lockKey(key)).Val(); other != one || lockKey(key) == key {
			t.Errorf("slot of %q, the lock of %q: got %d, want %d", lockKey(key), key, other, one)
		}
	}
}

// A Redis that is full and evicts nothing keeps no locks: nobody waits for one.
func TestMany_FullRedisIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	full := testenv.Redis(t, map[string]string{"maxmemory": "1", "maxmemory-policy": "noeviction"})
	r := newRig(t, full.URL)
	r.write(1, "one")
	begun := time.Now()
	r.want(r.kind(), map[int]string{1: "one"}, 1)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("read with a full Redis: got %s, want no wait for a lock", took)
	}
	r.wantLoads(1)
}

// readers read all rows of a rig over and over, and check that none is older than the last commit before the read began.
type readers struct {
	rig     *rig
	kind    *Kind[int, string]
	version [40]atomic.Int64
	reads   atomic.Int64
	slowest atomic.Int64
	work    sync.WaitGroup
	stop    context.CancelFunc
}

func startReaders(t *testing.T, r *rig) *readers {
	ctx, stop := context.WithCancel(t.Context())
	s := &readers{rig: r, kind: r.kind(), stop: stop}
	keys := make([]int, len(s.version))
	for i := range keys {
		keys[i] = i
		r.commit(i, "0")
	}
	for range 3 {
		s.work.Go(func() {
			for ctx.Err() == nil {
				s.read(t, keys)
			}
		})
	}
	s.work.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := int64(1); ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			key := int(n) % len(keys)
			r.commit(key, fmt.Sprint(n))
			s.version[key].Store(n)
		}
	})
	t.Cleanup(s.end)
	return s
}

func (s *readers) read(t *testing.T, keys []int) {
	var want [len(s.version)]int64
	for i := range want {
		want[i] = s.version[i].Load()
	}
	begun := time.Now()
	got, err := s.kind.Many(context.Background(), keys)
	s.slowest.Store(max(s.slowest.Load(), int64(time.Since(begun))))
	if err != nil {
		t.Errorf("Many: got %v", err)
	}
	for i, version := range want {
		var n int64
		if _, err := fmt.Sscan(got[i], &n); err != nil || n < version {
			t.Errorf("row %d: got %q, want version %d or later", i, got[i], version)
		}
	}
	s.reads.Add(1)
}

func (s *readers) end() { s.stop(); s.work.Wait() }

// wait waits until the readers have read on n times, so that what was done before has had its effect.
func (s *readers) wait(t *testing.T, n int64) {
	t.Helper()
	before := s.reads.Load()
	eventually(t, "reads go on", func() bool { return s.reads.Load() >= before+n })
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	const patience = 30 * time.Second
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); !yes(); <-tick.C {
		if time.Since(begun) > patience {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// onGroup is a rig over a group of servers, with the budgets of production.
func onGroup(t *testing.T, g *devenv.RedisGroup) *rig {
	r := newRig(t, testenv.SharedRedis(t))
	r.cache.Close()
	r.redis.Close()
	r.redis = openForm(t, g.URL)
	r.redis.AddHook(r)
	r.cache = New(Options{LocalBytes: -1, Redis: r.redis, Freshness: r.log, Observer: r, Now: r.clock})
	return r
}

func (r *rig) hitsAll(k *Kind[int, string]) bool {
	if _, err := k.Many(context.Background(), []int{100, 101, 102, 103, 104, 105, 106, 107}); err != nil {
		r.t.Error(err)
	}
	return r.last().Hits == 8
}

// A primary of a cluster is killed: the other keys are hits all the while, nothing is stale, nothing waits for long, and
// its own keys are hits again once a replica is promoted.
func TestCluster_PrimaryDies(t *testing.T) {
	t.Parallel()
	g := testenv.Cluster(t, time.Second)
	r := onGroup(t, g)
	readers := startReaders(t, r)
	readers.wait(t, 20)
	r.mu.Lock()
	r.batches = nil
	r.mu.Unlock()
	g.Nodes[0].Kill()
	readers.wait(t, 20)
	r.mu.Lock()
	hits, all := 0, 0
	for _, b := range r.batches {
		hits, all = hits+b.Hits, all+b.Keys
	}
	r.mu.Unlock()
	if hits < all/4 {
		t.Errorf("hits while one of three primaries is away: got %d of %d, want those of the others", hits, all)
	}
	eventually(t, "the cache is in use while two of three primaries answer", r.cache.Available)
	wantPromoted(t, r.redis, g.Nodes[0].Addr)
	readers.wait(t, 20)
	readers.end()
	eventually(t, "all keys are hits again", func() bool { return r.hitsAll(readers.kind) })
	if slowest := time.Duration(readers.slowest.Load()); slowest > 5*time.Second {
		t.Errorf("slowest read: got %s", slowest)
	}
}

// wantPromoted waits until no slot belongs to the dead node.
func wantPromoted(t *testing.T, client redis.UniversalClient, dead string) {
	t.Helper()
	eventually(t, "a replica is promoted", func() bool {
		slots, err := client.ClusterSlots(t.Context()).Result()
		for _, one := range slots {
			if one.Nodes[0].Addr == dead {
				return false
			}
		}
		return err == nil && len(slots) > 0
	})
}

// Slots move from node to node under load: redirections are followed, and nothing is stale.
func TestCluster_SlotsMove(t *testing.T) {
	t.Parallel()
	g := testenv.Cluster(t, time.Minute)
	r := onGroup(t, g)
	readers := startReaders(t, r)
	readers.wait(t, 10)
	moved := map[int64]bool{}
	for key := range 12 {
		slot := r.redis.ClusterKeySlot(t.Context(), fmt.Sprintf("freshet:row:%d", key)).Val()
		if !moved[slot] {
			moved[slot] = true
			if err := g.MoveSlots(t.Context(), nil, int(slot)); err != nil {
				t.Fatal(err)
			}
		}
	}
	readers.wait(t, 20)
	readers.end()
	eventually(t, "all keys are hits again", func() bool { return r.hitsAll(readers.kind) })
	if !r.cache.Available() {
		t.Error("the cache is out of use after slots moved")
	}
}

// While a slot is between two nodes, what is loaded is stored, no lock is left behind, and what is forgotten is gone.
func TestCluster_SlotBetweenTwoNodes(t *testing.T) {
	t.Parallel()
	g := testenv.Cluster(t, time.Minute)
	r := onGroup(t, g)
	r.cache.Lease = time.Minute
	r.cache.ReadBudget, r.cache.WriteBudget = 20*time.Second, 20*time.Second
	k := r.kind()
	r.write(1, "one")
	slot := int(r.redis.ClusterKeySlot(t.Context(), r.row(1)).Val())
	wantHit := func(when string) {
		t.Helper()
		if r.want(k, map[int]string{1: "one"}, 1); r.last().Hits != 1 {
			t.Errorf("%s: got %d hits and misses %v, want 1", when, r.last().Hits, r.last().Misses)
		}
	}
	err := g.MoveSlots(t.Context(), func() {
		r.want(k, map[int]string{1: "one"}, 1)
		if got := r.last().Misses; got[absent] != 1 {
			t.Errorf("first read: got misses %v, want 1 absent: the cluster must have answered", got)
		}
		wantHit("loaded between two nodes")
	}, slot)
	if err != nil {
		t.Fatal(err)
	}
	wantHit("after the move")
	r.wantLoads(1)
	err = g.MoveSlots(t.Context(), func() { k.Forget(t.Context(), 1) }, slot)
	if err != nil {
		t.Fatal(err)
	}
	r.want(k, map[int]string{1: "one"}, 1)
	r.wantLoads(2)
}

// What has no tags is not stored while its slot is between two nodes, and its lock is given back.
func TestCluster_UntaggedBetweenTwoNodes(t *testing.T) {
	t.Parallel()
	g := testenv.Cluster(t, time.Minute)
	r := onGroup(t, g)
	r.cache.Lease = time.Minute
	r.cache.ReadBudget, r.cache.WriteBudget = 20*time.Second, 20*time.Second
	o := r.options()
	o.Tags = nil
	k := NewKind(r.cache, o)
	r.write(1, "one")
	entry := r.row(1)
	slot := int(r.redis.ClusterKeySlot(t.Context(), entry).Val())
	wantThere := func(when string, entries int64) {
		t.Helper()
		r.want(k, map[int]string{1: "one"}, 1)
		got, err := r.redis.Exists(t.Context(), entry).Result()
		locks, failed := r.redis.Exists(t.Context(), lockKey(entry)).Result()
		if err := errors.Join(err, failed); err != nil || got != entries || locks != 0 {
			t.Errorf("%s: got %d entries and %d locks, %v, want %d and none", when, got, locks, err, entries)
		}
	}
	if err := g.MoveSlots(t.Context(), func() { wantThere("between two nodes", 0) }, slot); err != nil {
		t.Fatal(err)
	}
	wantThere("after the move", 1)
}

// Sentinel promotes a replica when the primary is killed.
func TestSentinel_PrimaryDies(t *testing.T) {
	t.Parallel()
	g := testenv.Sentinel(t, time.Second)
	r := onGroup(t, g)
	readers := startReaders(t, r)
	readers.wait(t, 20)
	g.Nodes[0].Kill()
	readers.wait(t, 20)
	eventually(t, "a replica is promoted, and in use", func() bool {
		return r.cache.Available() && r.redis.Set(t.Context(), "freshet:probe", 1, time.Minute).Err() == nil
	})
	readers.wait(t, 20)
	readers.end()
	eventually(t, "all keys are hits again", func() bool { return r.hitsAll(readers.kind) })
}

func TestCluster_EveryKeyHasItsSlotsOwner(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	r.cache.Close()
	r.redis.Close()
	r.redis = openForm(t, testenv.SharedCluster(t).URL)
	r.cache = New(Options{LocalBytes: -1, Redis: r.redis, Service: "owners", Freshness: r.log, Now: r.clock})
	want := map[int]string{}
	keys := []int{}
	for i := range 100 {
		r.write(i, fmt.Sprint(i))
		want[i], keys = fmt.Sprint(i), append(keys, i)
	}
	k := r.kind()
	r.want(k, want, keys...)
	k.Forget(t.Context(), keys...)
	if got, err := k.Many(t.Context(), keys); err != nil || !maps.Equal(got, want) {
		t.Errorf("after Forget: got %v, %v", got, err)
	}
	r.wantLoads(2)
}
