package persisted

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

// automatic is an Automatic with a clock that the test moves.
func (r *rig) automatic(client redis.UniversalClient, o AutomaticOptions) *Automatic {
	o.Budget = waitLong // no part of what most test
	o.Redis, o.Now, o.Log = client, r.now, slog.New(slog.NewTextHandler(&r.log, nil))
	a := NewAutomatic(o)
	r.t.Cleanup(a.Close)
	return a
}

func clockOnly(t testing.TB) *rig {
	return &rig{t: t, at: time.Now().UTC().Truncate(time.Second)}
}

func (r *rig) wantText(a *Automatic, hash, want string) {
	r.t.Helper()
	got, found, err := a.Get(r.t.Context(), hash)
	if err != nil || got != want || found != (want != "") {
		r.t.Errorf("%s: got %.60q, %v, %v, want %.60q", hash, got, found, err, want)
	}
}

func TestAutomatic_EveryInstanceKnowsIt(t *testing.T) {
	t.Parallel()
	r := clockOnly(t)
	client := openRedis(t, testenv.SharedRedis(t))
	a, b := r.automatic(client, AutomaticOptions{Service: "svc"}), r.automatic(client, AutomaticOptions{Service: "svc"})
	hash := sha256Hex(profile)
	r.wantText(a, hash, "")
	r.must(a.Put(t.Context(), hash, profile))
	r.wantText(a, hash, profile)
	r.wantText(b, hash, profile)
	r.wantText(r.automatic(client, AutomaticOptions{Service: "other"}), hash, "")
	if got, err := client.Get(t.Context(), "svc:apq:"+hash).Result(); err != nil || got != profile {
		t.Errorf("key: got %q, %v, want the text", got, err)
	}
	if got := client.TTL(t.Context(), "svc:apq:"+hash).Val(); got > automaticTTL || got < automaticTTL-time.Hour {
		t.Errorf("TTL: got %s, want %s", got, automaticTTL)
	}
	// From memory, without Redis.
	r.must(client.FlushDB(t.Context()).Err())
	r.wantText(b, hash, profile)
	r.wantText(r.automatic(client, AutomaticOptions{Service: "svc"}), hash, "")
}

func TestAutomatic_HashIsInOneForm(t *testing.T) {
	t.Parallel()
	hash := sha256Hex(profile)
	for given, want := range map[string]bool{hash: true, "sha256:" + hash: true, strings.ToUpper(hash): true, "": false, hash[1:]: false, hash[1:] + "g": false} {
		if got, ok := AutomaticHash(given); ok != want || ok && got != hash {
			t.Errorf("%s: got %s, %v, want %v", given, got, ok, want)
		}
	}
}

// Whoever can write to Redis can't have another text executed.
func TestAutomatic_PoisonIsAMiss(t *testing.T) {
	t.Parallel()
	r := clockOnly(t)
	client := openRedis(t, testenv.SharedRedis(t))
	hash := sha256Hex(profile)
	for _, poison := range []string{bio, "", profile + " ", strings.Repeat("x", LongestAutomatic+1)} {
		r.must(client.Set(t.Context(), "freshet:apq:"+hash, poison, 0).Err())
		a := r.automatic(client, AutomaticOptions{})
		r.wantText(a, hash, "")
		r.must(a.Put(t.Context(), hash, profile)) // heals it
		r.wantText(r.automatic(client, AutomaticOptions{}), hash, profile)
	}
	r.must(client.Del(t.Context(), "freshet:apq:"+hash).Err())
	r.must(client.LPush(t.Context(), "freshet:apq:"+hash, profile).Err())
	if text, found, err := r.automatic(client, AutomaticOptions{}).Get(t.Context(), hash); found || text != "" || err == nil {
		t.Errorf("a key of another type: got %q, %v, %v, want a miss and an error", text, found, err)
	}
}

func TestAutomatic_KeepsNoText(t *testing.T) {
	t.Parallel()
	r := clockOnly(t)
	client := openRedis(t, testenv.SharedRedis(t))
	a := r.automatic(client, AutomaticOptions{BurstBytes: 2000, BytesPerSecond: 100})
	put := func(hash, text string, kept bool) {
		t.Helper()
		r.must(a.Put(t.Context(), hash, text))
		if got := client.Exists(t.Context(), "freshet:apq:"+hash).Val() == 1; got != kept {
			t.Errorf("a text of %d bytes: got kept %v, want %v", len(text), got, kept)
		}
	}
	put(sha256Hex(profile), bio, false) // another's hash
	long := strings.Repeat("x", LongestAutomatic+1)
	put(sha256Hex(long), long, false)
	for i, kept := range []bool{true, false} { // over what may be registered at once
		text := strings.Repeat(string(rune('a'+i)), 1500)
		put(sha256Hex(text), text, kept)
	}
	r.wait(10 * time.Second)
	put(sha256Hex(strings.Repeat("b", 1500)), strings.Repeat("b", 1500), true)
	if got := client.DBSize(t.Context()).Val(); got != 2 {
		t.Errorf("keys: got %d, want 2", got)
	}
}

