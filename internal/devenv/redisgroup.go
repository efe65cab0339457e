package devenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisGroup is several Redis servers of this machine that act as one, for tests and measurements: a cluster, or a primary
// with replicas that Sentinel watches. All have the same password.
type RedisGroup struct {
	// URL is what REDIS_URL takes. It contains the password: never print it.
	URL string
	// Nodes hold the keys. At the start those that are not a replica come first, and replicas in the same order.
	Nodes []*Redis
	// Sentinels are those of a primary with replicas, and none of a cluster.
	Sentinels []*Redis
	// Password is that of every server.
	Password string
}

const (
	// clusterShards is how many primaries a cluster has, each with a replica: fewer can't agree on a failover.
	clusterShards = 3
	sentinels     = 3
	replicas      = 2
	allSlots      = 16384
	// SentinelMaster is the name of the primary in a group with Sentinel.
	SentinelMaster = "freshet"
	// groupLimit is reached by a hang alone. What takes a group together takes a second: gossip, the first copy of a replica.
	groupLimit = 5 * time.Minute
)

func clusterSettings(dead time.Duration) map[string]string {
	return map[string]string{
		"cluster-enabled": "yes", "cluster-config-file": "nodes.conf",
		"cluster-node-timeout": strconv.FormatInt(dead.Milliseconds(), 10), "cluster-require-full-coverage": "no", "cluster-replica-validity-factor": "0",
		"repl-diskless-sync-delay": "0",
		"repl-ping-replica-period": "1", // the first one makes others count a replica as one, and is due after 10 s
	}
}

// StartCluster returns once three primaries have all slots, and each of three replicas follows one of them. The servers
// work in directories beside opts.Dir, whose names begin with it. A primary that is silent for as long as dead is replaced.
// The context bounds the start alone.
func StartCluster(ctx context.Context, opts RedisOptions, dead time.Duration) (*RedisGroup, error) {
	ctx, cancel := context.WithTimeout(ctx, groupLimit)
	defer cancel()
	g := &RedisGroup{Password: password()}
	err := g.start(ctx, opts, 2*clusterShards, &g.Nodes, func(int) (map[string]string, error) {
		settings := clusterSettings(dead)
		settings["masterauth"] = g.Password
		if opts.TLS.Cert != "" {
			settings["tls-cluster"] = "yes"
		}
		return settings, nil
	})
	if err == nil {
		err = g.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a Redis cluster: %w", err), g.Stop(context.WithoutCancel(ctx)))
	}
	scheme, query := opts.TLS.address()
	g.URL = scheme + "+cluster://default:" + g.Password + "@" + addresses(g.Nodes) + "?" + query.Encode()
	return g, nil
}

// StartSentinel returns once a primary has two replicas, and three Sentinels know of all and of each other. The servers
// work in directories beside opts.Dir, whose names begin with it. A primary that is silent for as long as dead is replaced.
// The context bounds the start alone.
func StartSentinel(ctx context.Context, opts RedisOptions, dead time.Duration) (*RedisGroup, error) {
	ctx, cancel := context.WithTimeout(ctx, groupLimit)
	defer cancel()
	g := &RedisGroup{Password: password()}
	err := g.startReplicas(ctx, opts)
	if err == nil {
		err = g.startSentinels(ctx, opts, dead)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start Redis with Sentinel: %w", err), g.Stop(context.WithoutCancel(ctx)))
	}
	scheme, query := opts.TLS.address()
	query.Set("master_name", SentinelMaster)
	query.Set("sentinel_password", g.Password)
	g.URL = scheme + "+sentinel://default:" + g.Password + "@" + addresses(g.Sentinels) + "/0?" + query.Encode()
	return g, nil
}

// address is what a group's URL begins and ends with. Its clients have the servers' certificate.
func (t RedisTLS) address() (scheme string, query url.Values) {
	if t.Cert == "" {
		return "redis", url.Values{}
	}
	return "rediss", url.Values{"ca": {t.CA}, "cert": {t.Cert}, "key": {t.Key}}
}

// addresses are those by which clients find a group: with TLS, if the servers have it.
func addresses(of []*Redis) string {
	all := make([]string, len(of))
	for i, one := range of {
		all[i] = cmp.Or(one.TLSAddr, one.Addr)
	}
	return strings.Join(all, ",")
}

func (g *RedisGroup) startReplicas(ctx context.Context, opts RedisOptions) error {
	common := map[string]string{"masterauth": g.Password, "repl-diskless-sync-delay": "0"}
	err := g.start(ctx, opts, 1, &g.Nodes, func(int) (map[string]string, error) { return common, nil })
	if err != nil {
		return err
	}
	following := maps.Clone(common)
	following["replicaof"] = "127.0.0.1 " + strconv.Itoa(g.Nodes[0].peerPort())
	return g.start(ctx, opts, replicas, &g.Nodes, func(int) (map[string]string, error) { return following, nil })
}

