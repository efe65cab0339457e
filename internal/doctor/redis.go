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

func (e *examination) redis(ctx context.Context, client redis.UniversalClient) {
	seen := 0
	err := redisconn.Masters(ctx, client, func(ctx context.Context, node *redis.Client) error {
		seen++
		return e.redisNode(ctx, node, fmt.Sprintf("redis %d", seen))
	})
	if err != nil {
		e.add(Away, "redis", fmt.Sprintf("can't be asked: %v", err), "see that it runs and that REDIS_URL names it, with user, password and TLS; without it requests read PostgreSQL")
	}
	if nodes, ok := client.(*redis.ClusterClient); ok && err == nil {
		e.cluster(ctx, nodes)
	}
}

// redisNode looks at one server that owns keys.
func (e *examination) redisNode(ctx context.Context, node *redis.Client, name string) error {
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
	e.role(name, info)
	return nil
}

func (e *examination) persistence(ctx context.Context, node *redis.Client, name string, info map[string]string) {
	save := node.ConfigGet(ctx, "save").Val()["save"] // may be forbidden, as it is by some hosts
	on := info["aof_enabled"] == "1" || save != ""
	e.judge(on, Warning, name+" persistence", map[bool]string{true: "on", false: "off"}[on],
		`set save "" and appendonly no: what a cache has lost it loads again, and forks and fsyncs make it slow`)
}

func (e *examination) role(name string, info map[string]string) {
	if info["role"] != "master" {
		e.add(Mend, name+" role", info["role"], "REDIS_URL must lead to the primary; use redis+sentinel:// or redis+cluster:// to have it found")
		return
	}
	seen := "primary with " + info["connected_slaves"] + " replicas"
	offset, _ := strconv.ParseInt(info["master_repl_offset"], 10, 64)
	for i := 0; ; i++ {
		replica, ok := info["slave"+strconv.Itoa(i)]
		if !ok {
			break
		}
		const most = 16 << 20
		its := redisconn.Fields(strings.ReplaceAll(strings.ReplaceAll(replica, ",", "\n"), "=", ":"))
		at, _ := strconv.ParseInt(its["offset"], 10, 64)
		if its["state"] != "online" || offset-at > most {
			e.add(Warning, name+" replica "+its["ip"]+":"+its["port"], fmt.Sprintf("%s, %d bytes behind", its["state"], offset-at),
				"see its log: a failover to it would lose that much of the cache, though nothing would be stale")
		}
	}
	e.fine(name+" role", "%s", seen)
}

func (e *examination) cluster(ctx context.Context, nodes *redis.ClusterClient) {
	text, err := nodes.ClusterInfo(ctx).Result()
	if err != nil {
		e.add(Away, "redis cluster", fmt.Sprintf("can't be asked: %v", err), "let the user run CLUSTER INFO")
		return
	}
	info := redisconn.Fields(text)
	e.judge(info["cluster_state"] != "ok" || info["cluster_slots_ok"] != "16384", Mend, "redis cluster",
		"state "+info["cluster_state"]+", "+info["cluster_slots_ok"]+" of 16384 slots served",
		"run redis-cli --cluster check, and fix what it names; keys of lost slots are read from PostgreSQL meanwhile")
}
