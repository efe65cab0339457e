package devenv_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/testenv"
)

const patient = 10 * time.Second

func TestStartCluster_MovesASlot(t *testing.T) {
	t.Parallel()
	g, err := devenv.StartCluster(t.Context(), devenv.RedisOptions{Dir: filepath.Join(testenv.DataDir(t), "cluster")}, patient)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop(t.Context())
	first := redis.NewClient(&redis.Options{Addr: g.Nodes[0].Addr, Password: g.Password})
	defer first.Close()
	slot := int(first.ClusterKeySlot(t.Context(), "{06S}").Val()) // of the first third
	if err := first.Set(t.Context(), "{06S}", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	halfway := func() {
		err := first.Get(t.Context(), "{06S}:other").Err()
		if _, ask := redis.IsAskError(err); !ask {
			t.Errorf("GET from the owner of a slot on its way: got %v, want ASK", err)
		}
	}
	if err := g.MoveSlots(t.Context(), halfway, slot); err != nil {
		t.Fatal(err)
	}
	err = first.Get(t.Context(), "{06S}").Err()
	if _, moved := redis.IsMovedError(err); !moved {
		t.Errorf("GET from the old owner: got %v, want MOVED", err)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{g.Nodes[5].Addr}, Password: g.Password})
	defer client.Close()
	if got, err := client.Get(t.Context(), "{06S}").Result(); err != nil || got != "value" {
		t.Errorf("GET from the cluster: got %q, %v, want the value", got, err)
	}
}

func TestStartSentinel_KnowsThePrimary(t *testing.T) {
	t.Parallel()
	g, err := devenv.StartSentinel(t.Context(), devenv.RedisOptions{Dir: filepath.Join(testenv.DataDir(t), "sentinel")}, patient)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop(t.Context())
	for _, one := range g.Sentinels {
		c := redis.NewSentinelClient(&redis.Options{Addr: one.Addr, Password: g.Password})
		defer c.Close()
		if err := c.CkQuorum(t.Context(), devenv.SentinelMaster).Err(); err != nil {
			t.Errorf("quorum: got %v", err)
		}
	}
}
