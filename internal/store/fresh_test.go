package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet/cache"
	"freshet/models"
)

// shown reads a key and shows what is found as text.
func shown[K comparable, V any](kind *cache.Kind[K, V], key K, show func(V) any) func(*rig) string {
	return func(r *rig) string {
		r.t.Helper()
		value, found, err := kind.One(r.t.Context(), key)
		if err != nil {
			r.t.Fatal(err)
		}
		if !found {
			return "absent"
		}
		return fmt.Sprint(show(value))
	}
}

// entries are one of each kind with tags, as population below fills the database.
func (r *rig) entries() map[string]func(*rig) string {
	ids := func(p *Page) any { return p.IDs() }
	same := func(b bool) any { return b }
	hash := func(n byte) (h TokenHash) { h[0] = n; return h }
	return map[string]func(*rig) string{
		"profile":        shown(r.Profiles, 1, func(p *models.Profile) any { return p.Name }),
		"no profile":     shown(r.Profiles, 9, func(p *models.Profile) any { return p.Name }),
		"handle":         shown(r.Handles, "ann", func(id models.ID) any { return id }),
		"free handle":    shown(r.Handles, "zoe", func(id models.ID) any { return id }),
		"post":           shown(r.Posts, 10, func(p *models.Post) any { return p.Title }),
		"no post":        shown(r.Posts, 99, func(p *models.Post) any { return p.Title }),
		"liked":          shown(r.Likes, Pair{2, 10}, same),
		"follows":        shown(r.Follows, Pair{2, 1}, same),
		"feed":           shown(r.Feed, FeedKey{Viewer: 2, First: 5, Order: models.FeedOrderNewest}, ids),
		"food feed":      shown(r.Feed, FeedKey{Viewer: 2, First: 5, Order: models.FeedOrderNewest, Categories: "food"}, ids),
		"top":            shown(r.Feed, FeedKey{Viewer: 2, First: 5, Order: models.FeedOrderTop}, ids),
		"empty feed":     shown(r.Feed, FeedKey{Viewer: 3, First: 5, Order: models.FeedOrderNewest}, ids),
		"author's posts": shown(r.AuthorPosts, ListKey{List: AuthorPosts, Of: 1, First: 5}, ids),
		"followers":      shown(r.Followers, ListKey{List: Followers, Of: 1, First: 5}, ids),
		"following":      shown(r.Following, ListKey{List: Following, Of: 2, First: 5}, ids),
		"settings":       shown(r.Settings, 1, func(s *models.Settings) any { return s.Theme }),
		"defaults":       shown(r.Settings, 2, func(s *models.Settings) any { return s.Theme }),
		"session":        shown(r.Session, hash(0xab), func(s *models.Session) any { return s.Scopes }),
		"no session":     shown(r.Session, hash(0xcd), func(s *models.Session) any { return s.Scopes }),
		"sessions":       shown(r.Sessions, 1, func(s []*models.Session) any { return len(s) }),
		"config":         shown(r.CurrentConfigs, models.PlatformIos, func(v int) any { return v }),
		"no config":      shown(r.CurrentConfigs, models.PlatformWeb, func(v int) any { return v }),
		"product":        shown(r.Products, 20, func(p *models.Product) any { return p.Price.StringFixed(2) }),
		"no product":     shown(r.Products, 29, func(p *models.Product) any { return p.Name }),
		"products":       shown(r.ProductPages, ProductsKey{First: 5}, ids),
		"books":          shown(r.ProductPages, ProductsKey{Category: "books", First: 5}, ids),
		"toys":           shown(r.ProductPages, ProductsKey{Category: "toys", First: 5}, ids),
		"red books":      shown(r.ProductPages, ProductsKey{Category: "books", Search: "red", First: 5}, ids),
		"countries":      shown(r.CurrentDictionaries, models.DictionaryNameCountries, func(int) any { return "new" }),
		"version":        shown(r.Configs, ConfigKey{models.PlatformIos, 1}, func(c *models.Config) any { return c.MinimumBuild }),
	}
}

const population = `
	INSERT INTO profiles (id, handle, name) VALUES (1, 'ann', 'Ann'), (2, 'bob', 'Bob'), (3, 'eve', 'Eve'), (4, 'dan', 'Dan');
	INSERT INTO accounts (profile_id, password_hash, scopes) VALUES (1, '', '{admin,developer}'), (2, '', '{}');
	INSERT INTO settings (profile_id) VALUES (1);
	INSERT INTO sessions (id, token_hash, profile_id, scopes, expires_at)
		VALUES (5, decode(rpad('ab', 64, '0'), 'hex'), 1, '{admin,lost}', now() + interval '1 day');
	INSERT INTO posts (id, author_id, title, body, category, language) VALUES (10, 1, 'Ten', '', 'food', 'en');
	INSERT INTO follows (follower_id, followee_id) VALUES (2, 1), (3, 4);
	INSERT INTO likes (post_id, profile_id) VALUES (10, 2);
	INSERT INTO configs (platform, version, minimum_build, features, values) VALUES ('IOS', 1, '1.0', '[]', '[]');
	INSERT INTO products (id, name, category, price, currency) VALUES (20, 'Red Atlas', 'books', 12.50, 'EUR')`

