package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
)

// servers are what tests share. Those of one binary start a server when a test first asks for it; where Share has started
// all for a whole run, the binaries of that run find them by an environment variable.
type servers struct {
	postgres func() (string, error) // URLs
	redis    func() (string, error)
	cluster  func() (*devenv.RedisGroup, error)
	sentinel func() (*devenv.RedisGroup, error)
	program  func() (string, error) // path
}

// variable names the file that says where the servers of a run are.
const variable = "FRESHET_TEST_SERVERS"

// addresses is the content of that file.
type addresses struct {
	Postgres, Redis   string
	Cluster, Sentinel *devenv.RedisGroup
	Programs          string // directory
}

// startServers has each started when it is first asked for.
func startServers(dir *claimedDir) *servers {
	return &servers{
		postgres: sync.OnceValues(func() (string, error) { return startPostgres(dir.path) }),
		redis:    sync.OnceValues(func() (string, error) { return startSharedRedis(dir.path) }),
		cluster:  sync.OnceValues(func() (*devenv.RedisGroup, error) { return startShared(dir.path, "cluster", devenv.StartCluster) }),
		sentinel: sync.OnceValues(func() (*devenv.RedisGroup, error) { return startShared(dir.path, "sentinel", devenv.StartSentinel) }),
		program:  sync.OnceValues(func() (string, error) { return buildProgram(dir.programs) }),
	}
}

// readServers finds those of the run.
func readServers(path string) *servers {
	read := sync.OnceValues(func() (at addresses, err error) {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &at)
		}
		if err != nil {
			err = fmt.Errorf("read %s, which %s names: %w", path, variable, err)
		}
		return at, err
	})
	return &servers{
		postgres: func() (string, error) { at, err := read(); return at.Postgres, err },
		redis:    func() (string, error) { at, err := read(); return at.Redis, err },
		cluster:  func() (*devenv.RedisGroup, error) { at, err := read(); return at.Cluster, err },
		sentinel: func() (*devenv.RedisGroup, error) { at, err := read(); return at.Sentinel, err },
		program: sync.OnceValues(func() (string, error) {
			at, err := read()
			if err != nil {
				return "", err
			}
			return buildProgram(at.Programs)
		}),
	}
}

// Share starts the servers that the test binaries of one run share. They find them if their environment has the setting,
// NAME=VALUE. Stop ends the servers and deletes their files.
func Share() (setting string, stop func() error, err error) {
	dir, err := claimDir()
	if err != nil {
		return "", nil, err
	}
	at, here := addresses{Programs: dir.programs}, startServers(dir)
	errs := make([]error, 4)
	var starts sync.WaitGroup
	starts.Go(func() { at.Postgres, errs[0] = here.postgres() })
	starts.Go(func() { at.Redis, errs[1] = here.redis() })
	starts.Go(func() { at.Cluster, errs[2] = here.cluster() })
	starts.Go(func() { at.Sentinel, errs[3] = here.sentinel() })
	starts.Wait()
	text, err := json.Marshal(at)
	path := filepath.Join(dir.path, "servers.json")
	if err = errors.Join(append(errs, err, os.WriteFile(path, text, 0o600))...); err != nil {
		return "", nil, errors.Join(err, dir.remove())
	}
	return variable + "=" + path, dir.remove, nil
}

// redisDatabases bounds how many tests of a run can have a numbered database in the shared Redis.
const redisDatabases = 1 << 14

func startSharedRedis(dir string) (string, error) {
	r, err := devenv.StartRedis(context.Background(), devenv.RedisOptions{
		Dir:      filepath.Join(dir, "shared"),
		Settings: map[string]string{"databases": strconv.Itoa(redisDatabases)},
	})
	if err != nil {
		return "", err
	}
	return r.URL, nil
}

// takeRedisDatabase returns the number of a database that no other test of the run has. Database 0 holds the last one.
func takeRedisDatabase(ctx context.Context, server string) (int64, error) {
	o, err := redis.ParseURL(server)
	if err != nil {
		return 0, err
	}
	client := redis.NewClient(o)
	defer client.Close()
	number, err := client.Incr(ctx, "last-database").Result()
	if err == nil && number >= redisDatabases {
		err = fmt.Errorf("databases in the shared Redis: got %d, want fewer than %d", number, redisDatabases)
	}
	return number, err
}

// startShared leaves its servers to the end of the run, which removes their directories.
func startShared(dir, name string, start startGroup) (*devenv.RedisGroup, error) {
	return start(context.Background(), devenv.RedisOptions{Dir: filepath.Join(dir, name)}, patient)
}
