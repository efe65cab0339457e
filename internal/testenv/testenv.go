// Package testenv gives each test a migrated PostgreSQL database and a Redis of its own. Only tests import it.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"freshet/internal/devenv"
)

// process is what the tests of one binary use.
type process struct {
	dir *claimedDir
	*servers
	names atomic.Int64
}

// shared is set once, by Main.
var shared atomic.Pointer[process]

// Main runs the tests of a package, stops the servers, and exits: it is the whole of TestMain. It fails the run when
// a goroutine of the tested code is still there at the end; those that run one of foreign, functions of libraries that
// leave some behind, are not counted.
func Main(m *testing.M, foreign ...string) {
	logging.Disable() // go-redis would write to standard error whenever a test takes a server away
	dir, err := claimDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		os.Exit(1)
	}
	p := &process{dir: dir, servers: startServers(dir)}
	if path := os.Getenv(variable); path != "" {
		p.servers = readServers(path)
	}
	shared.Store(p)
	code := m.Run()
	if err := dir.remove(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	if code == 0 {
		ignored := make([]goleak.Option, len(foreign))
		for i, function := range foreign {
			ignored[i] = goleak.IgnoreAnyFunction(function)
		}
		if err := goleak.Find(ignored...); err != nil {
			fmt.Fprintln(os.Stderr, "testenv: goroutines left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// current skips a test in short mode: whatever it wants of this package is a server or a program.
func current(t testing.TB) *process {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a server or a program of ours, which make test has")
	}
	p := shared.Load()
	if p == nil {
		t.Fatal("testenv: this package needs func TestMain(m *testing.M) { testenv.Main(m) }")
	}
	return p
}

// Database returns the URL of a database with the whole schema and no rows, for this test alone.
func Database(t testing.TB) string {
	t.Helper()
	return createDatabase(t, template)
}

// EmptyDatabase returns the URL of a database without any schema, for this test alone.
func EmptyDatabase(t testing.TB) string {
	t.Helper()
	return createDatabase(t, "template1")
}

func createDatabase(t testing.TB, from string) string {
	t.Helper()
	p := current(t)
	server, err := p.postgres()
	if err != nil {
		t.Fatal("testenv:", err)
	}
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), p.names.Add(1))
	// Copying files takes a fifth of the processor time that writing all pages to the WAL takes.
	if err := execute(server, "CREATE DATABASE "+name+" TEMPLATE "+from+" STRATEGY FILE_COPY"); err != nil {
		t.Fatal("testenv:", err)
	}
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error("testenv:", err)
		}
	})
	return withPath(server, name)
}

// Postgres starts a server for this test alone, which may kill and restart it. It costs a second: where a private
// database is enough, use Database.
func Postgres(t testing.TB, settings map[string]string) *devenv.Postgres {
	t.Helper()
	pg, err := devenv.StartPostgres(t.Context(), devenv.PostgresOptions{Dir: DataDir(t), Settings: settings})
	if err != nil {
		t.Fatal("testenv:", err)
	}
	return pg
}

// Redis starts a server for this test alone, which may pause, kill and restart it. The settings are lines of
// redis.conf that add to devenv's or replace them; nil leaves those as they are.
func Redis(t testing.TB, settings map[string]string) *devenv.Redis {
	t.Helper()
	r, err := devenv.StartRedis(t.Context(), devenv.RedisOptions{Dir: DataDir(t), Settings: settings})
	if err != nil {
		t.Fatal("testenv:", err)
	}
	return r
}

// DataDir makes a data directory for devenv, which PostgreSQL can enter also when root runs the tests. With the test
// end the servers in it, paused ones too.
func DataDir(t testing.TB) string {
	t.Helper()
	p := current(t)
	dir := filepath.Join(p.dir.path, fmt.Sprintf("data-%d", p.names.Add(1)))
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal("testenv:", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(devenv.Remove(context.Background(), dir), os.RemoveAll(dir)); err != nil {
			t.Error("testenv:", err)
		}
	})
	return dir
}

// SharedRedis returns the URL of an empty numbered database in a server that many tests share. Keys are the test's own;
// memory, configuration and Pub/Sub channels are not.
func SharedRedis(t testing.TB) string {
	t.Helper()
	server, err := current(t).redis()
	if err != nil {
		t.Fatal("testenv:", err)
	}
	number, err := takeRedisDatabase(t.Context(), server)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	return withPath(server, strconv.FormatInt(number, 10))
}

func withPath(address, path string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // devenv made it from its parts
	}
	u.Path = "/" + path
	return u.String()
}

// SharedCluster returns a Redis cluster that many tests share: three primaries, each with a replica. Its
// only database is everybody's: a test begins its keys with a word of its own, and leaves the servers in peace.
func SharedCluster(t testing.TB) *devenv.RedisGroup {
	t.Helper()
	return group(t, current(t).cluster)
}

// SharedSentinel is SharedCluster for a primary with two replicas and three Sentinels.
func SharedSentinel(t testing.TB) *devenv.RedisGroup {
	t.Helper()
	return group(t, current(t).sentinel)
}

// Cluster starts a Redis cluster for this test alone, which may kill its servers and move its slots. A primary that is
// silent for as long as dead is replaced. It costs seconds.
func Cluster(t testing.TB, dead time.Duration) *devenv.RedisGroup {
	return ownGroup(t, devenv.StartCluster, dead, devenv.RedisTLS{})
}

// Sentinel is Cluster for a primary with two replicas and three Sentinels.
func Sentinel(t testing.TB, dead time.Duration) *devenv.RedisGroup {
	return ownGroup(t, devenv.StartSentinel, dead, devenv.RedisTLS{})
}

// SecureCluster is a Cluster that nobody kills and that is reached with TLS alone, by clients and by each other. Its URL is
// that of a user with few rights.
func SecureCluster(t testing.TB, tls devenv.RedisTLS, user User) *devenv.RedisGroup {
	return secured(t, ownGroup(t, devenv.StartCluster, patient, tls), user)
}

// SecureSentinel is SecureCluster for a primary with two replicas and three Sentinels.
func SecureSentinel(t testing.TB, tls devenv.RedisTLS, user User) *devenv.RedisGroup {
	return secured(t, ownGroup(t, devenv.StartSentinel, patient, tls), user)
}

// patient is for servers that nobody kills: on a busy machine one may be silent for seconds.
const patient = 30 * time.Second

type startGroup = func(context.Context, devenv.RedisOptions, time.Duration) (*devenv.RedisGroup, error)

func group(t testing.TB, start func() (*devenv.RedisGroup, error)) *devenv.RedisGroup {
	t.Helper()
	g, err := start()
	if err != nil {
		t.Fatal("testenv:", err)
	}
	return g
}

func ownGroup(t testing.TB, start startGroup, dead time.Duration, tls devenv.RedisTLS) *devenv.RedisGroup {
	t.Helper()
	p := current(t)
	g := group(t, func() (*devenv.RedisGroup, error) {
		return start(t.Context(), devenv.RedisOptions{Dir: filepath.Join(p.dir.path, fmt.Sprintf("group-%d", p.names.Add(1))), TLS: tls}, dead)
	})
	t.Cleanup(func() {
		if err := g.Stop(context.Background()); err != nil {
			t.Error("testenv:", err)
		}
	})
	return g
}
