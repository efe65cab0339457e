package command

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"freshet/internal/auth"
	"freshet/internal/redisconn"
	"freshet/internal/store"
	"freshet/internal/testenv"
	"freshet/models"
)

func TestMain(m *testing.M) {
	takeLogs(slog.New(slog.DiscardHandler)) // or libraries would write to standard error
	testenv.Main(m)
}

// api is an instance and its clients' view of it.
type api struct {
	t         testing.TB
	url       string
	instance  *instance
	transport *http.Transport
	stop      func()
}

// world is a database and a Redis that several instances share.
type world struct {
	t               testing.TB
	database, redis string
	db              *bun.DB
	transport       *http.Transport // keeps connections open, and answers as they come
}

func newWorld(t testing.TB) *world { return newWorldOn(t, testenv.Database(t)) }

func newWorldOn(t testing.TB, database string) *world {
	w := &world{t: t, database: database, redis: testenv.SharedRedis(t), transport: &http.Transport{DisableCompression: true}}
	db, err := store.Open(w.database, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(); w.transport.CloseIdleConnections() })
	w.db = db
	w.exec(beginEpoch)
	return w
}

// beginEpoch makes a database one that was in use by instances that have left. In a new epoch, which takeOffice of
// internal/changelog begins for another cluster, all writers wait for as long as a lease.
const beginEpoch = `UPDATE changelog.log_head SET epoch = 1, cluster = (SELECT system_identifier FROM pg_control_system()) || '/' ||
	substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())`

// hang is a time that only a hang reaches, however busy the machine.
const hang = time.Hour

// service keeps the channels of tests that share a Redis apart: Pub/Sub does not know numbered databases.
func (w *world) service() string {
	return "test" + w.redis[strings.LastIndex(w.redis, "/")+1:]
}

func (w *world) start() *api { return w.startWith(func(*ServeOptions) {}) }

func (w *world) options() ServeOptions {
	return ServeOptions{
		Addr: "127.0.0.1:0", DatabaseURL: w.database, DatabaseConns: 8, RedisURL: w.redis, RedisConns: 8,
		Service: w.service(), Log: slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Introspection: true, Automatic: true, RequestTimeout: hang, DrainTimeout: hang,
		tuning: tuning{
			redisBudget: hang, lease: hang, startWait: hang, buildsPoll: hang,
			outboxPoll: time.Second, // an instance that idles costs others processor time
			hashCost:   auth.HashCost{MemoryKiB: 8, Passes: 1},
		},
	}
}

