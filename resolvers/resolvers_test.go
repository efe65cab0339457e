package resolvers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"freshet/models"
)

func wantRead(t *testing.T, what string, got, want map[string][]int) {
	t.Helper()
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%s: got batches of keys by kind %v, want %v", what, got, want)
	}
}

// However the resolvers of a list's entries are scheduled, what the list costs is one batch of each kind.
func TestLists_OneBatchOfEachKind(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	viewer := r.people(21)
	for _, c := range []struct {
		name, operation string
		want            map[string][]int
	}{
		{
			"feed, nodes", `{ feed { nodes { id title author { name } counts { likes } viewerHasLiked } } }`,
			map[string][]int{"feed": {1}, "post": {20}, "profile": {20}, "post-counts": {20}, "liked": {20}},
		},
		{
			"feed, edges", `{ feed { edges { cursor node { id author { handle } counts { likes } viewerHasLiked } } pageInfo { endCursor } } }`,
			map[string][]int{"feed": {1}, "post": {20}, "profile": {20}, "post-counts": {20}, "liked": {20}},
		},
		{
			"feed, both ways, by fragments", `{ feed { nodes { ...A } edges { node { ... on Post { counts { likes } } } } } } fragment A on Post { author { id } }`,
			map[string][]int{"feed": {1}, "post": {20}, "profile": {20}, "post-counts": {20}},
		},
		{"feed, ids alone", `{ feed { nodes { id } } }`, map[string][]int{"feed": {1}, "post": {20}}},
		{
			"feed, fields left out", `{ feed { nodes { id author @include(if: false) { id } counts @skip(if: true) { likes } } } }`,
			map[string][]int{"feed": {1}, "post": {20}},
		},
		{
			"followed", `{ profile(id: 1) { following { nodes { id name counts { followers } viewerFollows } } } }`,
			map[string][]int{"profile": {1, 20}, "following": {1}, "profile-counts": {20}, "follows": {20}},
		},
	} {
		for _, state := range []string{"cold", "warm"} {
			r.read()
			r.data(viewer, c.operation)
			wantRead(t, c.name+", "+state, r.read(), c.want)
		}
	}
}

func TestLoaders_RememberWithinAResponse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	viewer := r.people(3)
	r.execSQL("INSERT INTO posts (id, author_id, title, body, category, language) SELECT n, 2, '', '', 'food', 'en' FROM generate_series(101, 105) n")
	r.read()
	r.data(viewer, `{ feed { nodes { author { id name } } } }`) // six of the seven posts are of one author
	if got, want := r.read()["profile"], []int{2}; !slices.Equal(got, want) {
		t.Errorf("authors: got batches of %v keys, want %v", got, want)
	}
}

func TestLoaders_MergeConcurrentLoads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(21)
	ctx := r.WithLoaders(severalRootFields(t, r))
	r.read()
	for range 2 {
		var work sync.WaitGroup
		for id := models.ID(1); id <= 21; id++ {
			for range 3 {
				work.Go(func() {
					profile, err := from(ctx).profile.load(ctx, id)
					if err != nil || profile == nil || profile.ID != id {
						t.Errorf("profile %v: got %+v, %v, want it", id, profile, err)
					}
				})
			}
		}
		work.Wait()
	}
	keys := 0
	for _, n := range r.read()["profile"] {
		keys += n
	}
	if keys != 21 {
		t.Errorf("keys read for 126 loads of 21 profiles: got %d, want 21: each once", keys)
	}
}

// severalRootFields is the context of an operation in which other resolvers may be about to ask.
func severalRootFields(t *testing.T, r *rig) context.Context {
	t.Helper()
	ctx, operation := startOperation(t, r, `{ a: profile(id: 1) { id } b: profile(id: 2) { id } }`)
	if len(operation.SelectionSet) != 2 {
		t.Fatalf("root fields: got %d, want 2", len(operation.SelectionSet))
	}
	return ctx
}

