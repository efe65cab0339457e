package freshness

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"freshet/internal/devenv"
	"freshet/internal/redisconn"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) {
	logging.Disable() // it tells of each primary that Sentinel names
	testenv.Main(m)
}

// What the faults of a group ask of its servers: which is the primary of a key, and which others have a copy.
func TestGroup_PrimaryAndItsReplicas(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]func(testing.TB) *devenv.RedisGroup{
		"cluster": testenv.SharedCluster, "sentinel": testenv.SharedSentinel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := shared(t)
			client, err := redisconn.Open(servers.URL, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			const key = "bench:group"
			if err := client.Set(t.Context(), key, "value", 0).Err(); err != nil {
				t.Fatal(err)
			}
			g := openGroup(servers)
			defer g.close()
			slot, err := g.slotOf(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			primary, err := g.await(t.Context(), slot, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := g.nodes[primary].Get(t.Context(), key).Result(); got != "value" {
				t.Errorf("%s at its primary: got %q, %v, want the value", key, got, err)
			}
			if err := g.copied(t.Context(), primary, key); err != nil {
				t.Error(err)
			}
			wantReplicas(t, g, primary)
			if name == "cluster" {
				wantOccupied(t, g, primary, slot)
			}
		})
	}
}

// wantReplicas wants every server of a group to be a primary or the replica of one, and the given one to have some.
func wantReplicas(t *testing.T, g *group, primary *devenv.Redis) {
	t.Helper()
	replicas := 0
	for _, server := range g.Nodes {
		got, err := g.role(t.Context(), server)
		if err != nil || got.primary == (got.of != "") {
			t.Errorf("role of %s: got %+v, %v, want a primary, or a replica of one", server.Addr, got, err)
		}
		if got.of == primary.Addr {
			replicas++
		}
	}
	if replicas == 0 {
		t.Errorf("replicas of %s: got none, want some", primary.Addr)
	}
}

// wantOccupied wants a slot to be among those of its primary that have keys.
func wantOccupied(t *testing.T, g *group, primary *devenv.Redis, slot int) {
	t.Helper()
	slots, err := g.occupied(t.Context(), primary, allSlots)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(slots, slot) {
		t.Errorf("slots with keys: got %v, want %d among them", slots, slot)
	}
}

func TestRoleOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reply []any
		err   error
		want  role
		fails bool
	}{
		"primary":        {reply: []any{"master", int64(7), []any{}}, want: role{primary: true}},
		"replica":        {reply: []any{"slave", "127.0.0.1", int64(6379), "connected", int64(7)}, want: role{of: "127.0.0.1:6379", inStep: true}},
		"replica behind": {reply: []any{"slave", "127.0.0.1", int64(6379), "sync", int64(7)}, want: role{of: "127.0.0.1:6379"}},
		"sentinel":       {reply: []any{"sentinel", []any{}, "x"}, fails: true},
		"no answer":      {err: redis.ErrClosed, fails: true},
	} {
		if got, err := roleOf(c.reply, c.err); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: got %+v, %v, want %+v, an error: %t", name, got, err, c.want, c.fails)
		}
	}
}
