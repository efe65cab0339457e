package server

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"freshet/internal/redisconn"
)

const (
	redisPatience = 500 * time.Millisecond // for all that a scrape asks of Redis
	redisKept     = 3 * time.Second        // an answer serves the scrapes of that time
)

// redisMetrics asks Redis at a scrape what it says of itself: the master, or each master of a cluster. While Redis is
// away the metrics are absent, and a scrape waits for it once in a while.
type redisMetrics struct {
	client redis.UniversalClient
	fields []redisField

	mu    sync.Mutex // held while Redis is asked: scrapes that come meanwhile get that answer
	asked time.Time
	nodes map[string]redisInfo
}

// redisInfo is what a server replied to INFO, by field.
type redisInfo map[string]string

type redisField struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	name string // in INFO
}

// RegisterRedis adds metrics of the Redis servers behind a client, by node: give the same registry to the Server. A
// registry takes them once.
func RegisterRedis(registry *prometheus.Registry, client redis.UniversalClient) error {
	field := func(kind prometheus.ValueType, name, help, from string) redisField {
		return redisField{prometheus.NewDesc(name, help, []string{"node"}, nil), kind, from}
	}
	return register(registry, &redisMetrics{client: client, fields: []redisField{
		field(prometheus.CounterValue, "freshet_redis_keyspace_hits_total", "Lookups of keys that Redis had.", "keyspace_hits"),
		field(prometheus.CounterValue, "freshet_redis_keyspace_misses_total", "Lookups of keys that Redis lacked.", "keyspace_misses"),
		field(prometheus.CounterValue, "freshet_redis_evicted_keys_total", "Keys that Redis evicted for lack of memory.", "evicted_keys"),
		field(prometheus.CounterValue, "freshet_redis_expired_keys_total", "Keys that reached their end in Redis.", "expired_keys"),
		field(prometheus.GaugeValue, "freshet_redis_memory_used_bytes", "Memory that Redis uses for data.", "used_memory"),
		field(prometheus.GaugeValue, "freshet_redis_memory_max_bytes", "Memory that Redis may use, 0 for no limit.", "maxmemory"),
		field(prometheus.GaugeValue, "freshet_redis_clients", "Connections that Redis has, of all clients.", "connected_clients"),
	}})
}

// Describe implements prometheus.Collector.
func (m *redisMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, field := range m.fields {
		ch <- field.desc
	}
}

// Collect implements prometheus.Collector.
func (m *redisMetrics) Collect(ch chan<- prometheus.Metric) {
	for node, info := range m.read() {
		for _, field := range m.fields {
			if value, err := strconv.ParseFloat(info[field.name], 64); err == nil {
				ch <- prometheus.MustNewConstMetric(field.desc, field.kind, value, node)
			}
		}
	}
}

// read returns the last answer if that is new enough.
func (m *redisMetrics) read() map[string]redisInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked.IsZero() || time.Since(m.asked) >= redisKept {
		ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
		defer cancel()
		m.nodes = askRedis(ctx, m.client)
		m.asked = time.Now()
	}
	return m.nodes
}

// askRedis leaves out servers that do not answer.
func askRedis(ctx context.Context, client redis.UniversalClient) map[string]redisInfo {
	nodes := make(map[string]redisInfo)
	_, cluster := client.(*redis.ClusterClient)
	_ = redisconn.Masters(ctx, client, func(ctx context.Context, one *redis.Client) error {
		reply, err := one.Info(ctx).Result()
		if err != nil {
			return nil // the others' answers count
		}
		name := "master"
		if cluster {
			name = one.Options().Addr
		}
		nodes[name] = redisconn.Fields(reply)
		return nil
	})
	return nodes
}
