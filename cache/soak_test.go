//go:build soak

package cache

import (
	"testing"
	"time"

	"freshet/internal/devenv"
	"freshet/internal/testenv"
)

// A primary that dies is replaced by the servers themselves, with the budgets of production and under load: nothing is stale,
// no read fails, and all keys are hits again.
func TestSoak_PrimaryDies(t *testing.T) {
	for form, start := range map[string]func(testing.TB, time.Duration) *devenv.RedisGroup{
		"cluster": testenv.Cluster, "sentinel": testenv.Sentinel,
	} {
		t.Run(form, func(t *testing.T) {
			g := start(t, time.Second)
			r := newRig(t, testenv.SharedRedis(t))
			r.cache.Close()
			r.use(openForm(t, g.URL))
			r.cache = New(Options{LocalBytes: -1, Redis: r.redis, Freshness: r.log, Observer: r, Now: r.clock})
			readers := startReaders(t, r)
			readers.wait(t, 20)
			g.Nodes[0].Kill()
			readers.wait(t, 20)
			testenv.Eventually(t, "a replica is promoted, and in use", func() bool {
				return r.cache.Available() && r.redis.Set(t.Context(), "freshet:{06S}", 1, time.Minute).Err() == nil // slot 0
			})
			readers.wait(t, 20)
			readers.end()
			testenv.Eventually(t, "all keys are hits again", func() bool { return r.hitsAll(readers.kind) })
		})
	}
}
