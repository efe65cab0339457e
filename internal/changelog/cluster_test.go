package changelog

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cache"
	"freshet/internal/testenv"
)

// cluster is a database, a Redis, and instances that follow one log.
type cluster struct {
	t       testing.TB
	db      *sql.DB
	redis   string
	service string
	// grant and stuck are the options of instances; 0 is the default.
	grant, stuck time.Duration
}

// instance is a Node that runs.
type instance struct {
	*Node
	log   *cache.Log
	clock *clock
	stop  func() // ends Run and waits for it
}

// clock runs, and tests set it forward.
type clock struct {
	start   time.Time
	forward atomic.Int64
}

func (c *clock) now() time.Duration { return time.Since(c.start) + time.Duration(c.forward.Load()) }

func (c *clock) set(forward time.Duration) { c.forward.Add(int64(forward)) }

// newCluster makes a cluster in an epoch that has begun. Grants last, and a sequencer keeps its office, until the test ends
// them: on a busy machine, each may be out of work for as long as their defaults.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, db: openDatabase(t), redis: testenv.SharedRedis(t), grant: time.Hour, stuck: time.Hour}
	c.service = queryValue[string](t, c.db, "SELECT current_database()")
	c.beginEpoch(t)
	return c
}

// shortGrants is for tests in which writers wait for grants to end in earnest. They are long enough to be had on a busy
// machine.
func (c *cluster) shortGrants() { c.grant = time.Second }

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
	clock := &clock{start: time.Now()}
	log := cache.NewLog(clock.now)
	o := Options{
		DB: c.db, Redis: c.redisClient(c.redis), Log: log, Grant: c.grant, Stuck: c.stuck,
		Service: c.service, Name: name, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	i := &instance{Node: New(o), log: log, clock: clock}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { i.Run(ctx) })
	i.stop = func() { cancel(); running.Wait() }
	c.t.Cleanup(i.stop)
	return i
}

// beginEpoch has an office taken and given up. In the first grant's time of an epoch all writers wait; after that, only for
// instances that are known.
func (c *cluster) beginEpoch(t testing.TB) {
	t.Helper()
	conn, _ := c.claim(t, "first")
	conn.Close()
}

// granted waits until every instance may answer from caches.
func (c *cluster) granted(instances ...*instance) {
	c.t.Helper()
	for _, i := range instances {
		testenv.Eventually(c.t, i.Name+" has a grant", func() bool { _, ok := i.log.AsOf(); return ok })
	}
}

// grantedAnew ends the grants that instances have, and waits until they have others.
func (c *cluster) grantedAnew(instances ...*instance) {
	c.t.Helper()
	for _, i := range instances {
		i.log.Revoke()
	}
	c.granted(instances...)
}

// inOffice waits until an instance is the sequencer.
func (c *cluster) inOffice(i *instance) {
	c.t.Helper()
	testenv.Eventually(c.t, i.Name+" is sequencer", func() bool { return i.Stats().Office != nil })
}

// writes is Committed up to where it waits for other instances: it returns once the sequencer has said where in the log the
// change is. The writer may be answered when answered says so.
func (i *instance) writes(t testing.TB) (answered func() bool) {
	t.Helper()
	w := writer{ask: i.tail.nudged()}
	answered = func() bool { done, _ := i.tail.covers(&w); return done }
	testenv.Eventually(t, "the sequencer answers a writer", func() bool { return answered() || w.at != cache.Position{} })
	return answered
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
