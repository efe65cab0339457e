package freshness

import (
	"errors"
	"fmt"

	"freshet/cmd/bench/internal/freshness/history"
)

// reading is a request with what its answer says of which keys.
type reading struct {
	request
	values func(*data, seen) error
}

// seen takes one value of an answer.
type seen func(key *history.Key, version int)

var errMissing = errors.New("a value is missing")

// publicReading asks for all that everyone sees of an actor, and for a configuration.
func publicReading(a *actor, of *platform) *reading {
	return &reading{
		request{
			query: `query Public($p: ID!, $h: String!, $t: ID!, $c: Platform!) {
				p: profile(id: $p) { name counts { posts } posts(first: 1) { nodes { title } } }
				h: profileByHandle(handle: $h) { name } t: post(id: $t) { title } c: config(platform: $c) { minimumBuild } }`,
			variables: map[string]any{"p": fmt.Sprint(a.id), "h": a.handle, "t": fmt.Sprint(a.post), "c": of.name},
		},
		func(d *data, see seen) error {
			if d.C == nil || d.P == nil || d.P.Counts == nil {
				return errMissing
			}
			see(a.count, d.P.Counts.Posts)
			build, err := number("."+d.C.MinimumBuild, '.')
			see(of.key, build)
			return errors.Join(err, a.seeAll(d.P, d.H, d.T, see))
		},
	}
}

// seeAll takes the values that are the same for readers of either kind.
func (a *actor) seeAll(p, h *profile, t *post, see seen) error {
	if p == nil || h == nil || t == nil {
		return errMissing
	}
	byID, err := number(p.Name, 'n')
	if err != nil {
		return err
	}
	byHandle, err := number(h.Name, 'n')
	if err != nil {
		return err
	}
	title, err := number(t.Title, 'e')
	if err != nil {
		return err
	}
	see(a.name, byID)
	see(a.name, byHandle)
	see(a.title, title)
	return a.seePosts(p.Posts, see)
}

func (a *actor) seePosts(p *posts, see seen) error {
	if p == nil || len(p.Nodes) == 0 {
		return errMissing
	}
	newest, err := number(p.Nodes[0].Title, 'v')
	if err == nil {
		see(a.posts, newest)
	}
	return err
}

// feedReading is a page of the feed of the actor's follower.
func feedReading(a *actor) *reading {
	return &reading{
		request{query: `query Feed { feed(first: 2) { nodes { title } } }`, token: a.follower},
		func(d *data, see seen) error { return a.seePosts(d.Feed, see) },
	}
}

// settingsReading is what the actor alone sees.
func settingsReading(a *actor) *reading {
	return &reading{
		request{query: `query Mine { viewer { settings { theme language pushNotifications digest } } }`, token: a.token},
		func(d *data, see seen) error {
			if d.Viewer == nil || d.Viewer.Settings == nil {
				return errMissing
			}
			see(a.settings, d.Viewer.Settings.version(a.settings.Invoked()))
			return nil
		},
	}
}

// foreignReading is all that foreign SQL writes but for the pair, in one request, so that each value is looked at often.
func foreignReading(actors []*actor, r *ring) *reading {
	query := "query Foreign { o: profileByHandle(handle: \"" + r.handle + "\") { id }"
	for n, a := range actors {
		query += fmt.Sprintf(` p%d: profile(id: %d) { name posts(first: 1) { nodes { title } } }
			h%[1]d: profileByHandle(handle: %[3]q) { name } t%[1]d: post(id: %[4]d) { title }`, n, a.id, a.handle, a.post)
	}
	return &reading{
		request{query: query + " }"},
		func(d *data, see seen) error {
			if d.O == nil {
				return errMissing
			}
			if err := r.see(d.O.ID, see); err != nil {
				return err
			}
			return errors.Join(actors[0].seeAll(d.P0, d.H0, d.T0, see), actors[1].seeAll(d.P1, d.H1, d.T1, see))
		},
	}
}

// nameReading, as those that follow, is one value that foreign SQL writes.
func nameReading(a *actor) *reading {
	return &reading{
		request{query: `query Name($p: ID!) { p: profile(id: $p) { name } }`, variables: map[string]any{"p": fmt.Sprint(a.id)}},
		func(d *data, see seen) error {
			if d.P == nil {
				return errMissing
			}
			version, err := number(d.P.Name, 'n')
			if err == nil {
				see(a.name, version)
			}
			return err
		},
	}
}

func titleReading(a *actor) *reading {
	return &reading{
		request{query: `query Title($t: ID!) { t: post(id: $t) { title } }`, variables: map[string]any{"t": fmt.Sprint(a.post)}},
		func(d *data, see seen) error {
			if d.T == nil {
				return errMissing
			}
			version, err := number(d.T.Title, 'e')
			if err == nil {
				see(a.title, version)
			}
			return err
		},
	}
}

func ringReading(r *ring) *reading {
	return &reading{
		request{query: `query Holder($o: String!) { o: profileByHandle(handle: $o) { id } }`, variables: map[string]any{"o": r.handle}},
		func(d *data, see seen) error {
			if d.O == nil {
				return errMissing
			}
			return r.see(d.O.ID, see)
		},
	}
}

// see counts back from the latest version to the one that gave the handle to its holder.
func (r *ring) see(holder string, see seen) error {
	id, err := number("."+holder, '.')
	if err != nil {
		return err
	}
	place, ok := r.place[int64(id)]
	if !ok {
		return fmt.Errorf("profile %d has the handle", id)
	}
	most := r.key.Invoked()
	see(r.key, most-((most-place)%ringSize+ringSize)%ringSize)
	return nil
}

// pairReading is the page that shows both posts of the pair: of one version, always.
func pairReading(p *pair) *reading {
	return &reading{
		request{query: `query Pair { feed(first: 2) { edges { cursor } } }`, token: p.follower},
		func(d *data, see seen) error {
			if d.Feed == nil || len(d.Feed.Edges) != 2 {
				return errMissing
			}
			a, err := rank(d.Feed.Edges[0].Cursor)
			if err != nil {
				return err
			}
			b, err := rank(d.Feed.Edges[1].Cursor)
			if err != nil {
				return err
			}
			if a != b {
				p.torn.Add(1)
			}
			see(p.key, min(a, b))
			return nil
		},
	}
}
