package freshness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/cmd/bench/internal/freshness/history"
)

// change is a mutation that gives a key a higher version, and what shows it.
type change struct {
	request
	key     *history.Key
	version int
	row     string // FROM what, WHERE which, is the row that is changed
	id      []any
	// shown is the version that the mutation's own answer shows.
	shown func(*data) int
	// done is called when the answer says that it took effect.
	done func(at time.Duration)
	look []*reading
}

const missing = -1

// nameChange, as those that follow, is the next write of an actor.
func nameChange(a *actor, of *platform) *change {
	a.nameVersion++
	return &change{
		request: request{
			query:     `mutation Name($v: String!) { name: updateProfile(input: {name: $v}) { profile { name } } }`,
			variables: map[string]any{"v": "n" + strconv.Itoa(a.nameVersion)}, token: a.token,
		},
		key: a.name, version: a.nameVersion, row: "profiles WHERE id = $1", id: []any{a.id}, look: []*reading{publicReading(a, of)},
		shown: func(d *data) int {
			if d.Name == nil || d.Name.Profile == nil {
				return missing
			}
			return orMissing(number(d.Name.Profile.Name, 'n'))
		},
	}
}

func titleChange(a *actor, of *platform) *change {
	a.titleVersion++
	return &change{
		request: request{
			query: `mutation Title($t: ID!, $v: String!) { title: editPost(input: {postId: $t, title: $v}) { post { title } } }`,
			variables: map[string]any{
				"t": fmt.Sprint(a.post), "v": "e" + strconv.Itoa(a.titleVersion),
			},
			token: a.token,
		},
		key: a.title, version: a.titleVersion, row: "posts WHERE id = $1", id: []any{a.post}, look: []*reading{publicReading(a, of)},
		shown: func(d *data) int {
			if d.Title == nil || d.Title.Post == nil {
				return missing
			}
			return orMissing(number(d.Title.Post.Title, 'e'))
		},
	}
}

// postsChange publishes a post. Its answer must also count it.
func postsChange(a *actor, of *platform, counted func(ok bool)) *change {
	a.postsVersion++
	invoked := a.published
	return &change{
		request: request{
			query: `mutation Publish($v: String!) { publish: publishPost(input: {title: $v, body: "b", category: "science",
				language: "en"}) { post { title author { counts { posts } } } } }`,
			variables: map[string]any{"v": "v" + strconv.Itoa(a.postsVersion)}, token: a.token,
		},
		key: a.posts, version: a.postsVersion, row: "posts WHERE author_id = $1 AND title = $2",
		id: []any{a.id, "v" + strconv.Itoa(a.postsVersion)}, look: []*reading{publicReading(a, of), feedReading(a)},
		shown: func(d *data) int {
			if d.Publish == nil || d.Publish.Post == nil || d.Publish.Post.Author == nil || d.Publish.Post.Author.Counts == nil {
				return missing
			}
			counted(d.Publish.Post.Author.Counts.Posts > invoked)
			return orMissing(number(d.Publish.Post.Title, 'v'))
		},
		done: func(at time.Duration) {
			a.published++
			a.count.Wrote(history.Write{Version: a.published, Invoked: at, Answered: at})
		},
	}
}

func settingsChange(a *actor) *change {
	a.settingVersion++
	s := settingsOf(a.settingVersion)
	return &change{
		request: request{
			query: `mutation Settings($t: Theme!, $l: String!, $p: Boolean!, $d: Digest!) { settings: updateSettings(input: {
				theme: $t, language: $l, pushNotifications: $p, digest: $d}) {
				settings { theme language pushNotifications digest } } }`,
			variables: map[string]any{"t": s.Theme, "l": s.Language, "p": s.PushNotifications, "d": s.Digest}, token: a.token,
		},
		key: a.settings, version: a.settingVersion, row: "settings WHERE profile_id = $1", id: []any{a.id}, look: []*reading{settingsReading(a)},
		shown: func(d *data) int {
			if d.Settings == nil || d.Settings.Settings == nil {
				return missing
			}
			return d.Settings.Settings.version(a.settingVersion)
		},
	}
}

