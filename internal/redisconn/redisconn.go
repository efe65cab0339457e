// Package redisconn connects to Redis as one URL says: a single server, one that Sentinel watches, or a cluster.
package redisconn

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Usage is what Open takes, in one line.
const Usage = "redis://user:password@host:port/0, redis+sentinel://…@host:port,host:port/0?master_name=NAME or redis+cluster://…@host:port,host:port; " +
	"rediss with TLS"

const (
	dialTimeout = 500 * time.Millisecond
	// One retry makes up for a pooled connection that a restart of Redis closed; an outage is the breaker's affair.
	retries             = 1
	shortPause, longest = time.Millisecond, 2 * time.Millisecond
	idle                = 2 // connections that are kept open to each server
	dials               = 1 // go-redis would dial five times, 100 ms apart, before it says that a server is away
	redirects           = 3 // of one command: slot moved, its key is on its way, the new owner was asked too early
	topology            = time.Second
	noPoolForPipelines  = -1
)

// Open makes a client for the servers that an address names, with conns connections to each at most. It does not
// connect: Redis may be away. Errors say what is wrong with the address and never show what it contains of passwords.
// The client is safe for concurrent use; the caller closes it.
func Open(address string, conns int) (redis.UniversalClient, error) {
	t, err := parse(address)
	if err != nil {
		return nil, err
	}
	switch t.form {
	case cluster:
		return t.openCluster(conns), nil
	case sentinel:
		return t.openSentinel(conns), nil
	default:
		return t.openSingle(conns), nil
	}
}

// quiet switches off a feature of managed Redis that costs a handshake command elsewhere.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func (t *target) openSingle(conns int) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: t.hosts[0], Username: t.username, Password: t.password, DB: t.db, ClientName: t.clientName, TLSConfig: t.tls,
		// The cache has budgets of its own for each round trip, which reach the connection only with this.
		ContextTimeoutEnabled: true,
		DialTimeout:           dialTimeout, DialerRetries: dials,
		MaxRetries: retries, MinRetryBackoff: shortPause, MaxRetryBackoff: longest,
		PoolSize: conns, MinIdleConns: idle,
		MaintNotificationsConfig: quiet(),
	})
}

func (t *target) openSentinel(conns int) *redis.Client {
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: t.master, SentinelAddrs: t.hosts, SentinelUsername: t.sentinelUsername, SentinelPassword: t.sentinelPassword,
		Username: t.username, Password: t.password, DB: t.db, ClientName: t.clientName, TLSConfig: t.tls,
		ContextTimeoutEnabled: true,
		DialTimeout:           dialTimeout, DialerRetries: dials,
		MaxRetries: retries, MinRetryBackoff: shortPause, MaxRetryBackoff: longest,
		PoolSize: conns, MinIdleConns: idle, PipelinePoolSize: noPoolForPipelines,
	})
}

func (t *target) openCluster(conns int) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: t.hosts, Username: t.username, Password: t.password, ClientName: t.clientName, TLSConfig: t.tls,
		ContextTimeoutEnabled: true,
		DialTimeout:           dialTimeout, DialerRetries: dials,
		// A redirection is a retry too, and the only kind that is due often: while slots move.
		MaxRedirects: redirects, MinRetryBackoff: shortPause, MaxRetryBackoff: longest,
		PoolSize: conns, MinIdleConns: idle,
		// A promoted replica is noticed by nobody who only asks the dead primary.
		ClusterStateReloadInterval: topology,
		MaintNotificationsConfig:   quiet(),
	})
	client.AddHook(partialBatch{})
	client.OnNewNode(func(node *redis.Client) {
		node.AddHook(newNodeBreaker(func() { client.ReloadState(context.Background()) }))
	})
	return client
}

// Masters calls do for each server that owns keys, one after the other, and returns the first error. With Sentinel that
// is the present primary.
func Masters(ctx context.Context, client redis.UniversalClient, do func(context.Context, *redis.Client) error) error {
	switch c := client.(type) {
	case *redis.Client:
		return do(ctx, c)
	case *redis.ClusterClient:
		var mu sync.Mutex
		return c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return do(ctx, node)
		})
	}
	panic("redisconn: a client that Open did not make")
}

// Fields reads what INFO and CLUSTER INFO reply: lines of the form name:value.
func Fields(reply string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(reply) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}
