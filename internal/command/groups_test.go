package command

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/redisconn"
	"freshet/internal/testenv"
)

// rights are what docs/redis.md tells to give a user of the service "freshet".
var rights = []string{"~freshet:*", "~{freshet:*", "&freshet:*", "+@all", "-@dangerous", "+info", "+role"}

// refusals are the replies of all servers that own keys which begin with a word: errors that commands have met there.
func refusals(t *testing.T, address string, words ...string) (found []string) {
	t.Helper()
	client, err := redisconn.Open(address, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = redisconn.Masters(t.Context(), client, func(ctx context.Context, node *redis.Client) error {
		text, err := node.Info(ctx, "errorstats").Result()
		for name, count := range redisconn.Fields(text) {
			for _, word := range words {
				if name == "errorstat_"+word {
					found = append(found, node.Options().Addr+" "+name+" "+count)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Instances live on a cluster, and on a primary that Sentinel watches, that are reached with TLS, as a user with few rights:
// writes show at once, limits and attempts are counted together, texts registered with one are known to the other, and no
// command spans slots or is forbidden.
func TestGroups_WithTLSAndFewRights(t *testing.T) {
	t.Parallel()
	authority := testenv.NewAuthority(t)
	files := authority.Issue(t, "server")
	for form, start := range map[string]func(testing.TB, devenv.RedisTLS, testenv.User) *devenv.RedisGroup{
		"cluster": testenv.SecureCluster, "sentinel": testenv.SecureSentinel,
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.redis = start(t, files, testenv.User{Name: "app", Password: "s3cret/@?", Rules: rights}).URL
			if !strings.HasPrefix(w.redis, "rediss+"+form+"://app:s3cret%2F%40%3F@") {
				t.Fatalf("address: got another than that of the user with TLS")
			}
			on := func(o *ServeOptions) {
				o.Service, o.Guards.Viewer = "freshet", Rate{PerSecond: 1, Burst: 2000}
				o.Memory = -1 // or what one has read without Redis for once would never be asked of Redis again
			}
			w.exercise(w.startWith(on), w.startWith(on))
			if found := refusals(t, w.redis, "CROSSSLOT", "NOPERM"); len(found) > 0 {
				t.Errorf("replies of Redis: got %v, want none", found)
			}
			if code, text := w.examine(func(*DoctorOptions) {}); code != 0 || strings.Contains(text, "warning") {
				t.Errorf("doctor: got the exit code %d, want 0 and no warnings:\n%s", code, text)
			}
		})
	}
}

// exercise has two instances do all that they use Redis for.
func (w *world) exercise(a, b *api) {
	w.t.Helper()
	token, id := a.person("ann")
	name := `query($id: ID!) { profile(id: $id) { name } }`
	for _, want := range []string{"One", "Two", "Three"} {
		b.get("", "profile.name", name, map[string]any{"id": id})
		a.must(token, `mutation($n: String!) { updateProfile(input: {name: $n}) { profile { name } } }`, map[string]any{"n": want}, nil)
		b.wantAt("", "profile.name", want, name, map[string]any{"id": id})
	}
	for i := range 20 {
		a.publish(token, "Post "+string(rune('a'+i)))
	}
	posts := `query($id: ID!) { profile(id: $id) { posts(first: 20) { nodes { title counts { likes } } } } }`
	for i := 0; ; i++ { // a Redis that is slow for once is a miss
		before := b.sum("freshet_cache_hits_total", "tier", "redis")
		a.must(token, posts, map[string]any{"id": id}, nil)
		b.must(token, strings.Replace(posts, "title", strings.Repeat("t", i+1)+": title", 1), map[string]any{"id": id}, nil)
		if hits := b.sum("freshet_cache_hits_total", "tier", "redis") - before; hits >= 20 {
			break
		} else if i > 20 {
			w.t.Fatalf("hits in Redis of what the other has loaded: got %v, want at least 20 posts", hits)
		}
	}
	w.register(a, b, id)
	// Alone, an instance lets five attempts pass.
	const signIn = `mutation { signIn(input: {handle: "ann", password: "wrong"}) { userErrors { code } } }`
	for range 6 {
		b.ask("", signIn, nil, nil)
	}
	for range 4 { // again: Redis may have been slow for once
		if got := a.get("", "signIn.userErrors", signIn, nil); strings.Contains(fmt.Sprint(got), "TOO_MANY_ATTEMPTS") {
			return
		}
	}
	w.t.Error("attempts to sign in with the other instance: got four more, want TOO_MANY_ATTEMPTS")
}

// register has texts registered with one instance until the other knows enough of them, in all slots: a text that Redis was too
// slow to take is in the first one's memory alone for a minute.
func (w *world) register(a, b *api, id string) {
	w.t.Helper()
	const enough, most = 20, 200
	for i, known := 0, 0; known < enough; i++ {
		if i == most {
			w.t.Fatalf("texts registered with one instance: got %d of %d known to the other by their hashes, want %d", known, most, enough)
		}
		text := `query Q($id: ID!) { profile(id: $id) { handle name ` + strings.Repeat("a", i+1) + `: bio } }`
		extensions := "?extensions=" + url.QueryEscape(`{"persistedQuery":{"version":1,"sha256Hash":"`+sha(text)+`"}}`) + "&variables=" + url.QueryEscape(`{"id":"`+id+`"}`)
		if x := b.send(extensions, ""); !strings.Contains(x.body, "PERSISTED_QUERY_NOT_FOUND") {
			w.t.Errorf("before it is registered: got %s, want PERSISTED_QUERY_NOT_FOUND", x.body)
		}
		a.send("", strings.Replace(automatic(text, sha(text)), "{", `{"variables":{"id":"`+id+`"},`, 1))
		if x := b.send(extensions, ""); !strings.Contains(x.body, "PERSISTED_QUERY_NOT_FOUND") {
			b.wantData("by its hash", x, `"ann"`)
			known++
		}
	}
}
