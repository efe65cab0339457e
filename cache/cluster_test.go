package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/testenv"
)

// rows100 writes 100 rows, enough for each node of a cluster to own some, and returns their keys.
func (r *rig) rows100() []int {
	keys := make([]int, 100)
	for i := range keys {
		keys[i] = i
		r.write(i, fmt.Sprint(i))
	}
	return keys
}

// newClusterRig is a rig over the shared cluster. Each PING and each batch that a node is sent passes onSend, which may fail
// it. No circuit breaker of the client keeps any from a node.
func newClusterRig(t *testing.T, onSend func(addr, command string) error) *rig {
	t.Helper()
	g := testenv.SharedCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{g.Nodes[0].Addr}, Password: g.Password, ContextTimeoutEnabled: true,
		DialTimeout: unreached, ReadTimeout: unreached, WriteTimeout: unreached, PoolTimeout: unreached,
	})
	client.OnNewNode(func(node *redis.Client) { node.AddHook(nodeHook{node.Options().Addr, onSend}) })
	r := newRig(t, testenv.SharedRedis(t))
	r.use(client)
	return r
}

// use replaces the client of a rig that has sent nothing yet. The number of its database becomes the service.
func (r *rig) use(client redis.UniversalClient) {
	number := r.redis.(*redis.Client).Options().DB
	r.redis.Close()
	r.redis = client
	r.redis.AddHook(r)
	r.cache.Redis, r.cache.Service = r.redis, fmt.Sprint("cache", number)
}

// nodeHook is a hook of one node's client.
type nodeHook struct {
	addr   string
	onSend func(addr, command string) error
}

func (nodeHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h nodeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "ping" {
			if err := h.onSend(h.addr, cmd.Name()); err != nil {
				return err
			}
		}
		return next(ctx, cmd)
	}
}

func (h nodeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !beginsConnection(cmds[0]) {
			if err := h.onSend(h.addr, cmds[0].Name()); err != nil {
				return err
			}
		}
		return next(ctx, cmds)
	}
}

// owner is the address of the node that has a row.
func (r *rig) owner(row int) string {
	node, err := r.redis.(*redis.ClusterClient).MasterForKey(context.Background(), r.row(row))
	if err != nil {
		r.t.Fatal(err)
	}
	return node.Options().Addr
}

// A batch is one load also where a node is slow. What can be locked is stored, and a lock is asked for again.
func TestCluster_SlowNodeMakesNoSecondLoad(t *testing.T) {
	t.Parallel()
	const always = 1 << 30
	for _, c := range []struct {
		name         string
		slow, others int64 // how many batches get no answer: those of one node, and those of each other node
		stored       bool  // also what the slow node owns
	}{
		{"once", 1, 0, true},
		{"twice, and all of them once", 2, 1, true},
		{"always", always, 0, false},
		{"always, and all of them once", always, 1, false},
	} {
		var slowAddr atomic.Value
		var counts sync.Map // from an address to a count of batches
		r := newClusterRig(t, func(addr, command string) error {
			silent := c.others
			if addr == slowAddr.Load() {
				silent = c.slow
			}
			count, _ := counts.LoadOrStore(addr, new(atomic.Int64))
			if command != "ping" && count.(*atomic.Int64).Add(1) <= silent {
				return context.DeadlineExceeded
			}
			return nil
		})
		k, keys := r.kind(), r.rows100()
		slowAddr.Store(r.owner(0))
		own := 0
		for _, key := range keys {
			if r.owner(key) == slowAddr.Load() {
				own++
			}
		}
		if got, err := k.Many(t.Context(), keys); err != nil || len(got) != len(keys) {
			t.Errorf("%s: got %d values, %v, want %d", c.name, len(got), err, len(keys))
		}
		settle(k, keys...)
		r.wantLoads(1)
		want := len(keys)
		if !c.stored {
			want -= own
		}
		if got, err := k.Many(t.Context(), keys); err != nil || len(got) != len(keys) || r.last().Hits != want {
			t.Errorf("%s, read again: got %d values, %d hits, %v, want %d hits", c.name, len(got), r.last().Hits, err, want)
		}
		settle(k, keys...)
		if !r.cache.Available() {
			t.Errorf("%s: the cache is out of use, want it in use: two of three primaries answer", c.name)
		}
	}
}

// A cluster is alive while one of its primaries answers, and the answer is not held up by the others.
func TestCluster_AliveWhileOnePrimaryAnswers(t *testing.T) {
	t.Parallel()
	var lively atomic.Value
	hang := make(chan struct{})
	r := newClusterRig(t, func(addr, command string) error {
		if command == "ping" && addr != lively.Load() {
			<-hang
		}
		return nil
	})
	lively.Store(r.owner(0))
	defer close(hang)
	if !r.cache.alive(t.Context()) {
		t.Error("one of three primaries answers: got false, want true")
	}
}

// Cluster tests that move slots and end servers, one after the other on one cluster.
func TestCluster_SlotsMoveAndAPrimaryDies(t *testing.T) {
	t.Parallel()
	g := testenv.Cluster(t, time.Minute)
	for _, one := range []struct {
		name string
		test func(*testing.T, *devenv.RedisGroup)
	}{
		{"slot between two nodes", testSlotBetweenTwoNodes},
		{"untagged between two nodes", testUntaggedBetweenTwoNodes},
		{"slots move under load", testSlotsMove},
		{"a primary dies", testPrimaryDies}, // last: it does not come back
	} {
		t.Run(one.name, func(t *testing.T) { one.test(t, g) })
	}
}

