package devenv_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
)

// dataDir is a directory that PostgreSQL's account can enter also when the tests run as root, unlike t.TempDir.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "freshet-devenv-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := devenv.Remove(context.Background(), dir); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func open(t *testing.T, opts devenv.Options) *devenv.Env {
	t.Helper()
	env, err := devenv.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return env
}

// query runs one statement in the private PostgreSQL and returns its one result as text.
func query(t *testing.T, url, statement string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var result string
	if err := conn.QueryRow(t.Context(), statement).Scan(&result); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return result
}

func redisClient(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestOpen_RunsAsDescribed(t *testing.T) {
	t.Parallel()
	env := open(t, devenv.Options{Dir: dataDir(t)})
	for setting, want := range map[string]string{"synchronous_commit": "on", "fsync": "on", "listen_addresses": "127.0.0.1", "server_encoding": "UTF8"} {
		if got := query(t, env.Postgres.URL, "SELECT current_setting('"+setting+"')"); got != want {
			t.Errorf("PostgreSQL setting %s: got %q, want %q", setting, got, want)
		}
	}
	client := redisClient(t, env.Redis.URL)
	for setting, want := range map[string]string{"maxmemory": "536870912", "maxmemory-policy": "allkeys-lru", "save": "", "appendonly": "no", "bind": "127.0.0.1"} {
		if got := client.ConfigGet(t.Context(), setting).Val()[setting]; got != want {
			t.Errorf("Redis setting %s: got %q, want %q", setting, got, want)
		}
	}
}

func TestOpen_RefusesStrangers(t *testing.T) {
	t.Parallel()
	env := open(t, devenv.Options{Dir: dataDir(t)})
	config, err := pgx.ParseConfig(env.Postgres.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.Password = "wrong"
	if conn, err := pgx.ConnectConfig(t.Context(), config); err == nil {
		conn.Close(t.Context())
		t.Error("PostgreSQL: got a connection with a wrong password, want a refusal")
	}
	if err := redisClient(t, "redis://"+env.Redis.Addr).Ping(t.Context()).Err(); err == nil {
		t.Error("Redis: got an answer without a password, want a refusal")
	}
}

func TestOpen_KeepsDataUntilReset(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	env := open(t, devenv.Options{Dir: dir})
	query(t, env.Postgres.URL, "SELECT 'made' FROM (SELECT set_config('a.b', 'c', false)) s")
	conn, err := pgx.Connect(t.Context(), env.Postgres.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept (id int)"); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	const count = "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'"
	for _, run := range []struct {
		reset bool
		want  string
	}{{false, "1"}, {true, "0"}} {
		if err := env.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		env = open(t, devenv.Options{Dir: dir, Reset: run.reset})
		if got := query(t, env.Postgres.URL, count); got != run.want {
			t.Errorf("tables after a start with reset=%v: got %s, want %s", run.reset, got, run.want)
		}
	}
}

func TestOpen_SecondOnSameDirectory(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	open(t, devenv.Options{Dir: dir})
	_, err := devenv.Open(t.Context(), devenv.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "already running with pid") {
		t.Errorf("got %v, want an error with the pid of the first", err)
	}
}

func TestOpen_OtherMajorVersion(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	env := open(t, devenv.Options{Dir: dir})
	if err := env.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(env.Postgres.Dir, "data", "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := devenv.Open(t.Context(), devenv.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "was made by PostgreSQL 9") || !strings.Contains(err.Error(), "--reset") {
		t.Errorf("got %v, want an error that names version 9 and --reset", err)
	}
}

func TestOpen_InterruptedCreation(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	env := open(t, devenv.Options{Dir: dir})
	if err := env.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(env.Postgres.Dir, "data")
	if err := os.Rename(data, data+".new"); err != nil {
		t.Fatal(err)
	}
	env = open(t, devenv.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if got := query(t, env.Postgres.URL, "SELECT current_database()"); got != "freshet" {
		t.Errorf("database: got %q, want freshet", got)
	}
}