func (g *RedisGroup) startSentinels(ctx context.Context, opts RedisOptions, dead time.Duration) error {
	opts.sentinel, opts.Settings = true, nil
	of := "sentinel %s " + SentinelMaster
	err := g.start(ctx, opts, sentinels, &g.Sentinels, func(int) (map[string]string, error) {
		return map[string]string{
			fmt.Sprintf(of, "monitor"):                 "127.0.0.1 " + strconv.Itoa(g.Nodes[0].peerPort()) + " 2",
			fmt.Sprintf(of, "auth-pass"):               g.Password,
			fmt.Sprintf(of, "down-after-milliseconds"): strconv.FormatInt(dead.Milliseconds(), 10),
			fmt.Sprintf(of, "failover-timeout"):        "3000",
			"sentinel sentinel-pass":                   g.Password,
		}, nil
	})
	if err != nil {
		return err
	}
	for _, one := range g.Sentinels {
		err := g.ask(ctx, one, func(c *redis.Client) (bool, error) {
			state, err := redis.NewSentinelClient(c.Options()).Master(ctx, SentinelMaster).Result()
			return state["num-slaves"] == strconv.Itoa(replicas) && state["num-other-sentinels"] == strconv.Itoa(sentinels-1), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// start adds servers to a list, all at the same time.
func (g *RedisGroup) start(ctx context.Context, opts RedisOptions, n int, to *[]*Redis, settings func(int) (map[string]string, error)) error {
	started, errs := make([]*Redis, n), make([]error, n)
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			one := opts
			one.Dir, one.Password = fmt.Sprintf("%s-%d", opts.Dir, len(g.Sentinels)+len(g.Nodes)+i+1), g.Password
			if errs[i] = Remove(ctx, one.Dir); errs[i] != nil { // notes of an earlier cluster, which no server of it is in
				return
			}
			if one.Settings, errs[i] = settings(i); errs[i] == nil {
				one.Settings = maps.Clone(one.Settings)
				maps.Copy(one.Settings, opts.Settings)
				started[i], errs[i] = StartRedis(ctx, one)
			}
		})
	}
	work.Wait()
	for _, r := range started {
		if r != nil {
			*to = append(*to, r)
		}
	}
	return errors.Join(errs...)
}

// join makes a cluster of nodes that do not know of each other.
func (g *RedisGroup) join(ctx context.Context) error {
	ids := make([]string, len(g.Nodes))
	for i, node := range g.Nodes {
		err := g.ask(ctx, node, func(c *redis.Client) (_ bool, err error) {
			if ids[i], err = c.Do(ctx, "CLUSTER", "MYID").Text(); err != nil {
				return false, err
			}
			if err := c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
				return false, err
			}
			if i < clusterShards {
				if err := c.ClusterAddSlotsRange(ctx, i*allSlots/clusterShards, (i+1)*allSlots/clusterShards-1).Err(); err != nil {
					return false, err
				}
			}
			first := g.Nodes[0]
			return true, c.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", first.peerPort(), first.settings["cluster-port"]).Err()
		})
		if err != nil {
			return err
		}
	}
	for i, node := range g.Nodes[clusterShards:] {
		primary := ids[i]
		err := g.ask(ctx, node, func(c *redis.Client) (bool, error) {
			err := c.ClusterReplicate(ctx, primary).Err()
			if err != nil && strings.Contains(err.Error(), "Unknown node") { // gossip has not come round yet
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return g.settle(ctx)
}

// settle waits until each node knows all others, who owns which slots, and each replica has its copy.
func (g *RedisGroup) settle(ctx context.Context) error {
	for i, node := range g.Nodes {
		err := g.ask(ctx, node, func(c *redis.Client) (bool, error) {
			state, err := c.ClusterInfo(ctx).Result()
			if err != nil || !strings.Contains(state, "cluster_state:ok") || !strings.Contains(state, fmt.Sprintf("cluster_known_nodes:%d", len(g.Nodes))) {
				return false, err
			}
			//lint:ignore SA1019 deprecated with Redis 7, but all versions have it, and its form is the simpler one
			slots, err := c.ClusterSlots(ctx).Result()
			if err != nil || len(slots) != clusterShards {
				return false, err
			}
			for _, one := range slots {
				if len(one.Nodes) != 2 {
					return false, nil
				}
			}
			role, err := c.Info(ctx, "replication").Result()
			return i < clusterShards || strings.Contains(role, "master_link_status:up"), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ask asks a server again and again, until it says yes.
func (g *RedisGroup) ask(ctx context.Context, node *Redis, yes func(*redis.Client) (bool, error)) error {
	o := &redis.Options{Addr: node.Addr, Password: g.Password, MinIdleConns: 0}
	c := redis.NewClient(o)
	defer c.Close()
	if err := until(ctx, func() (bool, error) { return yes(c) }); err != nil {
		return fmt.Errorf("%s on %s: %w", node.name, node.Addr, err)
	}
	return nil
}

// until looks again and again, until the answer is yes or an error.
func until(ctx context.Context, yes func() (bool, error)) error {
	const pause = 20 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		done, err := yes()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in step with the others: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Stop ends all servers.
func (g *RedisGroup) Stop(ctx context.Context) error {
	all := append(append([]*Redis{}, g.Sentinels...), g.Nodes...)
	errs := make([]error, len(all))
	var work sync.WaitGroup
	for i, r := range all {
		work.Go(func() { errs[i] = r.Stop(ctx) })
	}
	work.Wait()
	return errors.Join(errs...)
}