// While a slot is between two nodes, what is loaded is stored, no lock is left behind, and what is forgotten is gone.
func testSlotBetweenTwoNodes(t *testing.T, g *devenv.RedisGroup) {
	r := newRig(t, testenv.SharedRedis(t))
	r.use(openForm(t, g.URL))
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
func testUntaggedBetweenTwoNodes(t *testing.T, g *devenv.RedisGroup) {
	r := newRig(t, testenv.SharedRedis(t))
	r.use(openForm(t, g.URL))
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

// Slots move from node to node under load: redirections are followed, and nothing is stale.
func testSlotsMove(t *testing.T, g *devenv.RedisGroup) {
	r := newRig(t, testenv.SharedRedis(t))
	r.use(openForm(t, g.URL))
	readers := startReaders(t, r)
	readers.wait(t, 10)
	moved := map[int64]bool{}
	for key := range 6 {
		slot := r.redis.ClusterKeySlot(t.Context(), r.row(key)).Val()
		if !moved[slot] {
			moved[slot] = true
			if err := g.MoveSlots(t.Context(), nil, int(slot)); err != nil {
				t.Fatal(err)
			}
		}
	}
	readers.wait(t, 10)
	readers.end()
	testenv.Eventually(t, "all keys are hits again", func() bool { return r.hitsAll(readers.kind) })
	if !r.cache.Available() {
		t.Error("the cache is out of use after slots moved")
	}
}

// A primary is killed: its keys come from the source, in one load a batch, and those of the others are hits all the while.
// Nothing is stale. Once its replica is promoted, its keys are hits again.
func testPrimaryDies(t *testing.T, g *devenv.RedisGroup) {
	r := newRig(t, testenv.SharedRedis(t))
	r.use(openForm(t, g.URL))
	k, keys := r.kind(), r.rows100()
	want := map[int]string{}
	for _, key := range keys {
		want[key] = fmt.Sprint(key)
	}
	r.want(k, want, keys...)
	dead := 0
	for _, key := range keys {
		if r.owner(key) == g.Nodes[0].Addr {
			dead++
		}
	}
	g.Nodes[0].Kill()
	for n := range 10 {
		change := slices.IndexFunc(keys, func(key int) bool { return r.owner(key) != g.Nodes[0].Addr && key > n })
		want[change] = fmt.Sprint("change ", n)
		r.commit(change, want[change])
		r.want(k, want, keys...)
		r.want(k, want, keys...)
		if b := r.last(); b.Hits != len(keys)-dead || b.Loaded != dead {
			t.Errorf("one of three primaries is away: got %d hits, %d loaded, want %d, %d", b.Hits, b.Loaded, len(keys)-dead, dead)
		}
		if !r.cache.Available() {
			t.Error("one of three primaries is away: the cache is out of use, want it in use")
		}
	}
	r.wantLoads(1 + 20)
	replica := redis.NewClient(&redis.Options{Addr: g.Nodes[3].Addr, Password: g.Password})
	defer replica.Close()
	if err := replica.Do(t.Context(), "CLUSTER", "FAILOVER", "TAKEOVER").Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "all keys are hits again", func() bool {
		r.want(k, want, keys...)
		return r.last().Hits == len(keys)
	})
}

// Sentinel promotes a replica in place of a dead primary.
func TestSentinel_PrimaryDies(t *testing.T) {
	t.Parallel()
	g := testenv.Sentinel(t, time.Minute)
	r := newRig(t, testenv.SharedRedis(t))
	r.use(openForm(t, g.URL))
	k := r.kind()
	r.write(1, "old")
	r.want(k, map[int]string{1: "old"}, 1)
	g.Nodes[0].Kill()
	r.commit(1, "new")
	for r.cache.Available() {
		r.want(k, map[int]string{1: "new"}, 1)
	}
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: g.Sentinels[0].Addr, Password: g.Password})
	defer sentinel.Close()
	if err := sentinel.Failover(t.Context(), devenv.SentinelMaster).Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "Redis is in use again", r.cache.Available)
	testenv.Eventually(t, "the key is a hit again", func() bool {
		r.want(k, map[int]string{1: "new"}, 1)
		return r.last().Hits == 1
	})
}

// readers read all rows of a rig over and over, and check that none is older than the last commit before the read began.
type readers struct {
	rig     *rig
	kind    *Kind[int, string]
	version [20]atomic.Int64
	reads   atomic.Int64
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
	for range 2 {
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
	got, err := s.kind.Many(context.Background(), keys)
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
	testenv.Eventually(t, "reads go on", func() bool { return s.reads.Load() >= before+n })
}

func (r *rig) hitsAll(k *Kind[int, string]) bool {
	if _, err := k.Many(context.Background(), []int{100, 101, 102, 103, 104, 105, 106, 107}); err != nil {
		r.t.Error(err)
	}
	return r.last().Hits == 8
}
