package freshness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/redisconn"
)

// allSlots of a cluster.
const allSlots = 16384

// group is a Redis of several servers, as one who asks each of them sees it.
type group struct {
	*devenv.RedisGroup
	nodes map[*devenv.Redis]*redis.Client
}

func openGroup(g *devenv.RedisGroup) *group {
	out := &group{g, map[*devenv.Redis]*redis.Client{}}
	for _, server := range append(append([]*devenv.Redis{}, g.Nodes...), g.Sentinels...) {
		out.nodes[server] = connect(server, g.Password, time.Second)
	}
	return out
}

// connect does not try again: an answer is of the moment.
func connect(server *devenv.Redis, password string, patience time.Duration) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: server.Addr, Password: password, ContextTimeoutEnabled: true, MaxRetries: -1, ReadTimeout: patience,
	})
}

func (g *group) close() {
	for _, c := range g.nodes {
		c.Close()
	}
}

// primary is the server that has a slot, or with Sentinel everything, if all agree on it: the servers of a cluster, but for
// one that is not asked, or the Sentinels; and the server itself.
func (g *group) primary(ctx context.Context, slot int, except *devenv.Redis) (*devenv.Redis, error) {
	witnesses, ask := g.Nodes, g.owner
	if len(g.Sentinels) > 0 {
		witnesses, ask = g.Sentinels, g.named
	}
	agreed := ""
	for _, witness := range witnesses {
		if witness == except {
			continue
		}
		addr, err := ask(ctx, g.nodes[witness], slot)
		if err != nil {
			return nil, fmt.Errorf("ask %s for the primary: %w", witness.Addr, err)
		}
		if agreed != "" && addr != agreed {
			return nil, fmt.Errorf("%s says that %s is primary, another that %s is", witness.Addr, addr, agreed)
		}
		agreed = addr
	}
	for _, server := range g.Nodes {
		if server.Addr != agreed {
			continue
		}
		if one, err := g.role(ctx, server); err != nil || !one.primary {
			return nil, fmt.Errorf("%s is to be primary, and does not say so: %v", agreed, err)
		}
		return server, nil
	}
	return nil, fmt.Errorf("%q is none of the servers", agreed)
}

// await waits until a slot has a primary, and another than old, which is not asked.
func (g *group) await(ctx context.Context, slot int, old *devenv.Redis) (now *devenv.Redis, err error) {
	err = until(ctx, "all agree on the primary", func() (_ bool, err error) {
		now, err = g.primary(ctx, slot, old)
		return err == nil && now != old, err
	})
	return now, err
}

// slotOf is the slot of a key, and 0 where there are none.
func (g *group) slotOf(ctx context.Context, key string) (int, error) {
	if len(g.Sentinels) > 0 {
		return 0, nil
	}
	var errs []error
	for _, server := range g.Nodes {
		slot, err := g.nodes[server].ClusterKeySlot(ctx, key).Result()
		if err == nil {
			return int(slot), nil
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

func (g *group) owner(ctx context.Context, node *redis.Client, slot int) (addr string, err error) {
	//lint:ignore SA1019 deprecated with Redis 7, but all versions have it, and its form is the simpler one
	ranges, err := node.ClusterSlots(ctx).Result()
	for _, one := range ranges {
		if one.Start <= slot && slot <= one.End {
			return one.Nodes[0].Addr, nil
		}
	}
	return "", err
}

func (g *group) named(ctx context.Context, sentinel *redis.Client, _ int) (addr string, err error) {
	found, err := sentinel.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", devenv.SentinelMaster).StringSlice()
	if err != nil || len(found) != 2 {
		return "", err
	}
	return net.JoinHostPort(found[0], found[1]), nil
}

// role is what a server takes itself for.
type role struct {
	primary bool
	of      string // the address of its primary
	inStep  bool
}

func (g *group) role(ctx context.Context, server *devenv.Redis) (role, error) {
	return roleOf(g.nodes[server].Do(ctx, "ROLE").Slice())
}

func roleOf(reply []any, err error) (role, error) {
	if err != nil || len(reply) < 3 {
		return role{}, err
	}
	if reply[0] == "master" {
		return role{primary: true}, nil
	}
	if len(reply) < 4 {
		return role{}, fmt.Errorf("role %v", reply)
	}
	host, port := fmt.Sprint(reply[1]), fmt.Sprint(reply[2])
	return role{of: net.JoinHostPort(host, port), inStep: reply[3] == "connected"}, nil
}

// copied waits until each replica of a primary has a key. All servers of a cluster answer KEYS of what they have themselves.
func (g *group) copied(ctx context.Context, primary *devenv.Redis, key string) error {
	return until(ctx, "each replica has "+key, func() (bool, error) {
		replicas := 0
		for _, server := range g.Nodes {
			one, err := g.role(ctx, server)
			if err != nil {
				return false, err
			}
			if one.of != primary.Addr {
				continue
			}
			has, err := g.nodes[server].Keys(ctx, key).Result()
			if err != nil || len(has) == 0 || !one.inStep {
				return false, err
			}
			replicas++
		}
		return replicas > 0, nil
	})
}

// rejoined waits until a server that was primary follows the one in its place.
func (g *group) rejoined(ctx context.Context, old, now *devenv.Redis) error {
	return until(ctx, "the old primary is a replica of the new", func() (bool, error) {
		one, err := g.role(ctx, old)
		return one.of == now.Addr && one.inStep, err
	})
}

// replies is how many error replies of a kind, such as MOVED, the servers have given since they started.
func (g *group) replies(ctx context.Context, kind string) (n int64, err error) {
	return g.count(ctx, "errorstats", "errorstat_"+kind, "count=", g.Nodes)
}

// reads is how many keys clients have asked a server for so far.
func (g *group) reads(ctx context.Context, server *devenv.Redis) (n int64, err error) {
	return g.count(ctx, "commandstats", "cmdstat_get", "calls=", []*devenv.Redis{server})
}

// count adds up a part of a line of INFO.
func (g *group) count(ctx context.Context, section, line, part string, servers []*devenv.Redis) (sum int64, err error) {
	for _, server := range servers {
		text, err := g.nodes[server].Info(ctx, section).Result()
		if err != nil {
			return 0, fmt.Errorf("INFO of %s: %w", server.Addr, err)
		}
		for field := range strings.SplitSeq(redisconn.Fields(text)[line], ",") {
			if digits, ok := strings.CutPrefix(field, part); ok {
				n, err := strconv.ParseInt(digits, 10, 64)
				if err != nil {
					return 0, fmt.Errorf("INFO of %s: %q", server.Addr, field)
				}
				sum += n
			}
		}
	}
	return sum, nil
}

// occupied are slots that have keys, of one primary of a cluster, most of them at random.
func (g *group) occupied(ctx context.Context, owner *devenv.Redis, most int) ([]int, error) {
	found := map[int]bool{}
	keys := g.nodes[owner].Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		slot, err := g.nodes[owner].ClusterKeySlot(ctx, keys.Val()).Result()
		if err != nil {
			return nil, fmt.Errorf("slot of a key: %w", err)
		}
		found[int(slot)] = true
	}
	slots := slices.Collect(maps.Keys(found)) // in any order
	return slots[:min(most, len(slots))], keys.Err()
}
