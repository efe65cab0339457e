package seed

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"freshet/internal/testenv"
	"freshet/migrations"
)

func TestMain(m *testing.M) {
	testenv.Main(m)
}

// ownedDatabase is migrated by a role that owns it and nothing else: no superuser.
func ownedDatabase(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(testenv.EmptyDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	role := "owner_of_" + name
	exec(t, u.String(), "CREATE ROLE "+role+" LOGIN PASSWORD 'secret'; ALTER DATABASE "+name+" OWNER TO "+role)
	u.User = url.UserPassword(role, "secret")
	pool, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	db := bun.NewDB(pool, pgdialect.New())
	defer db.Close()
	if _, err := migrations.Up(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return u.String()
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, databaseURL, statement string) {
	t.Helper()
	if _, err := connect(t, databaseURL).Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func list[T any](t *testing.T, conn *pgx.Conn, query string) []T {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return values
}

func one[T any](t *testing.T, conn *pgx.Conn, query string) T {
	t.Helper()
	values := list[T](t, conn, query)
	if len(values) != 1 {
		t.Fatalf("%s: got %d rows, want 1", query, len(values))
	}
	return values[0]
}

// definitions are all that a load takes away for a while.
func definitions(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	return strings.Join(list[string](t, conn, `
		SELECT concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisprimary, indisunique) FROM pg_index
		WHERE indrelid::regclass::text !~ '^pg_'
		UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated) FROM pg_constraint
		WHERE conrelid <> 0
		UNION ALL SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger
		WHERE NOT tgisinternal
		ORDER BY 1`), "\n")
}

func checksums(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var sums []string
	for _, table := range strings.Split(filled, ", ") {
		sums = append(sums, table+" "+one[string](t, conn, fmt.Sprintf(
			"SELECT coalesce(md5(string_agg(r, '|' ORDER BY r COLLATE \"C\")), 'none') FROM (SELECT t::text AS r FROM %s t) rows", table)))
	}
	return strings.Join(sums, "\n")
}

func options(databaseURL string) Options {
	return Options{
		DatabaseURL: databaseURL, Now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		DemoPasswordHash: "hash of demo", AdminPasswordHash: "hash of admin",
	}
}

func TestRun_Small(t *testing.T) {
	t.Parallel()
	databaseURL := ownedDatabase(t)
	conn := connect(t, databaseURL)
	before := definitions(t, conn)
	var progress bytes.Buffer
	o := options(databaseURL)
	o.Progress = &progress
	got, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	got.Took = 0
	if want := (Result{Profiles: 1000, Posts: 20_000, Follows: 20_000, Likes: 60_000}); got != want {
		t.Errorf("result: got %+v, want %+v", got, want)
	}
	if after := definitions(t, conn); after != before {
		t.Errorf("definitions: got\n%s\nwant\n%s", after, before)
	}
	sums := checksums(t, conn)
	// Each counts what must not be.
	for what, query := range map[string]string{
		"wrong count of likes": `SELECT count(*) FROM post_counts FULL JOIN
			(SELECT post_id, count(*) AS n FROM likes GROUP BY 1) l USING (post_id) WHERE likes IS DISTINCT FROM n`,
		"wrong count of profiles": `SELECT count(*) FROM profiles p LEFT JOIN profile_counts c ON profile_id = id
			WHERE coalesce(followers, 0) <> (SELECT count(*) FROM follows WHERE followee_id = id)
			OR coalesce(following, 0) <> (SELECT count(*) FROM follows WHERE follower_id = id)
			OR coalesce(c.posts, 0) <> (SELECT count(*) FROM posts WHERE author_id = p.id)`,
		"moment before its time": `SELECT count(*) FROM posts JOIN profiles p ON p.id = author_id
			WHERE joined_at > published_at OR edited_at < published_at OR edited_at > '2026-11-23 12:00Z'`,
		"follow before joining": `SELECT count(*) FROM follows JOIN profiles a ON a.id = follower_id
			JOIN profiles b ON b.id = followee_id WHERE followed_at < greatest(a.joined_at, b.joined_at)`,
		"like before the post": `SELECT count(*) FROM likes JOIN posts p ON p.id = post_id WHERE liked_at < published_at`,
		"many followed":        `SELECT count(*) FROM profile_counts WHERE following > 250`,
		"empty text":           `SELECT count(*) FROM posts WHERE title = '' OR body !~ '\n\n' OR title ~ '[{}|]' OR body ~ '[{}|]'`,
		"odd handle":           `SELECT count(*) FROM profiles WHERE length(handle) > 26`,
		"page not all-visible": `SELECT count(*) FROM pg_class WHERE relname IN ('posts', 'follows', 'likes',
			'profiles', 'post_counts', 'profile_counts') AND relallvisible < relpages`,
		"table without statistics": `SELECT count(*) FROM pg_class WHERE relname IN ('posts', 'likes') AND reltuples < 20000`,
	} {
		if n := one[int](t, conn, query); n != 0 {
			t.Errorf("%s: got %d, want 0", what, n)
		}
	}
	t.Run("Progress", func(t *testing.T) { testProgress(t, progress.String()) })
	t.Run("Deterministic", func(t *testing.T) { testDeterministic(t, sums) })
	t.Run("Shape", func(t *testing.T) { testShape(t, conn) })
	t.Run("Accounts", func(t *testing.T) { testAccounts(t, conn) })
	t.Run("Configs", func(t *testing.T) { testConfigs(t, conn) })
	t.Run("Shop", func(t *testing.T) { testShop(t, conn) })
	t.Run("Caches", func(t *testing.T) { testCaches(t, conn) })
	t.Run("IDs", func(t *testing.T) {
		id := one[int](t, conn, `INSERT INTO posts (author_id, title, body, category, language)
			VALUES (1, 'a', 'b', 'food', 'en') RETURNING id`)
		if id != 20_001 {
			t.Errorf("id of the next post: got %d, want 20001", id)
		}
	})
}

func testShape(t *testing.T, conn *pgx.Conn) {
	if age := one[time.Duration](t, conn, `SELECT '2026-11-23 12:00Z' - max(published_at) FROM posts`); age != newest {
		t.Errorf("age of the newest post: got %v, want %v", age, newest)
	}
	// A hundredth of the profiles, posts; of equals they would hold a hundredth.
	for what, query := range map[string]string{
		"followers": `SELECT sum(followers) FILTER (WHERE r <= 10) * 100 / sum(followers) FROM
			(SELECT followers, row_number() OVER (ORDER BY followers DESC) AS r FROM profile_counts) c`,
		"likes": `SELECT sum(likes) FILTER (WHERE r <= 200) * 100 / sum(likes) FROM
			(SELECT likes, row_number() OVER (ORDER BY likes DESC) AS r FROM post_counts) c`,
	} {
		if percent := one[float64](t, conn, query); percent < 7 || percent > 50 {
			t.Errorf("share of the most popular hundredth in %s: got %.1f %%, want 7 to 50", what, percent)
		}
	}
	size := one[float64](t, conn, `SELECT avg(octet_length(body)) FROM posts`)
	if size < 600 || size > 900 {
		t.Errorf("bytes of a body: got %.0f, want 600 to 900", size)
	}
	recent := one[float64](t, conn, `SELECT 100.0 * count(*) FILTER (WHERE published_at > '2026-10-24') / count(*) FROM posts`)
	if recent < 36 || recent > 60 {
		t.Errorf("posts of the latest third: got %.0f %%, want 36 to 60", recent)
	}
}

func testAccounts(t *testing.T, conn *pgx.Conn) {
	got := strings.Join(list[string](t, conn, `SELECT concat_ws(' ', handle, password_hash, scopes, language)
		FROM profiles p JOIN accounts a ON a.profile_id = id JOIN settings s ON s.profile_id = id ORDER BY id`), "\n")
	if want := "demo hash of demo {} en\nadmin hash of admin {admin,developer} en"; got != want {
		t.Errorf("accounts: got %q, want %q", got, want)
	}
	const page = ` FROM (SELECT p.* FROM follows JOIN posts p ON author_id = followee_id WHERE follower_id = 1
		ORDER BY published_at DESC, p.id DESC LIMIT 20) page`
	if n := one[int](t, conn, `SELECT count(*) FROM follows JOIN posts ON author_id = followee_id WHERE follower_id = 1`); n < 500 {
		t.Errorf("posts in the demo feed: got %d, want at least 500", n)
	}
	if n := one[int](t, conn, "SELECT count(DISTINCT title)"+page); n < 19 {
		t.Errorf("titles on the demo's first page: got %d, want 19 or 20", n)
	}
	if n := one[int](t, conn, `SELECT count(*) FROM likes WHERE profile_id = 1`); n < 50 {
		t.Errorf("likes of the demo account: got %d, want at least 50", n)
	}
}

func testConfigs(t *testing.T, conn *pgx.Conn) {
	got := strings.Join(list[string](t, conn, `SELECT platform || max(version) FROM configs GROUP BY platform ORDER BY 1`), " ")
	if want := "ANDROID2 IOS3 WEB2"; got != want {
		t.Errorf("current versions: got %q, want %q", got, want)
	}
	features := one[int](t, conn, `SELECT min(f) FROM (SELECT count(*) FILTER (WHERE feature ->> 'name' <> ''
		AND jsonb_typeof(feature -> 'enabled') = 'boolean') AS f
		FROM configs, jsonb_array_elements(features) feature GROUP BY platform, version) c`)
	if features < 3 {
		t.Errorf("features of a configuration: got %d, want at least 3", features)
	}
	values := one[int](t, conn, `SELECT min(v) FROM (SELECT count(*) FILTER (WHERE value ->> 'key' <> ''
		AND value ->> 'value' <> '') AS v FROM configs, jsonb_array_elements(values) value GROUP BY platform, version) c`)
	if values < 3 {
		t.Errorf("values of a configuration: got %d, want at least 3", values)
	}
}

func testShop(t *testing.T, conn *pgx.Conn) {
	for query, want := range map[string]string{
		"SELECT count(*) || ' ' || count(DISTINCT category) || ' ' || bool_and(price BETWEEN 1 AND 999) FROM products": "400 8 true",
		"SELECT string_agg(profile_id || ':' || balance, ' ' ORDER BY profile_id) FROM wallets":                        "1:500.00 2:500.00",
		`SELECT count(*) || ' ' || bool_and(total = price * quantity) FROM orders JOIN order_lines ON id = order_id
			WHERE profile_id = 1`: "3 true",
	} {
		if got := one[string](t, conn, query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	const next = "INSERT INTO products (name, category, price, currency) VALUES ('n', 'toys', 1, 'EUR') RETURNING id::text"
	if got := one[string](t, conn, next); got != "401" {
		t.Errorf("id of the next product: got %s, want 401", got)
	}
}

// testCaches: the load is in the change log, or a cache that knows a handle as free would go on to say so.
func testCaches(t *testing.T, conn *pgx.Conn) {
	tags := list[string](t, conn, `SELECT DISTINCT tag FROM changelog.outbox`)
	for _, want := range []string{
		"profile:*", "handle:*", "post:*", "posts:*", "feed:*", "follows:*", "followers:*", "liked:*",
		"config:ios", "config:android", "config:web", "settings:1", "account:1",
	} {
		if !strings.Contains(" "+strings.Join(tags, " ")+" ", " "+want+" ") {
			t.Errorf("tags of the load: got %q, want %s too", tags, want)
		}
	}
}

// testDeterministic: another run writes the same rows.
func testDeterministic(t *testing.T, first string) {
	databaseURL := testenv.Database(t)
	if _, err := Run(t.Context(), options(databaseURL)); err != nil {
		t.Fatal(err)
	}
	if second := checksums(t, connect(t, databaseURL)); second != first {
		t.Errorf("checksums of a second run: got\n%s\nwant\n%s", second, first)
	}
}

func testProgress(t *testing.T, out string) {
	var names []string
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	if got, want := strings.Join(names, " "), "profiles posts follows likes indexes counts checks"; got != want {
		t.Errorf("lines: got %q, want %q", got, want)
	}
	if want := "posts: 20000 in "; !strings.Contains(out, want) {
		t.Errorf("progress: got %q, want %q in it", out, want)
	}
}