// One field's end does not cancel what others wait for: loaders read under the response's context.
func TestLoaders_ReadUnderTheResponsesContext(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(2)
	response, endResponse := context.WithCancel(severalRootFields(t, r))
	ctx := r.WithLoaders(response)
	field, endField := context.WithCancel(ctx)
	endField()
	if profile, err := from(field).profile.load(field, 1); err != nil || profile == nil {
		t.Errorf("load by a field that has ended: got %+v, %v, want the profile", profile, err)
	}
	if profile, err := from(ctx).profile.load(ctx, 1); err != nil || profile == nil {
		t.Errorf("load by another field: got %+v, %v, want the profile", profile, err)
	}
	endResponse()
	if _, err := from(ctx).profile.load(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("load after the response's end: got %v, want %v", err, context.Canceled)
	}
}

func TestMutations_EachRootFieldReadsItsOwnWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	viewer := r.people(3)
	const answer = `{ profile { name viewerFollows counts { following } } }`
	r.want(viewer, `mutation {
		a: updateProfile(input: {name: "A"}) `+answer+`
		b: updateProfile(input: {name: "B"}) `+answer+` }`,
		`{"a":{"profile":{"name":"A","viewerFollows":false,"counts":{"following":2}}},"b":{"profile":{"name":"B","viewerFollows":false,"counts":{"following":2}}}}`)
	const follower = `{ profile { viewerFollows counts { followers } followers { nodes { name counts { following } } } } }`
	r.want(viewer, `mutation {
		a: unfollow(input: {profileId: 2}) `+follower+`
		b: follow(input: {profileId: 2}) `+follower+`
		c: updateProfile(input: {name: "C"}) { userErrors { code } }
		d: follow(input: {profileId: 2}) `+follower+` }`,
		`{"a":{"profile":{"viewerFollows":false,"counts":{"followers":0},"followers":{"nodes":[]}}},`+
			`"b":{"profile":{"viewerFollows":true,"counts":{"followers":1},"followers":{"nodes":[{"name":"B","counts":{"following":2}}]}}},`+
			`"c":{"userErrors":[]},`+
			`"d":{"profile":{"viewerFollows":true,"counts":{"followers":1},"followers":{"nodes":[{"name":"C","counts":{"following":2}}]}}}}`)
	post := &models.Viewer{ID: 2}
	const posts = `{ post { title author { posts(first: 1) { nodes { title } } } } }`
	r.want(post, `mutation {
		a: editPost(input: {postId: 20, title: "A"}) `+posts+`
		b: editPost(input: {postId: 20, title: "B"}) `+posts+` }`,
		`{"a":{"post":{"title":"A","author":{"posts":{"nodes":[{"title":"A"}]}}}},"b":{"post":{"title":"B","author":{"posts":{"nodes":[{"title":"B"}]}}}}}`)
}

func TestAbsent_IsNull(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(1)
	r.want(nil, `{ profile(id: 999) { id } post(id: 999) { id } config(platform: WEB) { version } a: profileByHandle(handle: "nobody") { id } }`,
		`{"profile":null,"post":null,"config":null,"a":null}`)
	r.want(nil, `{ a: profileByHandle(handle: " @P01 ") { id } }`, `{"a":{"id":"1"}}`)
	r.read()
	for _, handle := range []string{"", "x", "a b", "a:b", "ä", strings.Repeat("a", 10_000), `\u0000`} {
		r.want(nil, `{ profileByHandle(handle: "`+handle+`") { id } }`, `{"profileByHandle":null}`)
	}
	wantRead(t, "handles that no profile can have", r.read(), map[string][]int{})
}

