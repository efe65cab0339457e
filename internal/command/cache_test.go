package command

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"freshet/internal/redisconn"
	"freshet/internal/testenv"
)

func TestCache_PurgesByPatternOnEachPrimary(t *testing.T) {
	t.Parallel()
	url := testenv.SharedCluster(t).URL
	client, err := redisconn.Open(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 100 {
		for _, key := range []string{"purge*:post:%d", "purge*:profile:%d", "purged:post:%d"} {
			if err := client.Set(t.Context(), fmt.Sprintf(key, i), "value", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out bytes.Buffer
	o := CacheOptions{RedisURL: url, Service: "purge*", DryRun: true, Sample: 1000, Out: &out}
	steps := []func() error{
		func() error { return PurgePattern(t.Context(), o, "post:*") },
		func() error { o.DryRun = false; return PurgePattern(t.Context(), o, "post:*") },
		func() error { return PurgePattern(t.Context(), o, "*") },
		func() error { o.Service = "purged"; return PurgePattern(t.Context(), o, "*") },
	}
	for i, want := range []string{"would purge 100 keys", "purged 100 keys", "purged 100 keys", "purged 100 keys"} {
		out.Reset()
		if err := steps[i](); err != nil || strings.TrimSpace(out.String()) != want {
			t.Errorf("step %d: got %q, %v, want %q", i, out.String(), err, want)
		}
	}
}

func TestCache_PurgesByTag(t *testing.T) {
	t.Parallel()
	url := testenv.Database(t)
	var out bytes.Buffer
	o := CacheOptions{DatabaseURL: url, Out: &out}
	if err := PurgeTag(t.Context(), o, "post"); err == nil {
		t.Error("purge of no tag: got no error")
	}
	if err := PurgeTag(t.Context(), o, "post:17"); err != nil {
		t.Fatal(err)
	}
	err := withDatabase(url, func(db *bun.DB) error {
		var tags string
		err := db.QueryRowContext(t.Context(), "SELECT string_agg(tag, ' ') FROM changelog.outbox").Scan(&tags)
		if !strings.Contains(tags, "post:17") {
			t.Errorf("outbox: got %q, want post:17", tags)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCache_Stats(t *testing.T) {
	t.Parallel()
	url := testenv.SharedRedis(t)
	client, err := redisconn.Open(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 20 {
		if err := client.Set(t.Context(), fmt.Sprintf("freshet:post:%d", i), "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := CacheStats(t.Context(), CacheOptions{RedisURL: url, Service: "freshet", Sample: 15, Out: &out}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"20 keys", "a sample of 15 keys", "post"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("stats: got %q, want %q in it", out.String(), part)
		}
	}
}
