package cache

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

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
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = unreached, unreached, unreached, unreached
	return redis.NewClient(o), ""
}

func openForm(t testing.TB, address string) redis.UniversalClient {
	t.Helper()
	client, err := redisconn.Open(address, 8)
	if err != nil {
		t.Fatal(err)
	}
	switch c := client.(type) { // limits of go-redis' own, which a busy machine may reach
	case *redis.Client:
		c.Options().ReadTimeout, c.Options().WriteTimeout = unreached, unreached
	case *redis.ClusterClient:
		c.Options().ReadTimeout, c.Options().WriteTimeout = unreached, unreached
	}
	return client
}

// What holds of a single server holds of the others too.
func TestOnEachForm(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"sentinel", "cluster"} {
		for name, test := range map[string]func(*testing.T){
			"EveryKeyHasItsSlotsOwner":        testMany_EveryKeyHasItsSlotsOwner,
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

// A Redis that is full and evicts nothing keeps no locks, and a reader waits for none: it would for ever.
func TestMany_FullRedisIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	full := testenv.Redis(t, map[string]string{"maxmemory": "1", "maxmemory-policy": "noeviction"})
	r := newRig(t, full.URL)
	r.write(1, "one")
	r.want(r.kind(), map[int]string{1: "one"}, 1)
	r.wantLoads(1)
	if b := r.last(); b.Waited != 0 {
		t.Errorf("waited for: got %d, want none", b.Waited)
	}
}

func testMany_EveryKeyHasItsSlotsOwner(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	keys, want := r.rows100(), map[int]string{}
	for _, key := range keys {
		want[key] = fmt.Sprint(key)
	}
	k := r.kind()
	r.want(k, want, keys...)
	r.want(k, want, keys...)
	r.wantLoads(1)
	k.Forget(t.Context(), keys...)
	r.want(k, want, keys...)
	r.wantLoads(2)
}