// A post that was deleted after a page was cached is left out of it, and the page still leads on to the next.
func TestConnection_DropsWhatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	viewer := r.people(7)
	type feed struct {
		Feed struct {
			Nodes    []struct{ ID string }
			Edges    []struct{ Node struct{ ID string } }
			PageInfo struct {
				HasNextPage, HasPreviousPage bool
				StartCursor, EndCursor       *string
			}
		}
	}
	ask := func(arguments string) feed {
		t.Helper()
		return decode[feed](r, r.data(viewer, `{ feed(`+arguments+`) { nodes { id author { name } } edges { node { id } }
			pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`))
	}
	ids := func(f feed) (ids []string) {
		for i, node := range f.Feed.Nodes {
			if ids = append(ids, node.ID); f.Feed.Edges[i].Node.ID != node.ID {
				t.Errorf("edge %d: got %v, want the node %v", i, f.Feed.Edges[i], node)
			}
		}
		return ids
	}
	whole := ask("first: 3")
	if got, want := ids(whole), []string{"70", "60", "50"}; !slices.Equal(got, want) {
		t.Fatalf("feed: got %v, want %v", got, want)
	}
	// The page is still thought fresh, as those of very popular authors' followers are.
	if _, err := r.db.ExecContext(t.Context(), "DELETE FROM posts WHERE id IN (70, 50); DELETE FROM changelog.outbox"); err != nil {
		t.Fatal(err)
	}
	r.log.Apply(r.log.Position(), []string{"post:70", "post:50"})
	rest := ask("first: 3")
	if got, want := ids(rest), []string{"60"}; !slices.Equal(got, want) {
		t.Errorf("feed after posts were deleted: got %v, want %v", got, want)
	}
	if info := rest.Feed.PageInfo; !info.HasNextPage || *info.EndCursor != *whole.Feed.PageInfo.EndCursor || *info.StartCursor != *whole.Feed.PageInfo.StartCursor {
		t.Errorf("page info: got %+v, want that of the whole page", info)
	}
	next := ask(fmt.Sprintf("first: 3, after: %q", *rest.Feed.PageInfo.EndCursor))
	if got, want := ids(next), []string{"40", "30", "20"}; !slices.Equal(got, want) {
		t.Errorf("next page: got %v, want %v", got, want)
	}
	if info := next.Feed.PageInfo; info.HasNextPage || !info.HasPreviousPage {
		t.Errorf("page info of the last page: got %+v, want a page before and none behind", info)
	}
	empty := ask(`first: 3, filter: {languages: ["de"]}`)
	if info := empty.Feed.PageInfo; len(empty.Feed.Nodes) != 0 || info.HasNextPage || info.HasPreviousPage || info.StartCursor != nil || info.EndCursor != nil {
		t.Errorf("empty page: got %+v, want nothing and no cursors", empty)
	}
}

func TestSessions_CurrentIsTheAskersOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(1)
	r.execSQL(`INSERT INTO sessions (id, token_hash, profile_id, last_seen_at, expires_at)
		SELECT n, sha256(n::text::bytea), 1, now() - n * interval '1 hour', now() + interval '1 day' FROM generate_series(1, 2) n`)
	for range 2 { // the second time from the cache, which both share
		for session, want := range map[models.ID]string{
			1: `{"viewer":{"sessions":[{"id":"1","current":true},{"id":"2","current":false}]}}`,
			2: `{"viewer":{"sessions":[{"id":"1","current":false},{"id":"2","current":true}]}}`,
		} {
			r.want(&models.Viewer{ID: 1, SessionID: session}, `{ viewer { sessions { id current } } }`, want)
		}
	}
}

// Whoever forgets a directive opens a door: all changes are for those who are signed in, but for signing in.
func TestSchema_Guards(t *testing.T) {
	t.Parallel()
	schema := New(nil, nil, nil, nil).Schema().Schema()
	for _, field := range schema.Mutation.Fields {
		open := field.Name == "signUp" || field.Name == "signIn"
		if guarded := field.Directives.ForName("authenticated") != nil; guarded == open {
			t.Errorf("Mutation.%s: got @authenticated %v, want %v", field.Name, guarded, !open)
		}
		if field.Type.NonNull && !open {
			t.Errorf("Mutation.%s: got a type without null, want one that can be null with the refusal", field.Name)
		}
	}
	for name, want := range map[string]bool{"feed": true, "viewer": true, "profile": false, "post": false, "config": false} {
		if got := schema.Query.Fields.ForName(name).Directives.ForName("authenticated") != nil; got != want {
			t.Errorf("Query.%s: got @authenticated %v, want %v", name, got, want)
		}
	}
	if schema.Mutation.Fields.ForName("publishConfig").Directives.ForName("requiresScopes") == nil {
		t.Error("Mutation.publishConfig: got no @requiresScopes, want it")
	}
}

