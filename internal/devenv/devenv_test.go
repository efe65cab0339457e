package devenv_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/testenv"
)

const victimVariable = "FRESHET_TEST_VICTIM"

// TestMain lets the test binary also be the process that a test kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimVariable); dir != "" {
		victim(dir)
	}
	testenv.Main(m)
}

func victim(dir string) {
	env, err := devenv.Open(context.Background(), devenv.Options{Dir: dir})
	if err == nil {
		err = env.WriteInfo(devenv.Info{})
	}
	fmt.Println("started:", err)
	select {}
}

// startVictim runs Open in another process.
func startVictim(t *testing.T, dir string) devenv.Info {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "started: <nil>\n" {
		t.Fatalf("start in another process: got %q, %v", line, err)
	}
	info, err := devenv.ReadInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func createTable(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept (id int)"); err != nil {
		t.Fatal(err)
	}
}

func countTables(t *testing.T, url string) string {
	t.Helper()
	return query(t, url, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'")
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

func TestOpen(t *testing.T) {
	t.Parallel()
	env := open(t, devenv.Options{Dir: testenv.DataDir(t)})
	t.Run("RunsAsDescribed", func(t *testing.T) { testSettings(t, env) })
	t.Run("RefusesStrangers", func(t *testing.T) { testStrangers(t, env) })
	t.Run("SecondOnSameDirectory", func(t *testing.T) {
		_, err := devenv.Open(t.Context(), devenv.Options{Dir: env.Dir})
		want := fmt.Sprintf("already running with pid %d", os.Getpid())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	})
	t.Run("WriteInfo", func(t *testing.T) { testInfo(t, env) })
}

func testSettings(t *testing.T, env *devenv.Env) {
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

func testStrangers(t *testing.T, env *devenv.Env) {
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

func testInfo(t *testing.T, env *devenv.Env) {
	if err := env.WriteInfo(devenv.Info{URL: "http://localhost:8080/", Token: "secret"}); err != nil {
		t.Fatal(err)
	}
	got, err := devenv.ReadInfo(env.Dir)
	if err != nil {
		t.Fatal(err)
	}
	want := devenv.Info{URL: "http://localhost:8080", Token: "secret", DatabaseURL: env.Postgres.URL, RedisURL: env.Redis.URL, PID: os.Getpid()}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	file, err := os.Stat(filepath.Join(env.Dir, "dev.json"))
	if err != nil || file.Mode().Perm() != 0o600 {
		t.Errorf("dev.json: got mode %v, %v, want 0600", file.Mode(), err)
	}
	if err := env.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := devenv.ReadInfo(env.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dev.json after Close: got %v, want none", err)
	}
}

// A database is unfinished when its creation was killed. It is foreign when another version has made it.
func TestOpen_KeepsDataUntilReset(t *testing.T) {
	t.Parallel()
	dir := testenv.DataDir(t)
	unfinished := filepath.Join(dir, "postgres", "data.new")
	if err := os.MkdirAll(unfinished, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{filepath.Join(unfinished, "PG_VERSION"): "15\n", filepath.Join(dir, "postgres", "made-by-freshet"): ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := open(t, devenv.Options{Dir: dir})
	createTable(t, env.Postgres.URL)
	version := filepath.Join(env.Postgres.Dir, "data", "PG_VERSION")
	made, err := os.ReadFile(version)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []struct {
		reset bool
		want  string
	}{{false, "1"}, {true, "0"}} {
		if err := env.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(version, []byte("9\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := devenv.Open(t.Context(), devenv.Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), "was made by PostgreSQL 9") || !strings.Contains(err.Error(), "--reset") {
			t.Errorf("got %v, want an error that names version 9 and --reset", err)
		}
		if err := os.WriteFile(version, made, 0o600); err != nil {
			t.Fatal(err)
		}
		env = open(t, devenv.Options{Dir: dir, Reset: run.reset})
		if got := countTables(t, env.Postgres.URL); got != run.want {
			t.Errorf("tables after a start with reset=%v: got %s, want %s", run.reset, got, run.want)
		}
	}
}

// A directory that its owner alone can enter is closed to the account that PostgreSQL has when root starts it.
func TestOpen_DirectoryClosedToPostgres(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "data")
	t.Cleanup(func() {
		if err := devenv.Remove(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	env := open(t, devenv.Options{Dir: dir})
	createTable(t, env.Postgres.URL)
	if got, want := env.Postgres.Moved, os.Getuid() == 0; got != want {
		t.Errorf("moved to %s: got %v, want %v", env.Postgres.Dir, got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres")); env.Postgres.Moved && err == nil {
		t.Error("directory that PostgreSQL cannot enter: got it still there, want it gone")
	}
	if err := env.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	env = open(t, devenv.Options{Dir: dir})
	if got := countTables(t, env.Postgres.URL); got != "1" {
		t.Errorf("tables after a second start: got %s, want 1", got)
	}
}

func TestOpen_AfterKill(t *testing.T) {
	t.Parallel()
	dir := testenv.DataDir(t)
	first := startVictim(t, dir)
	createTable(t, first.DatabaseURL)
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// No process of ours tells when it is gone, but the lock does: the kernel drops it with its holder.
	env, err := devenv.Open(t.Context(), devenv.Options{Dir: dir})
	for err != nil && strings.Contains(err.Error(), "already running") {
		env, err = devenv.Open(t.Context(), devenv.Options{Dir: dir})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close(context.Background())
	if got := countTables(t, env.Postgres.URL); got != "1" {
		t.Errorf("tables after kill -9: got %s, want 1", got)
	}
	for _, address := range []string{first.DatabaseURL, first.RedisURL} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", u.Host); err == nil {
			conn.Close()
			t.Errorf("%s server of the killed run: got a connection, want none", u.Scheme)
		}
	}
}

// Two servers over one directory do not happen under Open's lock, so the first must be a leftover.
func TestStart_StopsLeftovers(t *testing.T) {
	t.Parallel()
	dir := testenv.DataDir(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	pg := devenv.PostgresOptions{Dir: dir, Log: logger, Settings: map[string]string{"work_mem": "5MB"}}
	first, err := devenv.StartPostgres(t.Context(), pg)
	if err != nil {
		t.Fatal(err)
	}
	createTable(t, first.URL)
	redis := devenv.RedisOptions{Dir: dir, Log: logger}
	firstRedis, err := devenv.StartRedis(t.Context(), redis)
	if err != nil {
		t.Fatal(err)
	}
	firstRedis.Pause()

	second, err := devenv.StartPostgres(t.Context(), pg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := devenv.StartRedis(t.Context(), redis); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	<-firstRedis.Done()
	if got := countTables(t, second.URL); got != "1" {
		t.Errorf("tables: got %s, want 1", got)
	}
	if got := strings.Count(log.String(), "an earlier run left behind"); got != 2 {
		t.Errorf("log lines about leftovers: got %d in %s, want 2", got, log.String())
	}
	t.Run("KillAndRestart", func(t *testing.T) { testKillAndRestart(t, second) })
}

func testKillAndRestart(t *testing.T, pg *devenv.Postgres) {
	address := pg.URL
	pg.Kill()
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pg.URL != address {
		t.Error("URL after a restart: got another, want the same")
	}
	if got := countTables(t, pg.URL); got != "1" {
		t.Errorf("tables after a crash: got %s, want 1", got)
	}
	if got := query(t, pg.URL, "SELECT current_setting('work_mem')"); got != "5MB" {
		t.Errorf("work_mem: got %s, want 5MB", got)
	}
}

func TestRemove_LeavesStrangersAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "postgres", "precious")
	if err := os.MkdirAll(precious, 0o700); err != nil {
		t.Fatal(err)
	}
	err := devenv.Remove(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "not made by Freshet") {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error("a directory that Freshet did not make: got removed, want left alone")
	}
}