// Whatever another writer changes shows in the next read of every entry that depended on it, and all others stay cached.
func TestKinds_FreshAfterForeignChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		change string
		want   string // "entry: value; …" of those that are read anew
	}{
		{"UPDATE profiles SET name = 'Anna' WHERE id = 1", "profile: Anna"},
		{"UPDATE profiles SET handle = 'zoe' WHERE id = 1", "free handle: 1; handle: absent; profile: Ann"},
		{"INSERT INTO profiles (id, handle, name) VALUES (9, 'zoe', 'Zoe')", "free handle: 9; no profile: Zoe"},
		{"UPDATE posts SET title = 'X' WHERE id = 10", "post: X"},
		{"UPDATE posts SET category = 'sport' WHERE id = 10", "author's posts: [10]; feed: [10]; food feed: []; post: Ten; top: [10]"},
		{"DELETE FROM posts WHERE id = 10", "author's posts: []; feed: []; food feed: []; liked: false; post: absent; top: []"},
		{
			"INSERT INTO posts (id, author_id, title, body, category, language) VALUES (99, 1, 'N', '', 'food', 'en')",
			"author's posts: [99 10]; feed: [99 10]; food feed: [99 10]; no post: N; top: [10 99]",
		},
		{"INSERT INTO posts (id, author_id, title, body, category, language) VALUES (98, 4, 'N', '', 'food', 'en')", "empty feed: [98]"},
		{"INSERT INTO posts (id, author_id, title, body, category, language) VALUES (98, 2, 'N', '', 'food', 'en')", ""},
		{"DELETE FROM likes", "liked: false"},
		{
			"DELETE FROM follows WHERE follower_id = 2",
			"feed: []; followers: []; following: []; follows: false; food feed: []; top: []",
		},
		{"INSERT INTO follows (follower_id, followee_id) VALUES (3, 1)", "empty feed: [10]; followers: [3 2]"},
		{"UPDATE settings SET theme = 'DARK'", "settings: DARK"},
		{"INSERT INTO settings (profile_id, theme) VALUES (2, 'LIGHT')", "defaults: LIGHT"},
		{"DELETE FROM sessions", "session: absent; sessions: absent"},
		{"UPDATE accounts SET scopes = '{}' WHERE profile_id = 1", "session: []"},
		{"UPDATE accounts SET scopes = '{lost}' WHERE profile_id = 1", "session: [lost]"},
		{`INSERT INTO sessions (token_hash, profile_id, expires_at)
			VALUES (decode(rpad('cd', 64, '0'), 'hex'), 1, now() + interval '1 day')`, "no session: []; sessions: 2"},
		{
			"INSERT INTO configs (platform, version, minimum_build, features, values) VALUES ('IOS', 2, '2.0', '[]', '[]')",
			"config: 2; version: 1.0",
		},
		{"INSERT INTO configs (platform, version, minimum_build, features, values) VALUES ('WEB', 1, '2.0', '[]', '[]')", "no config: 1"},
		{"DELETE FROM profiles WHERE id = 1", "author's posts: []; feed: []; followers: []; following: []; follows: false; " +
			"food feed: []; handle: absent; liked: false; post: absent; profile: absent; session: absent; sessions: absent; settings: SYSTEM; top: []"},
		{"TRUNCATE likes", "liked: false"},
		{"UPDATE products SET price = 9.90 WHERE id = 20", "product: 9.90"},
		{"UPDATE products SET name = 'Blue Atlas'", "books: [20]; product: 12.50; products: [20]; red books: []"},
		{"UPDATE products SET category = 'toys'", "books: []; product: 12.50; products: [20]; red books: []; toys: [20]"},
		{
			"INSERT INTO products (id, name, category, price, currency) VALUES (29, 'Kite', 'toys', 1, 'EUR')",
			"no product: Kite; products: [29 20]; toys: [29]",
		},
		{"DELETE FROM products", "books: []; product: absent; products: []; red books: []"},
		{"TRUNCATE products CASCADE", "books: []; no product: absent; product: absent; products: []; red books: []; toys: []"},
		{"UPDATE countries SET name = 'Chad' WHERE code = 'AR'", "countries: new"},
		{"DELETE FROM countries WHERE code = 'ZA'", "countries: new"},
	} {
		r.exec("TRUNCATE profiles, configs, products CASCADE")
		r.exec(population)
		wantAnew(r, c.change, c.want)
	}
}

func wantAnew(r *rig, change, want string) {
	r.t.Helper()
	entries := r.entries()
	for name, read := range entries {
		first := read(r)
		r.ran()
		if again := read(r); again != first || len(r.ran()) != 0 {
			r.t.Fatalf("%s, read again: got %q, want %q from the cache", name, again, first)
		}
	}
	r.exec(change)
	wanted := map[string]string{}
	for part := range strings.SplitSeq(want, "; ") {
		name, value, _ := strings.Cut(part, ": ")
		wanted[name] = value
	}
	for name, read := range entries {
		r.ran()
		got := read(r)
		value, changed := wanted[name]
		if anew := len(r.ran()) > 0; anew != changed || (changed && got != value) {
			r.t.Errorf("%s: %s: got %q, read anew %v, want %q, %v", change, name, got, anew, value, changed)
		}
	}
}