func TestGuards_Refuse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	viewer := r.people(2)
	admin := &models.Viewer{ID: 1, Scopes: []string{"admin"}}
	const publish = `mutation { publishConfig(input: {platform: WEB, minimumBuild: "1", features: [], values: []}) { config { version } userErrors { code } } }`
	for _, c := range []struct {
		viewer          *models.Viewer
		operation, data string
		code            models.Code
	}{
		{nil, `{ feed { nodes { id } } }`, `{"feed":null}`, models.CodeUnauthenticated},
		{nil, `{ viewer { settings { theme } } }`, `{"viewer":null}`, models.CodeUnauthenticated},
		{nil, `mutation { signOut { endedSessionId } }`, `{"signOut":null}`, models.CodeUnauthenticated},
		{nil, publish, `{"publishConfig":null}`, models.CodeUnauthenticated},
		{viewer, publish, `{"publishConfig":null}`, models.CodeForbidden},
		{admin, publish, `{"publishConfig":{"config":{"version":1},"userErrors":[]}}`, ""},
	} {
		response := r.ask(c.viewer, c.operation)
		var code models.Code
		var refused *models.Error
		if len(response.Errors) > 0 && errors.As(response.Errors[0].Err, &refused) {
			code = refused.Code
		}
		if string(response.Data) != c.data || code != c.code || (c.code == "") != (len(response.Errors) == 0) {
			t.Errorf("%s: got %s, %v, want %s, %q", c.operation, response.Data, response.Errors, c.data, c.code)
		}
	}
	r.want(nil, `{ post(id: 20) { viewerHasLiked author { viewerFollows } } }`, `{"post":{"viewerHasLiked":false,"author":{"viewerFollows":false}}}`)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	reason := models.Refuse(models.UserErrorCodeInvalid, "No.", "input")
	if got, err := refused(fmt.Errorf("store: %w", reason)); err != nil || len(got) != 1 || got[0].Message != "No." {
		t.Errorf("a refusal: got %+v, %v, want its reason", got, err)
	}
	if got, err := refused(nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("no error: got %v, %v, want an empty list", got, err)
	}
	if got, err := refused(context.Canceled); !errors.Is(err, context.Canceled) || len(got) != 0 {
		t.Errorf("another error: got %v, %v, want it", got, err)
	}
}

func TestMutations_RefusalsLeaveTheRestNull(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	viewer := r.people(2)
	r.want(viewer, `mutation {
		follow(input: {profileId: 1}) { profile { id } userErrors { code path } }
		deletePost(input: {postId: 20}) { deletedPostId userErrors { code path } }
		updateProfile(input: {name: null}) { profile { id } userErrors { code path } }
		publishPost(input: {title: "", body: "B", category: "food", language: "en"}) { post { id } userErrors { code path } }
		signUp(input: {handle: "p01", name: "N", password: "long enough"}) { token viewer { scopes } userErrors { code path } } }`,
		`{"follow":{"profile":null,"userErrors":[{"code":"INVALID","path":["input","profileId"]}]},`+
			`"deletePost":{"deletedPostId":null,"userErrors":[{"code":"NOT_YOURS","path":["input","postId"]}]},`+
			`"updateProfile":{"profile":null,"userErrors":[{"code":"INVALID","path":["input","name"]}]},`+
			`"publishPost":{"post":null,"userErrors":[{"code":"TOO_SHORT","path":["input","title"]}]},`+
			`"signUp":{"token":null,"viewer":null,"userErrors":[{"code":"TAKEN","path":["input","handle"]}]}}`)
}

// What no source can be asked for is null, with an error that says so, and the rest of the response is there.
func TestExternal_UnavailableBesideData(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	response := r.ask(nil, `{ exchangeRates { base } geocode(query: "berlin") { name } profile(id: "1") { id } }`)
	if got, want := string(response.Data), `{"exchangeRates":null,"geocode":null,"profile":null}`; got != want {
		t.Errorf("data: got %s, want %s", got, want)
	}
	if len(response.Errors) != 2 {
		t.Errorf("errors: got %v, want one of each source", response.Errors)
	}
}