// configChange is based on the version that PostgreSQL has now, so that of two, one of them left over from a request
// that was cut off, only one can take effect.
func configChange(ctx context.Context, w *world, a *actor, p *platform) (*change, error) {
	base := 0
	if err := w.db.QueryRow(ctx, "SELECT max(version) FROM configs WHERE platform = $1", p.name).Scan(&base); err != nil {
		return nil, err
	}
	p.version++
	return &change{
		request: request{
			query: `mutation Config($p: Platform!, $v: String!, $b: Int!) { config: publishConfig(input: {platform: $p,
				minimumBuild: $v, features: [], values: [], basedOnVersion: $b}) { config { minimumBuild } } }`,
			variables: map[string]any{"p": p.name, "v": strconv.Itoa(p.version), "b": base}, token: a.token,
		},
		key: p.key, version: p.version, row: "configs WHERE platform = $1 AND minimum_build = $2 ORDER BY version DESC LIMIT 1",
		id: []any{p.name, strconv.Itoa(p.version)}, look: []*reading{publicReading(a, p)},
		shown: func(d *data) int {
			if d.Config == nil || d.Config.Config == nil {
				return missing
			}
			return orMissing(number("."+d.Config.Config.MinimumBuild, '.'))
		},
	}, nil
}

func orMissing(n int, err error) int {
	if err != nil {
		return missing
	}
	return n
}

// foreignChange is a change by SQL that no instance knows of.
type foreignChange struct {
	key     *history.Key
	version int
	do      func(ctx context.Context, tx pgx.Tx) error
	look    *reading
}

func exec(sql string, args ...any) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	}
}

// nextForeign is the next foreign write of an actor.
func (a *actor) nextForeign() foreignChange {
	switch rand.IntN(3) {
	case 0:
		a.nameVersion++
		set := exec("UPDATE profiles SET name = $1 WHERE id = $2", "n"+strconv.Itoa(a.nameVersion), a.id)
		return foreignChange{a.name, a.nameVersion, set, nameReading(a)}
	case 1:
		a.titleVersion++
		set := exec("UPDATE posts SET title = $1 WHERE id = $2", "e"+strconv.Itoa(a.titleVersion), a.post)
		return foreignChange{a.title, a.titleVersion, set, titleReading(a)}
	default:
		a.postsVersion++
		add := exec("INSERT INTO posts (author_id, title, body, category, language) VALUES ($1, $2, 'b', 'science', 'en')",
			a.id, "v"+strconv.Itoa(a.postsVersion))
		return foreignChange{a.posts, a.postsVersion, add, feedReading(a)}
	}
}

// next hands the handle on. Its holder takes a spare one first.
func (r *ring) next() foreignChange {
	r.version++
	to := r.ids[r.version%ringSize]
	return foreignChange{r.key, r.version, func(ctx context.Context, tx pgx.Tx) error {
		const release = "UPDATE profiles SET handle = 'fresh_was_' || id WHERE handle = $1"
		if _, err := tx.Exec(ctx, release, r.handle); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE profiles SET handle = $2 WHERE id = $1", to, r.handle)
		return err
	}, ringReading(r)}
}

// next moves both posts to the next second, one statement after the other.
func (p *pair) next(pause time.Duration) foreignChange {
	p.version++
	version := p.version
	return foreignChange{p.key, version, func(ctx context.Context, tx pgx.Tx) error {
		const move = "UPDATE posts SET published_at = $2 WHERE id = $1"
		if _, err := tx.Exec(ctx, move, p.a, p.at(version, 0)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_sleep($1)", pause.Seconds()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, move, p.b, p.at(version, 1))
		return err
	}, pairReading(p)}
}