// A count promises its TTL alone, except to the author of a change.
func TestCounts_ShowToTheirAuthorAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(population)
	followers := read(r, r.ProfileCounts, 1).Followers
	likes := read(r, r.PostCounts, 10).Likes
	r.exec("INSERT INTO follows (follower_id, followee_id) VALUES (3, 1); INSERT INTO likes (post_id, profile_id) VALUES (10, 3)")
	if got := read(r, r.ProfileCounts, 1).Followers; got != followers {
		t.Errorf("followers after another's change: got %d, want %d for their TTL", got, followers)
	}
	if got := read(r, r.PostCounts, 10).Likes; got != likes {
		t.Errorf("likes after another's: got %d, want %d for their TTL", got, likes)
	}
	r.noError(r.Follow(t.Context(), 4, 1))
	r.noError(r.Like(t.Context(), 4, 10))
	if got, want := read(r, r.ProfileCounts, 1).Followers, followers+2; got != want {
		t.Errorf("followers after one's own change: got %d, want %d", got, want)
	}
	if got, want := read(r, r.PostCounts, 10).Likes, likes+2; got != want {
		t.Errorf("likes after one's own: got %d, want %d", got, want)
	}
}

func TestKinds_BatchIsOneStatement(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.network()
	ids := query[models.ID](r, "SELECT id FROM posts ORDER BY id LIMIT 20")
	pairs := make([]Pair, len(ids))
	for i, id := range ids {
		pairs[i] = Pair{Viewer: 4, Of: id}
	}
	for name, many := range map[string]func() (int, error){
		"posts": func() (int, error) { got, err := r.Posts.Many(t.Context(), ids); return len(got), err },
		"likes": func() (int, error) { got, err := r.Likes.Many(t.Context(), pairs); return len(got), err },
		"counts": func() (int, error) {
			got, err := r.PostCounts.Many(t.Context(), ids)
			return len(got), err
		},
		"profiles": func() (int, error) { got, err := r.Profiles.Many(t.Context(), ids); return len(got), err },
	} {
		r.ran()
		if n, err := many(); err != nil || n != len(ids) {
			t.Errorf("%s: got %d, %v, want %d", name, n, err, len(ids))
		}
		if got := r.ran(); len(got) != 1 {
			t.Errorf("%s, cold: got statements %q, want 1", name, got)
		}
		if n, err := many(); err != nil || n != len(ids) {
			t.Errorf("%s: got %d, %v, want %d", name, n, err, len(ids))
		}
		if got := r.ran(); len(got) != 0 {
			t.Errorf("%s, warm: got statements %q, want none", name, got)
		}
	}
}

// An error names the operation and its arguments, and nothing that must stay secret.
func TestErrors_NameTheOperation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(1)
	r.db.Close()
	secret := []byte("the secret hash of the token, 32")
	for want, do := range map[string]func() error{
		"profiles [1]":        func() error { _, err := r.Profiles.Load(t.Context(), []models.ID{1}); return err },
		"1 sessions":          func() error { _, err := r.Session.Load(t.Context(), []TokenHash{TokenHash(secret)}); return err },
		"publish a post by 1": func() error { _, err := r.PublishPost(t.Context(), 1, post("private draft")); return err },
		"update profile 1":    func() error { return r.UpdateProfile(t.Context(), 1, models.UpdateProfileInput{Name: of("private")}) },
		"new account \"ann\"": func() error {
			return r.NewAccount(t.Context(), &models.Profile{Handle: "ann"}, &models.Account{PasswordHash: "private"}, &models.Session{TokenHash: secret})
		},
		"new session of 1":      func() error { return r.NewSession(t.Context(), &models.Session{ProfileID: 1, TokenHash: secret}) },
		"end session 5 of 1":    func() error { return r.EndSession(t.Context(), 1, 5) },
		"remove ended sessions": func() error { _, err := r.RemoveEndedSessions(t.Context(), time.Now()); return err },
	} {
		err := do()
		if err == nil || !strings.HasPrefix(err.Error(), "store: "+want+": ") {
			t.Errorf("got %v, want an error that begins with %q", err, "store: "+want)
			continue
		}
		for _, hidden := range []string{"private", string(secret), fmt.Sprintf("%x", secret)} {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), hidden) {
				t.Errorf("got %v, want no %q in it", err, hidden)
			}
		}
		if errors.As(err, new(models.Refusal)) {
			t.Errorf("got a refusal %v of what the client can't help", err)
		}
	}
}

func TestOpen_KeepsThePasswordToItself(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://ann:hunter2@host:port/db", "postgres://ann:hunter2@/%zz", "host=x password=hunter2 sslmode=odd"} {
		_, err := Open(url, 1)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open of a broken URL: got %v, want an error without the password", err)
		}
	}
}