func (w *world) startWith(change func(*ServeOptions)) *api {
	w.t.Helper()
	o := w.options()
	change(&o)
	i, err := newInstance(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	srv, err := i.listen("", "")
	if err != nil {
		i.close()
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- srv.Serve(ctx) }()
	end := sync.OnceFunc(func() {
		stop()
		if err := <-served; err != nil {
			w.t.Error("serve:", err)
		}
		i.close()
	})
	w.t.Cleanup(end)
	a := &api{w.t, "http://" + srv.Addr().String() + "/graphql", i, w.transport, end}
	testenv.Eventually(w.t, "the instance may answer from caches", func() bool { return i.node.Stats().Granted })
	return a
}

// flush removes all that the world's Redis has.
func (w *world) flush() {
	w.t.Helper()
	client, err := redisconn.Open(w.redis, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	if err := client.FlushDB(w.t.Context()).Err(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.db.ExecContext(w.t.Context(), query, args...); err != nil {
		w.t.Fatal(err)
	}
}

type answer struct {
	Data   json.RawMessage
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
}

// ask sends an operation and decodes its data into out.
func (a *api) ask(token, query string, variables map[string]any, out any) answer {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		a.t.Fatal(err)
	}
	lines := []string{"Accept-Encoding: gzip"}
	if token != "" {
		lines = append(lines, bearer(token))
	}
	var got answer
	if err := json.Unmarshal([]byte(a.send("", string(body), lines...).body), &got); err != nil {
		a.t.Fatal(err)
	}
	if out != nil && len(got.Data) > 0 {
		if err := json.Unmarshal(got.Data, out); err != nil {
			a.t.Fatal(err)
		}
	}
	return got
}

// must asks for what may not fail.
func (a *api) must(token, query string, variables map[string]any, out any) {
	a.t.Helper()
	if got := a.ask(token, query, variables, out); len(got.Errors) > 0 {
		a.t.Fatalf("%s: got errors %+v", query, got.Errors)
	}
}

// get asks for one value, by its place in the data: "viewer.profile.name".
func (a *api) get(token, place, query string, variables map[string]any) any {
	a.t.Helper()
	var data any
	a.must(token, query, variables, &data)
	for _, step := range strings.Split(place, ".") {
		fields, ok := data.(map[string]any)
		if !ok {
			a.t.Fatalf("%s: got %v at %s, want an object", query, data, step)
		}
		data = fields[step]
	}
	return data
}

func (a *api) wantAt(token, place string, want any, query string, variables map[string]any) {
	a.t.Helper()
	if got := a.get(token, place, query, variables); fmt.Sprint(got) != fmt.Sprint(want) {
		a.t.Errorf("%s of %s: got %v, want %v", place, query, got, want)
	}
}

// person signs up and returns the token and the profile's id.
func (a *api) person(handle string) (token, id string) {
	a.t.Helper()
	token, viewer, err := a.instance.auth.SignUp(a.t.Context(), models.SignUpInput{
		Handle: handle, Name: strings.ToUpper(handle), Password: "correct horse",
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return token, viewer.ID.String()
}

func (a *api) publish(token, title string) (id string) {
	a.t.Helper()
	var out struct {
		PublishPost struct{ Post struct{ ID string } }
	}
	a.must(token, `mutation($t: String!) { publishPost(input: {title: $t, body: "Text.", category: "science", language: "en"}) {
		post { id } userErrors { message } } }`, map[string]any{"t": title}, &out)
	return out.PublishPost.Post.ID
}

// sum adds up a metric of the instance over its labels, those with the given value of a label only.
func (a *api) sum(name, label, value string) float64 {
	a.t.Helper()
	families, err := prometheus.Gatherers{a.instance.registry}.Gather()
	if err != nil {
		a.t.Fatal(err)
	}
	total := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.Metric {
			for _, pair := range metric.Label {
				if pair.GetName() == label && (value == "" || pair.GetValue() == value) {
					total += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return total
}

const feedQuery = `query($first: Int, $after: String) { feed(first: $first, after: $after) {
	nodes { id title author { id name } counts { likes } } pageInfo { hasNextPage endCursor } } }`

// stored waits until the caches have as many entries in Redis as match a pattern: they are stored while the answer that
// they are of is on its way.
func (a *api) stored(entries int, pattern string) (keys []string) {
	a.t.Helper()
	testenv.Eventually(a.t, fmt.Sprintf("%d entries %s", entries, pattern), func() bool {
		var err error
		if keys, err = a.instance.redis.Keys(a.t.Context(), a.instance.options.Service+":"+pattern).Result(); err != nil {
			a.t.Fatal(err)
		}
		return len(keys) == entries
	})
	return keys
}

// counts of an instance that requests change.
type counts struct{ statements, hits, misses, trips float64 }

const anyTrips = -1

func (a *api) counts() counts {
	return counts{
		a.sum("freshet_sql_statements_total", "operation", "SELECT"), a.sum("freshet_cache_hits_total", "kind", ""),
		a.sum("freshet_cache_misses_total", "kind", ""), a.sum("freshet_cache_round_trips_total", "kind", ""),
	}
}

// wantCost wants a request to raise the counts by so much.
func (a *api) wantCost(what string, want counts, request func()) {
	a.t.Helper()
	before := a.counts()
	request()
	now := a.counts()
	got := counts{now.statements - before.statements, now.hits - before.hits, now.misses - before.misses, now.trips - before.trips}
	if want.trips == anyTrips {
		got.trips = anyTrips
	}
	if got != want {
		a.t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// The feed of 20 posts with authors and counts: 4 statements cold, one of each type, and none warm.
func TestAPI_FeedCostsFourStatementsColdAndNoneWarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.start()
	reader, _ := first.person("reader")
	for i := range 5 {
		author, id := first.person(fmt.Sprintf("author%d", i))
		first.must(reader, `mutation($id: ID!) { follow(input: {profileId: $id}) { userErrors { message } } }`,
			map[string]any{"id": id}, nil)
		for n := range 5 {
			first.publish(author, fmt.Sprintf("Post %d of %d", n, i))
		}
	}
	first.stop()
	w.flush()
	a := w.start()
	a.must(reader, `{ viewer { scopes } }`, nil, nil) // a session that was used before
	a.stored(1, "session:*")
	var page struct {
		Feed struct {
			Nodes    []struct{ Title, ID string }
			PageInfo struct{ HasNextPage bool }
		}
	}
	// It hits the session, and misses the result, the page, 20 posts, 4 authors and 20 counts.
	a.wantCost("cold", counts{4, 1, 46, anyTrips}, func() { a.must(reader, feedQuery, map[string]any{"first": 20}, &page) })
	if len(page.Feed.Nodes) != 20 || !page.Feed.PageInfo.HasNextPage || page.Feed.Nodes[0].Title != "Post 4 of 4" {
		t.Errorf("feed: got %d posts, %+v, want 20 and more, latest first", len(page.Feed.Nodes), page.Feed)
	}
	for pattern, entries := range map[string]int{"feed:*": 1, "post:*": 20, "profile:*": 4, "post-counts:*": 20} {
		a.stored(entries, pattern)
	}
	another := strings.Replace(feedQuery, "title", "headline: title", 1) // of which there is no result yet
	// It misses the result alone. The round trips are for the result, page, posts, authors and counts; the session is in
	// memory by now.
	a.wantCost("warm", counts{0, 46, 1, 5}, func() { a.must(reader, another, map[string]any{"first": 20}, nil) })
	hits := a.results()
	a.wantCost("once more", counts{0, 2, 0, 0}, func() { a.must(reader, another, map[string]any{"first": 20}, nil) })
	if got := a.results() - hits; got != 1 {
		t.Errorf("whole results once more: got %v hits, want 1", got)
	}
}

func TestAPI_WritesShowOnEveryInstanceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	token, id := a.person("writer")
	fan, _ := a.person("fan")
	post := a.publish(token, "First")
	a.must(fan, `mutation($id: ID!) { follow(input: {profileId: $id}) { profile { viewerFollows } } }`, map[string]any{"id": id}, nil)

	name := `query($id: ID!) { profile(id: $id) { name } }`
	titles := `{ feed { nodes { title author { name } } } }`
	for n := range 20 {
		want := fmt.Sprintf("Name %d", n)
		b.get("", "profile.name", name, map[string]any{"id": id})
		a.must(token, `mutation($n: String!) { updateProfile(input: {name: $n}) { profile { name } } }`, map[string]any{"n": want}, nil)
		b.wantAt("", "profile.name", want, name, map[string]any{"id": id})
		a.must(token, `mutation($id: ID!, $t: String!) { editPost(input: {postId: $id, title: $t}) { post { title } } }`,
			map[string]any{"id": post, "t": want}, nil)
		b.wantAt(fan, "feed.nodes", fmt.Sprintf("[map[author:map[name:%s] title:%s]]", want, want), titles, nil)
	}
	second := a.publish(token, "Second")
	b.wantAt(fan, "feed.nodes", "[map[title:Second] map[title:Name 19]]", `{ feed { nodes { title } } }`, nil)
	b.wantAt("", "profile.posts.nodes", "[map[title:Second] map[title:Name 19]]",
		`query($id: ID!) { profile(id: $id) { posts { nodes { title } } } }`, map[string]any{"id": id})
	a.must(token, `mutation($id: ID!) { deletePost(input: {postId: $id}) { deletedPostId } }`, map[string]any{"id": second}, nil)
	b.wantAt(fan, "feed.nodes", "[map[title:Name 19]]", `{ feed { nodes { title } } }`, nil)
	b.wantAt(fan, "post", nil, `query($id: ID!) { post(id: $id) { id } }`, map[string]any{"id": second})
	a.must(fan, `mutation($id: ID!) { unfollow(input: {profileId: $id}) { profile { viewerFollows } } }`, map[string]any{"id": id}, nil)
	b.wantAt(fan, "feed.nodes", "[]", `{ feed { nodes { title } } }`, nil)
	b.wantAt(fan, "profile.viewerFollows", false, `query($id: ID!) { profile(id: $id) { viewerFollows } }`, map[string]any{"id": id})
}

func TestAPI_AuthorOfAChangeSeesCountsAtOnce(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	token, id := a.person("liker")
	fan, fanID := a.person("fan")
	post := a.publish(token, "Likeable")
	counts := `query($id: ID!) { post(id: $id) { counts { likes } viewerHasLiked } }`
	a.wantAt(fan, "post.counts.likes", 0, counts, map[string]any{"id": post})
	change := func(mutation string, likes int, liked bool) {
		t.Helper()
		got := a.get(fan, mutation+".post", `mutation($id: ID!) { `+mutation+`(input: {postId: $id}) {
			post { counts { likes } viewerHasLiked } userErrors { code } } }`, map[string]any{"id": post})
		if want := fmt.Sprintf("map[counts:map[likes:%d] viewerHasLiked:%v]", likes, liked); fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", mutation, got, want)
		}
	}
	change("like", 1, true)
	change("like", 1, true)
	change("unlike", 0, false)
	change("unlike", 0, false)
	a.wantAt(fan, "follow.profile", "map[counts:map[followers:1] viewerFollows:true]", `mutation($id: ID!) {
		follow(input: {profileId: $id}) { profile { counts { followers } viewerFollows } } }`, map[string]any{"id": id})
	a.wantAt("", "profile.following.nodes", "[map[handle:liker]]",
		`query($id: ID!) { profile(id: $id) { following { nodes { handle } } } }`, map[string]any{"id": fanID})
	a.wantAt("", "profile.followers.nodes", "[map[handle:fan]]",
		`query($id: ID!) { profile(id: $id) { followers { nodes { handle } } } }`, map[string]any{"id": id})
}

func TestAPI_ConfigIsVersioned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	token, id := a.person("boss")
	publish := `mutation($b: String!) { publishConfig(input: {platform: IOS, minimumBuild: $b,
		features: [{name: "x", enabled: true}], values: [{key: "k", value: "v"}]}) { config { version } userErrors { code path } } }`
	read := `{ config(platform: IOS) { version minimumBuild features { name enabled } values { key value } } }`
	b.wantAt("", "config", nil, read, nil)
	if got := a.ask(token, publish, map[string]any{"b": "1.0"}, nil); len(got.Errors) != 1 || got.Errors[0].Extensions["code"] != "FORBIDDEN" {
		t.Errorf("publishConfig without the scope: got %+v, want FORBIDDEN", got.Errors)
	}
	w.exec(`UPDATE accounts SET scopes = '{admin}' WHERE profile_id = ?`, id)
	admin, _, err := a.instance.auth.SignIn(t.Context(), models.SignInInput{Handle: "boss", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	for version := 1; version <= 3; version++ {
		build := fmt.Sprintf("%d.0", version)
		a.wantAt(admin, "publishConfig.config.version", version, publish, map[string]any{"b": build})
		b.wantAt("", "config.minimumBuild", build, read, nil)
	}
	keys, err := a.instance.redis.Keys(t.Context(), w.service()+":config:ios:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	if want := w.service() + ":config:ios:v3"; !slices.Contains(keys, want) {
		t.Errorf("keys: got %v, want %s among them", keys, want)
	}
	// Scopes taken from the account are taken from its sessions, cached or not. This write is not a mutation of ours:
	// it shows when the log has brought it.
	w.exec(`UPDATE accounts SET scopes = '{}' WHERE profile_id = ?`, id)
	testenv.Eventually(t, "publishConfig by one whose scopes were taken is forbidden", func() bool {
		got := b.ask(admin, publish, map[string]any{"b": "9.0"}, nil)
		return len(got.Errors) == 1 && got.Errors[0].Extensions["code"] == "FORBIDDEN"
	})
}
