package store

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/models"
)

// crowd fills the tables as a busy service has them: 10,000 profiles, 150,000 posts over two years, 200,000 follows and
// 100,000 likes, a few people with a great part of all. Viewer 1 follows 20, viewer 2 follows 600 of those who write and
// are read most. Indexes are made last, from their own definitions: that is quicker.
var crowd = []string{
	`SELECT setseed(0.5)`,
	`CREATE TEMP TABLE later AS SELECT indexname, indexdef FROM pg_indexes
		WHERE schemaname = 'public' AND tablename IN ('posts', 'follows', 'likes') AND indexname LIKE '%_idx'`,
	`DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT indexname FROM later LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
		FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'bun%' LOOP
			EXECUTE format('ALTER TABLE %I DISABLE TRIGGER ALL', name);
		END LOOP;
	END $$`,
	`INSERT INTO profiles (id, handle, name) SELECT n, 'p0' || n, 'Person ' || n FROM generate_series(1, 10000) n`,
	`INSERT INTO accounts (profile_id, password_hash) SELECT n, '' FROM generate_series(1, 10000) n`,
	`INSERT INTO sessions (token_hash, profile_id, expires_at)
		SELECT sha256(n::text::bytea), n, now() + interval '1 day' FROM generate_series(1, 10000) n`,
	`INSERT INTO posts (id, author_id, title, body, category, language, published_at)
		SELECT n, 1 + floor(10000 * random() ^ 2), 'Title', 'Body', (ARRAY['food', 'sport', 'travel', 'culture', 'food', 'food'])[1 + n % 6],
			(ARRAY['en', 'en', 'en', 'de'])[1 + n % 4], timestamptz '2026-03-01+00' - random() * interval '730 days'
		FROM generate_series(1, 150000) n`,
	`INSERT INTO follows (follower_id, followee_id, followed_at)
		SELECT a, b, timestamptz '2026-03-01+00' - random() * interval '730 days' FROM (
			SELECT DISTINCT 3 + floor(9990 * random())::bigint AS a, 1 + floor(10000 * random() ^ 3)::bigint AS b
			FROM generate_series(1, 200000)) f WHERE a <> b ORDER BY a, b`,
	`INSERT INTO follows (follower_id, followee_id) SELECT 1, n * 7 FROM generate_series(1, 20) n`,
	`INSERT INTO follows (follower_id, followee_id) SELECT 2, n FROM generate_series(3, 602) n`,
	`INSERT INTO likes (post_id, profile_id)
		SELECT DISTINCT 1 + floor(150000 * random() ^ 2)::bigint AS a, 1 + floor(10000 * random())::bigint AS b
		FROM generate_series(1, 100000) ORDER BY a, b`,
	`INSERT INTO post_counts (post_id, likes) SELECT post_id, count(*) FROM likes GROUP BY post_id`,
	`INSERT INTO profile_counts (profile_id, posts) SELECT author_id, count(*) FROM posts GROUP BY author_id`,
	`DO $$ DECLARE definition text; BEGIN
		FOR definition IN SELECT indexdef FROM later LOOP EXECUTE definition; END LOOP;
	END $$`,
	`VACUUM ANALYZE`,
}

func (r *rig) crowd() { r.fill(crowd) }

