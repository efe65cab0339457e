package freshness

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"freshet/cmd/bench/internal/freshness/history"
)

const (
	// writers is how many actors are written by mutations at a time, foreigners how many by SQL.
	writers    = 6
	foreigners = 2
	// ringSize is how many profiles hand a handle on to each other.
	ringSize = 500
	// countsTTL is what the schema promises of counts.
	countsTTL = 30 * time.Second
)

// actor is a profile with posts and settings, and one follower who follows nobody else. One goroutine writes it. After a
// write that may or may not have taken effect it is not written any more.
type actor struct {
	id             int64
	handle         string
	token          string
	follower       string // token
	post           int64
	foreign        bool
	name           *history.Key
	title          *history.Key // of post
	posts          *history.Key // the newest post, in the author's list and in the follower's feed
	settings       *history.Key
	count          *history.Key
	published      int // posts that are known to be there
	postsVersion   int
	nameVersion    int
	titleVersion   int
	settingVersion int
}

func (a *actor) watch() {
	level := history.Fresh
	if a.foreign {
		level = history.Foreign
	}
	key := func(what string) *history.Key {
		return history.NewKey(fmt.Sprintf("%s of %d", what, a.id), level, 0)
	}
	a.name, a.title, a.posts, a.settings = key("name"), key("title"), key("posts"), key("settings")
	a.published = 2
	a.count = history.NewKey(fmt.Sprintf("count of %d", a.id), history.TTL, a.published)
	a.count.Bound = countsTTL
}

func (a *actor) keys() []*history.Key {
	if a.foreign {
		return []*history.Key{a.name, a.title, a.posts} // counts by TTL have no writer who is answered
	}
	return []*history.Key{a.name, a.title, a.posts, a.settings, a.count}
}

// platform is the configuration of one platform. Its version in the history stands in minimumBuild.
type platform struct {
	name    string
	key     *history.Key
	version int
	lost    []history.Write // not answered, and undecided as long as no later one is
}

// pair is two posts whose times one transaction changes: their ranks stand in one entry, a page of the feed.
type pair struct {
	author   int64
	a, b     int64
	follower string // token
	key      *history.Key
	torn     atomic.Int64
	version  int
}

// ring is a handle that goes from profile to profile.
type ring struct {
	handle  string
	ids     []int64
	place   map[int64]int
	key     *history.Key
	version int
}

// world is what the load reads and writes.
type world struct {
	db        *pgxpool.Pool
	hot       [writers]atomic.Pointer[actor]
	foreign   [foreigners]atomic.Pointer[actor]
	platforms []*platform
	pair      *pair
	ring      *ring

	mu    sync.Mutex
	spare []*actor
	keys  []*history.Key
}

var errNoActors = errors.New("no actors left: too many writes were cut off")

// next takes a fresh actor.
func (w *world) next(foreign bool) (*actor, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.spare) == 0 {
		return nil, errNoActors
	}
	a := w.spare[0]
	w.spare = w.spare[1:]
	a.foreign = foreign
	a.watch()
	w.keys = append(w.keys, a.keys()...)
	return a, nil
}

// take returns the histories since the last call. Only those of actors still in use go on.
func (w *world) take() []*history.Segment {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.platforms {
		for _, lost := range p.lost {
			p.key.Wrote(lost) // undecided yet, and to be seen or not
		}
	}
	segments := make([]*history.Segment, len(w.keys))
	for i, key := range w.keys {
		segments[i] = key.Take()
	}
	w.keys = []*history.Key{w.pair.key, w.ring.key}
	for _, p := range w.platforms {
		w.keys = append(w.keys, p.key)
	}
	for i := range w.hot {
		w.keys = append(w.keys, w.hot[i].Load().keys()...)
	}
	for i := range w.foreign {
		w.keys = append(w.keys, w.foreign[i].Load().keys()...)
	}
	return segments
}

// newWorld makes n actors, in place of those of an earlier run.
func newWorld(ctx context.Context, db *pgxpool.Pool, n int) (_ *world, err error) {
	w := &world{db: db}
	if err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return w.populate(ctx, tx, n) }); err != nil {
		return nil, fmt.Errorf("make %d actors: %w", n, err)
	}
	for i := range w.hot {
		a, err := w.next(false)
		if err != nil {
			return nil, err
		}
		w.hot[i].Store(a)
	}
	for i := range w.foreign {
		a, err := w.next(true)
		if err != nil {
			return nil, err
		}
		w.foreign[i].Store(a)
	}
	w.take()
	return w, nil
}