// A text that is used stays, and is not written at every use.
func TestAutomatic_RenewsOnUse(t *testing.T) {
	t.Parallel()
	r := clockOnly(t)
	client := openRedis(t, testenv.SharedRedis(t))
	hash := sha256Hex(profile)
	key := "freshet:apq:" + hash
	a := r.automatic(client, AutomaticOptions{})
	r.must(a.Put(t.Context(), hash, profile))
	wantTTL := func(when string, want time.Duration) {
		t.Helper()
		if got := client.TTL(t.Context(), key).Val(); got > want || got < want-10*time.Minute { // Redis has a clock of its own
			t.Errorf("%s: got the TTL %s, want %s", when, got, want)
		}
	}
	age := func(to time.Duration) { r.must(client.Expire(t.Context(), key, to).Err()) }
	age(100 * time.Hour)
	r.wait(23 * time.Hour)
	r.wantText(a, hash, profile)
	wantTTL("from memory, before a day has passed", 100*time.Hour)
	r.wait(2 * time.Hour)
	r.wantText(a, hash, profile)
	wantTTL("from memory, after a day", automaticTTL)
	age(automaticTTL - 23*time.Hour)
	r.wantText(r.automatic(client, AutomaticOptions{}), hash, profile)
	wantTTL("from Redis, before a day has passed", automaticTTL-23*time.Hour)
	age(automaticTTL - 25*time.Hour)
	r.wantText(r.automatic(client, AutomaticOptions{}), hash, profile)
	wantTTL("from Redis, after a day", automaticTTL)
}

// trips counts reads and writes of texts.
type trips struct{ n atomic.Int64 }

func (*trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "set" {
			h.n.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (h *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "get" { // others greet
			h.n.Add(1)
		}
		return next(ctx, cmds)
	}
}

// A Redis that hangs costs one budget for what is not in memory, and is then left alone for a while.
func TestAutomatic_RedisInTrouble(t *testing.T) {
	t.Parallel()
	r := clockOnly(t)
	server := testenv.Redis(t, nil)
	client := openRedis(t, server.URL)
	a := r.automatic(client, AutomaticOptions{})
	known, hash := sha256Hex(bio), sha256Hex(profile)
	r.must(a.Put(t.Context(), known, bio))
	var sent trips
	client.AddHook(&sent)
	a.o.Budget = 50 * time.Millisecond
	server.Pause()
	if _, found, err := a.Get(t.Context(), hash); found || err == nil {
		t.Errorf("a Redis that hangs: got found %v, %v, want a miss and an error", found, err)
	}
	if err := a.Put(t.Context(), hash, profile); err == nil {
		t.Error("a Redis that hangs: got no error from Put, want one")
	}
	for range 3 {
		r.wantText(a, known, bio)
		r.wantText(a, hash, profile) // from memory
		r.must(a.Put(t.Context(), hash, profile))
	}
	if got := sent.n.Load(); got != 2 {
		t.Errorf("round trips to a Redis that hangs: got %d, want 2", got)
	}
	away := r.automatic(client, AutomaticOptions{Available: func() bool { return false }})
	r.wantText(away, hash, "") // and no error: it was not asked
	r.must(away.Put(t.Context(), hash, profile))
	r.wantText(away, hash, profile)
	server.Resume()
	a.o.Budget = waitLong
	testenv.Eventually(t, "Redis back", func() bool { return client.Ping(t.Context()).Err() == nil })
	r.must(client.FlushDB(t.Context()).Err()) // it has read what was sent while it hung
	for _, c := range []struct {
		passed time.Duration
		want   int64
	}{{automaticRetry - time.Second, 0}, {time.Second, 1}} {
		r.wait(c.passed)
		r.wantText(a, hash, profile)
		if got := client.Exists(t.Context(), "freshet:apq:"+hash).Val(); got != c.want {
			t.Errorf("keys in Redis %s later: got %d, want %d", c.passed, got, c.want)
		}
	}
}