func (r *rig) fill(statements []string) {
	r.t.Helper()
	conn, err := r.foreign.DB.Conn(r.t.Context())
	r.noError(err)
	defer conn.Close()
	for _, statement := range statements {
		if _, err := conn.ExecContext(r.t.Context(), statement); err != nil {
			r.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// step is a node of a plan. Rows are those of one loop; a plan that was not run has but an estimate.
type step struct {
	Type      string   `json:"Node Type"`
	Relation  string   `json:"Relation Name"`
	Estimate  float64  `json:"Plan Rows"`
	Rows      float64  `json:"Actual Rows"`
	Loops     *float64 `json:"Actual Loops"`
	Discarded float64  `json:"Rows Removed by Filter"`
	Plans     []step
}

type plan struct {
	Plan step
	JIT  any     `json:"JIT"`
	Time float64 `json:"Execution Time"`
}

// explain shows how a statement runs, or, after another, how it would run; what the other did is taken back.
func (r *rig) explain(statement, after string) plan {
	r.t.Helper()
	tx, err := r.foreign.DB.BeginTx(r.t.Context(), nil)
	r.noError(err)
	defer tx.Rollback()
	how := "EXPLAIN (ANALYZE, FORMAT JSON) "
	if after != "" {
		how = "EXPLAIN (FORMAT JSON) "
		_, err := tx.ExecContext(r.t.Context(), after)
		r.noError(err)
	}
	var text string
	if err := tx.QueryRowContext(r.t.Context(), how+statement).Scan(&text); err != nil {
		r.t.Fatalf("explain %s: %v", statement, err)
	}
	var plans []plan
	r.noError(json.Unmarshal([]byte(text), &plans))
	return plans[0]
}

// big are the tables that grow with use.
var big = []string{"posts", "follows", "likes", "profiles", "accounts", "sessions", "profile_counts", "post_counts", "products"}

// check lists what is wrong with a plan: big tables read from end to end, but for those that may be, more rows sorted than sortable, and machine code
// made for a statement that is over in a moment.
func (p plan) check(sortable int, whole ...string) (problems []string) {
	if p.JIT != nil {
		problems = append(problems, "machine code was compiled")
	}
	return append(problems, p.Plan.check(sortable, whole)...)
}

func (s step) check(sortable int, whole []string) (problems []string) {
	if s.Type == "Seq Scan" && slices.Contains(big, s.Relation) && !slices.Contains(whole, s.Relation) {
		problems = append(problems, "all of "+s.Relation+" is read")
	}
	for _, child := range s.Plans {
		problems = append(problems, child.check(sortable, whole)...)
		if n := child.all(child.Rows); strings.HasSuffix(s.Type, "Sort") && n > float64(sortable) {
			problems = append(problems, fmt.Sprintf("%.0f rows are sorted, more than %d", n, sortable))
		}
	}
	return problems
}

// all is how many there are in all loops, of what there is in one.
func (s step) all(inOne float64) float64 {
	if s.Loops == nil {
		return s.Estimate
	}
	return inOne * *s.Loops
}

// touched is how many rows the scans of a plan have looked at.
func (s step) touched() float64 {
	n := 0.0
	if strings.Contains(s.Type, "Scan") && len(s.Plans) == 0 {
		n = s.all(s.Rows + s.Discarded)
	}
	for _, child := range s.Plans {
		n += child.touched()
	}
	return n
}

// hot is a read of the API, as the statement that its kind's Load makes of it.
type hot struct {
	name     string
	load     func() error
	sortable int // rows
	touched  int // rows
	control  string
}

func TestPlans_HotQueries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.crowd()
	for _, h := range r.hotQueries() {
		r.checkPlan(h)
	}
}

// checkPlan runs a hot read, and looks at the plan of its statement, and at one that must not pass. Whole are big tables that
// it may read from end to end.
func (r *rig) checkPlan(h hot, whole ...string) {
	t := r.t
	t.Helper()
	r.ran()
	r.noError(h.load())
	ran := r.ran()
	if len(ran) != 1 {
		t.Errorf("%s: got statements %q, want 1", h.name, ran)
		return
	}
	p := r.explain(ran[0], "")
	if problems := p.check(h.sortable, whole...); len(problems) > 0 {
		t.Errorf("%s: got a plan where %s: %s", h.name, strings.Join(problems, ", "), ran[0])
	}
	if got := p.Plan.touched(); got > float64(h.touched) {
		t.Errorf("%s: got %.0f rows looked at, want at most %d: %s", h.name, got, h.touched, ran[0])
	}
	t.Logf("%-40s %6.2f ms, %6.0f rows", h.name, p.Time, p.Plan.touched())
	if len(r.explain(ran[0], h.control).check(h.sortable, whole...)) == 0 {
		t.Errorf("%s: got no complaint after %s, want one: the check is blind", h.name, h.control)
	}
}

func (r *rig) hotQueries() []hot {
	ctx := r.t.Context()
	const noIndexes = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off"
	ids := make([]models.ID, 50)
	pairs := make([]Pair, 50)
	for i := range ids {
		ids[i] = models.ID(1 + i*197)
		pairs[i] = Pair{Viewer: 2, Of: ids[i]}
	}
	feed := func(name string, key FeedKey, sortable, touched int) hot {
		return hot{name, func() error { _, err := r.Feed.Load(ctx, []FeedKey{key}); return err }, sortable, touched, "DROP INDEX posts_author_idx"}
	}
	deep := Cursor{Spot: Spot{Rank: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), ID: 75_000}}
	newest, top := models.FeedOrderNewest, models.FeedOrderTop
	list := func(name string, key ListKey, index string) hot {
		return hot{name, func() error { _, err := r.AuthorPosts.Load(ctx, []ListKey{key}); return err }, 0, 21, "DROP INDEX " + index}
	}
	return []hot{
		feed("feed of 20", FeedKey{Viewer: 1, First: 20, Order: newest}, 20*21, 20+20*21+20+21),
		feed("feed of 600", FeedKey{Viewer: 2, First: 20, Order: newest}, 600*21, 256+600+600*21+21),
		feed("feed of 600, deep", FeedKey{Viewer: 2, First: 20, Order: newest, After: deep}, 600*21, 256+600+600*21+21),
		feed("feed of 600, a common category", FeedKey{Viewer: 2, First: 20, Order: newest, Categories: "food"}, 600*21, 256+600+600*21*4),
		feed("feed of 600, two filters", FeedKey{Viewer: 2, First: 20, Order: newest, Categories: "sport,travel", Languages: "de"}, 600*21, 256+600+600*21*20),
		feed("feed of 600, a month", FeedKey{Viewer: 2, First: 20, Order: newest, Since: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC).UnixMicro()}, 600*21, 256+600+600*21),
		feed("top of 20", FeedKey{Viewer: 1, First: 20, Order: top}, 20*500, 20+20*500+20+2*500),
		feed("top of 600", FeedKey{Viewer: 2, First: 20, Order: top}, 600*500, 256+600+600*500+2*500),
		list("an author's posts", ListKey{List: AuthorPosts, Of: 1, First: 20}, "posts_author_idx"),
		list("an author's posts, deep", ListKey{List: AuthorPosts, Of: 1, First: 20, After: deep}, "posts_author_idx"),
		list("followers of a popular one", ListKey{List: Followers, Of: 1, First: 20, After: deep}, "follows_followers_idx"),
		list("followed by many", ListKey{List: Following, Of: 2, First: 20}, "follows_following_idx"),
		{"profiles", func() error { _, err := r.Profiles.Load(ctx, ids); return err }, 0, 50, noIndexes},
		{"handles", func() error { _, err := r.Handles.Load(ctx, []string{"p01", "p09900", "zoe"}); return err }, 0, 3, noIndexes},
		{"posts", func() error { _, err := r.Posts.Load(ctx, ids); return err }, 0, 50, noIndexes},
		{"post counts", func() error { _, err := r.PostCounts.Load(ctx, ids); return err }, 0, 50, noIndexes},
		{"profile counts", func() error { _, err := r.ProfileCounts.Load(ctx, ids); return err }, 0, 50, noIndexes},
		{"likes", func() error { _, err := r.Likes.Load(ctx, pairs); return err }, 0, 50, noIndexes},
		{"follows", func() error { _, err := r.Follows.Load(ctx, pairs); return err }, 0, 600, noIndexes},
		{"session of a token", func() error { _, err := r.Session.Load(ctx, []TokenHash{sha256.Sum256([]byte("77")), {1}}); return err }, 10, 4, noIndexes},
		{"sessions of a viewer", func() error { _, err := r.Sessions.Load(ctx, []models.ID{77}); return err }, 100, 50, noIndexes},
		{"account of a handle", func() error { _, _, err := r.Account(ctx, "p0500"); return err }, 0, 2, noIndexes},
	}
}