func (w *world) populate(ctx context.Context, tx pgx.Tx, n int) error {
	if _, err := tx.Exec(ctx, "DELETE FROM profiles WHERE handle LIKE 'fresh\\_%'"); err != nil {
		return err
	}
	ids, err := newProfiles(ctx, tx, "fresh_actor_", n)
	if err != nil {
		return err
	}
	followers, err := newProfiles(ctx, tx, "fresh_follower_", n+1)
	if err != nil {
		return err
	}
	tokens, err := signIn(ctx, tx, append(append([]int64(nil), ids...), followers...))
	if err != nil {
		return err
	}
	posts, err := newPosts(ctx, tx, ids)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO follows (follower_id, followee_id)
		SELECT * FROM unnest($1::bigint[], $2::bigint[])`, followers[:n], ids); err != nil {
		return err
	}
	for i, id := range ids {
		w.spare = append(w.spare, &actor{
			id: id, handle: "fresh_actor_" + strconv.Itoa(i+1), token: tokens[id], follower: tokens[followers[i]], post: posts[id],
		})
	}
	if err := w.newPair(ctx, tx, followers[n], tokens[followers[n]]); err != nil {
		return err
	}
	if err := w.newRing(ctx, tx); err != nil {
		return err
	}
	return w.newPlatforms(ctx, tx)
}

func newProfiles(ctx context.Context, tx pgx.Tx, prefix string, n int) ([]int64, error) {
	_, err := tx.Exec(ctx, "INSERT INTO profiles (handle, name) SELECT $1::text || i, 'n0' FROM generate_series(1, $2::int) i", prefix, n)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, "SELECT id FROM profiles WHERE handle ~ ('^' || $1 || '[0-9]+$') ORDER BY substr(handle, $2)::int", prefix, len(prefix)+1)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// signIn gives each profile an account that may do everything, the settings of version 0, and a session.
func signIn(ctx context.Context, tx pgx.Tx, ids []int64) (map[int64]string, error) {
	tokens, hashes := make(map[int64]string, len(ids)), make([][]byte, len(ids))
	for i, id := range ids {
		tokens[id] = "freshet_" + rand.Text()
		hash := sha256.Sum256([]byte(tokens[id]))
		hashes[i] = hash[:]
	}
	first := settingsOf(0)
	// Nobody can sign in with this password: no hash has this form.
	for _, statement := range []struct {
		sql  string
		args []any
	}{
		{"INSERT INTO accounts (profile_id, password_hash, scopes) SELECT unnest($1::bigint[]), '-', '{admin}'", []any{ids}},
		{`INSERT INTO settings (profile_id, theme, language, push_notifications, digest)
			SELECT unnest($1::bigint[]), $2, $3, $4, $5`, []any{ids, first.Theme, first.Language, first.PushNotifications, first.Digest}},
		{`INSERT INTO sessions (profile_id, token_hash, scopes, expires_at)
			SELECT id, hash, '{admin}', now() + interval '1 day' FROM unnest($1::bigint[], $2::bytea[]) AS new (id, hash)`, []any{ids, hashes}},
	} {
		if _, err := tx.Exec(ctx, statement.sql, statement.args...); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// newPosts gives each author an old post, which is edited, and a newer one. It returns the old ones.
func newPosts(ctx context.Context, tx pgx.Tx, authors []int64) (map[int64]int64, error) {
	rows, err := tx.Query(ctx, `INSERT INTO posts (author_id, title, body, category, language, published_at)
		SELECT unnest($1::bigint[]), 'e0', 'b', 'science', 'en', '2020-01-01' RETURNING author_id, id`, authors)
	if err != nil {
		return nil, err
	}
	posts := make(map[int64]int64, len(authors))
	var author, id int64
	if _, err := pgx.ForEachRow(rows, []any{&author, &id}, func() error {
		posts[author] = id
		return nil
	}); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO posts (author_id, title, body, category, language)
		SELECT unnest($1::bigint[]), 'v0', 'b', 'science', 'en'`, authors)
	return posts, err
}

func (w *world) newPair(ctx context.Context, tx pgx.Tx, follower int64, token string) error {
	p := &pair{follower: token, key: history.NewKey("ranks of two posts", history.Foreign, 0)}
	author, err := newProfiles(ctx, tx, "fresh_pair_", 1)
	if err != nil {
		return err
	}
	p.author = author[0]
	if _, err := tx.Exec(ctx, "INSERT INTO follows (follower_id, followee_id) VALUES ($1, $2)", follower, p.author); err != nil {
		return err
	}
	for i, id := range []*int64{&p.a, &p.b} {
		err := tx.QueryRow(ctx, `INSERT INTO posts (author_id, title, body, category, language, published_at)
			VALUES ($1, 'p', 'b', 'science', 'en', $2) RETURNING id`, p.author, p.at(0, i)).Scan(id)
		if err != nil {
			return err
		}
	}
	w.pair = p
	return nil
}

func (w *world) newRing(ctx context.Context, tx pgx.Tx) error {
	ids, err := newProfiles(ctx, tx, "fresh_ring_", ringSize)
	if err != nil {
		return err
	}
	w.ring = &ring{handle: "fresh_hot", ids: ids, place: map[int64]int{}, key: history.NewKey("handle", history.Foreign, 0)}
	for i, id := range ids {
		w.ring.place[id] = i
	}
	_, err = tx.Exec(ctx, "UPDATE profiles SET handle = $2 WHERE id = $1", ids[0], w.ring.handle)
	return err
}

func (w *world) newPlatforms(ctx context.Context, tx pgx.Tx) error {
	for _, name := range []string{"IOS", "ANDROID", "WEB"} {
		_, err := tx.Exec(ctx, `INSERT INTO configs (platform, version, minimum_build, features, values)
			SELECT $1::text, coalesce(max(version), 0) + 1, '0', '[]', '[]' FROM configs WHERE platform = $1`, name)
		if err != nil {
			return err
		}
		w.platforms = append(w.platforms, &platform{name: name, key: history.NewKey("config of "+name, history.Fresh, 0)})
	}
	return nil
}

// at is the time of post i of the pair in a version: always the newest of all, a second after those of the version
// before.
func (p *pair) at(version, i int) time.Time {
	return pairEpoch().Add(time.Duration(version)*time.Second + time.Duration(i)*time.Microsecond)
}

func pairEpoch() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
