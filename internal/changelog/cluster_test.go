package changelog

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cache"
	"freshet/internal/testenv"
)

// cluster is a database, a Redis, and instances that follow one log.
type cluster struct {
	t       testing.TB
	url     string
	db      *sql.DB
	redis   string
	service string
}

// instance is a Node that runs.
type instance struct {
	*Node
	log  *cache.Log
	stop func() // ends Run and waits for it
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	url := testenv.Database(t)
	c := &cluster{t: t, url: url, db: openPool(t, url), redis: testenv.SharedRedis(t)}
	c.service = queryValue[string](t, c.db, "SELECT current_database()")
	return c
}

func (c *cluster) redisClient(url string) *redis.Client {
	c.t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		c.t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	c.t.Cleanup(func() { client.Close() })
	return client
}

// start runs an instance; change may alter its options first.
func (c *cluster) start(name string, change func(*Options)) *instance {
	c.t.Helper()
	log := cache.NewLog(nil)
	o := Options{
		DB: openPool(c.t, c.url), Redis: c.redisClient(c.redis), Log: log,
		Service: c.service, Name: name, Logger: slog.New(slog.NewTextHandler(testWriter{c.t}, nil)),
	}
	if change != nil {
		change(&o)
	}
	i := &instance{Node: New(o), log: log}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { i.Run(ctx) })
	i.stop = func() { cancel(); running.Wait() }
	c.t.Cleanup(i.stop)
	return i
}

// beginEpoch lets an instance come and go. In the first grant's time of an epoch all writers wait; after that, only for
// instances that are known.
func (c *cluster) beginEpoch(t testing.TB) {
	t.Helper()
	first := c.start("first", nil)
	c.granted(first)
	first.stop()
}

// granted waits until every instance may answer from caches.
func (c *cluster) granted(instances ...*instance) {
	c.t.Helper()
	for _, i := range instances {
		eventually(c.t, i.Name+" has a grant", func() bool { _, ok := i.log.AsOf(); return ok })
	}
}

// profile inserts a profile; rename commits a change of it.
func (c *cluster) profile(id int) {
	c.t.Helper()
	mustExec(c.t, c.db, "INSERT INTO profiles (id, handle, name) VALUES ($1, $2, '')", id, fmt.Sprint("user", id))
}

func (c *cluster) rename(id int) {
	c.t.Helper()
	mustExec(c.t, c.db, "UPDATE profiles SET name = name || 'x' WHERE id = $1", id)
}

// reader holds an entry read as of now and asks whether it is fresh.
func (i *instance) reader(t testing.TB, tags ...string) func() (bool, string) {
	t.Helper()
	asOf := i.log.Position()
	hashes := i.log.Tags(tags)
	return func() (bool, string) { return i.log.Fresh(asOf, hashes) }
}

// eventually waits for a condition that no signal tells of, and fails the test if it does not come.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: got no such thing in 30 s", what)
		}
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
