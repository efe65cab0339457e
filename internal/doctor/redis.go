package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/redisconn"
)

const oldestRedis = 7

// redis looks at a single server, the primary that Sentinel watches, or those of a cluster.
func (e *examination) redis(ctx context.Context, client redis.UniversalClient, watched bool) {
	_, cluster := client.(*redis.ClusterClient)
	seen := 0
	var state map[string]string // the worst that a node sees
	err := redisconn.Masters(ctx, client, func(ctx context.Context, node *redis.Client) error {
		seen++
		name := fmt.Sprintf("redis %d", seen)
		if err := e.redisNode(ctx, node, name, cluster || watched); err != nil && !cluster {
			return err
		} else if err != nil { // the others have more to tell
			e.add(Away, name, fmt.Sprintf("%s can't be asked: %v", node.Options().Addr, err),
				"start it again, or let a replica of it take over; keys of its slots are read from PostgreSQL meanwhile")
		} else if cluster {
			its := redisconn.Fields(node.ClusterInfo(ctx).Val())
			if state == nil || served(its) < served(state) {
				state = its
			}
		}
		return nil
	})
	if err != nil {
		e.add(Away, "redis", fmt.Sprintf("can't be asked: %v", err), "see that it runs and that REDIS_URL names it, with user, password and TLS; without it requests read PostgreSQL")
	} else if cluster {
		e.cluster(state)
	}
}

// redisNode looks at one server that owns keys, and whether one that is to be replaced when it dies can be.
func (e *examination) redisNode(ctx context.Context, node *redis.Client, name string, replaced bool) error {
	before := time.Now()
	now, err := node.Time(ctx).Result()
	if err != nil {
		return err
	}
	e.clock(name+" clock", before, time.Now(), now)
	text, err := node.Info(ctx, "server", "memory", "persistence", "replication").Result()
	if err != nil {
		return err
	}
	info := redisconn.Fields(text)
	major, _, _ := strings.Cut(info["redis_version"], ".")
	number, _ := strconv.Atoi(major)
	e.judge(number < oldestRedis, Mend, name+" version", info["redis_version"], "use Redis 7.0 or newer: locks are taken with SET NX GET")
	e.judge(info["maxmemory"] == "0", Mend, name+" maxmemory", info["maxmemory"]+" bytes",
		"set maxmemory below the memory of the host: without it Redis grows until the kernel ends it")
	policy := info["maxmemory_policy"]
	e.judge(policy != "allkeys-lru" && policy != "allkeys-lfu", Mend, name+" maxmemory-policy", policy,
		"set maxmemory-policy allkeys-lru (or allkeys-lfu): a full Redis must make room, not refuse writes")
	e.persistence(ctx, node, name, info)
	e.role(name, info, replaced)
	return nil
}

func (e *examination) persistence(ctx context.Context, node *redis.Client, name string, info map[string]string) {
	save := node.ConfigGet(ctx, "save").Val()["save"] // may be forbidden, as it is by some hosts
	on := info["aof_enabled"] == "1" || save != ""
	e.judge(on, Warning, name+" persistence", map[bool]string{true: "on", false: "off"}[on],
		`set save "" and appendonly no: what a cache has lost it loads again, and forks and fsyncs make it slow`)
}

func (e *examination) role(name string, info map[string]string, replaced bool) {
	if info["role"] != "master" {
		e.add(Mend, name+" role", info["role"], "REDIS_URL must lead to the primary; use redis+sentinel:// or redis+cluster:// to have it found")
		return
	}
	e.judge(replaced && info["connected_slaves"] == "0", Warning, name+" role", "primary with "+info["connected_slaves"]+" replicas",
		"start its replica again, or give it one: nothing takes its place when it dies")
	offset, _ := strconv.ParseInt(info["master_repl_offset"], 10, 64)
	for i := 0; ; i++ {
		replica, ok := info["slave"+strconv.Itoa(i)]
		if !ok {
			return
		}
		const most = 16 << 20
		its := redisconn.Fields(strings.ReplaceAll(strings.ReplaceAll(replica, ",", "\n"), "=", ":"))
		at, _ := strconv.ParseInt(its["offset"], 10, 64)
		if its["state"] != "online" || offset-at > most {
			e.add(Warning, name+" replica "+its["ip"]+":"+its["port"], fmt.Sprintf("%s, %d bytes behind", its["state"], offset-at),
				"see that it runs, and its log: a failover to it would lose that much of the cache, though nothing would be stale")
		}
	}
}

// served is how many slots of a cluster are in order, by what a node replied to CLUSTER INFO.
func served(info map[string]string) int {
	if info["cluster_state"] != "ok" {
		return 0
	}
	slots, _ := strconv.Atoi(info["cluster_slots_ok"])
	return slots
}

func (e *examination) cluster(info map[string]string) {
	const all = 16384
	if info["cluster_state"] == "" {
		e.add(Away, "redis cluster", "CLUSTER INFO was not answered", "let the user run it: ACL SETUSER … +cluster|info")
		return
	}
	e.judge(served(info) < all, Mend, "redis cluster",
		fmt.Sprintf("state %s, %s of %d slots served", info["cluster_state"], info["cluster_slots_ok"], all),
		"run redis-cli --cluster check, and fix what it names; keys of lost slots are read from PostgreSQL meanwhile")
}
