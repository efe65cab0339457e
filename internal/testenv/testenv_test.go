package testenv_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func exec(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}

func TestDatabase_Private(t *testing.T) {
	t.Parallel()
	for range 3 { // a second one would fail, were they the same
		url := testenv.Database(t)
		exec(t, url, "SELECT * FROM posts")
		exec(t, url, "CREATE TABLE mine (id int)")
	}
}

func TestEmptyDatabase_HasNoSchema(t *testing.T) {
	t.Parallel()
	exec(t, testenv.EmptyDatabase(t), "CREATE TABLE posts (id int)")
}

func TestSharedRedis_PrivateKeys(t *testing.T) {
	t.Parallel()
	for range 2 {
		opts, err := redis.ParseURL(testenv.SharedRedis(t))
		if err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(opts)
		defer client.Close()
		if got, err := client.SetNX(t.Context(), "key", "value", 0).Result(); err != nil || !got {
			t.Errorf("first SETNX: got %v, %v, want true", got, err)
		}
	}
}

func TestRedis_Faults(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t, map[string]string{"maxmemory": "4mb"})
	opts, err := redis.ParseURL(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	if got := client.ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]; got != "4194304" {
		t.Errorf("maxmemory: got %s, want 4194304", got)
	}
	r.Kill()
	if err := r.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING after a restart on the same port: got %v, want no error", err)
	}
	r.Pause() // cleaning up must end a paused server too
}
