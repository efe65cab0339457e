package changelog

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/redisconn"
	"freshet/internal/testenv"
)

// over has an instance talk through a group of servers.
func over(t *testing.T, g *devenv.RedisGroup) func(*Options) {
	return func(o *Options) {
		client, err := redisconn.Open(g.URL, 8)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		o.Redis = client
	}
}

// Whichever server is killed, instances have grants again, and writers their answers.
func TestNode_PrimaryOfAGroupDies(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, time.Duration) *devenv.RedisGroup{"cluster": testenv.Cluster, "sentinel": testenv.Sentinel} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, time.Second)
			c := newCluster(t)
			one, two := c.start("one", over(t, g)), c.start("two", over(t, g))
			c.granted(one, two)
			dead := g.Nodes[0]
			if name == "cluster" {
				dead = ownerOf(t, g, one.asks())
			}
			dead.Kill()
			c.grantedAnew(one, two)
			if err := one.Committed(t.Context()); err != nil {
				t.Errorf("a write after the primary's death: got %v", err)
			}
		})
	}
}

// ownerOf is the primary that go-redis would subscribe to a channel at.
func ownerOf(t *testing.T, g *devenv.RedisGroup, channel string) *devenv.Redis {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{g.Nodes[0].Addr}, Password: g.Password})
	defer client.Close()
	node, err := client.MasterForKey(t.Context(), channel)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range g.Nodes {
		if one.Addr == node.Options().Addr {
			return one
		}
	}
	t.Fatalf("no server at %s", node.Options().Addr)
	return nil
}
