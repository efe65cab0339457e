package server

import (
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cache"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// waitLong is for budgets that are no part of what a test is about: only a hang reaches it.
const waitLong = 5 * time.Minute

// newCache is one over the shared Redis whose log grants for ever. A busy machine is no fault: it waits for Redis.
func newCache(t testing.TB, observer cache.Observer) *cache.Cache {
	t.Helper()
	o, err := redis.ParseURL(testenv.SharedRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	log := cache.NewLog(nil)
	log.Reset(cache.Position{Epoch: 1})
	log.Grant(log.Position(), math.MaxInt64)
	c := cache.New(cache.Options{Redis: client, Freshness: log, Observer: observer, ReadBudget: waitLong, WriteBudget: waitLong})
	t.Cleanup(func() { c.Close(); client.Close() })
	return c
}
