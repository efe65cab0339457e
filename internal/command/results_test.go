package command

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"freshet/models"
)

// exchange is a response as it came.
type exchange struct {
	status int
	header http.Header
	body   string // decompressed
}

// send makes a request with header lines "Name: value"; body "" makes it a GET of path.
func (a *api) send(path, body string, lines ...string) exchange {
	a.t.Helper()
	method := "GET"
	if body != "" {
		method = "POST"
	}
	req, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	return roundTrip(a.t, a.transport, req)
}

func roundTrip(t testing.TB, transport *http.Transport, req *http.Request) exchange {
	t.Helper()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var from io.Reader = resp.Body
	if resp.Header.Get("Content-Encoding") == "gzip" && resp.StatusCode != http.StatusNotModified {
		if from, err = gzip.NewReader(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return exchange{resp.StatusCode, resp.Header, string(text)}
}

// results counts hits of whole results.
func (a *api) results() float64 { return a.sum("freshet_cache_hits_total", "kind", "operation") }

// wantHit sends a request and wants it answered by a result that was kept, or not.
func (a *api) wantHit(what string, want bool, path, body string, lines ...string) exchange {
	a.t.Helper()
	before := a.results()
	x := a.send(path, body, lines...)
	if got := a.results() > before; got != want {
		a.t.Errorf("%s: got a kept result %v, want %v", what, got, want)
	}
	return x
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// White space, formatting, the order of variables, defaults and variables that are not declared do not split results.
func TestResults_OneForEqualRequests(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	_, id := a.person("ann")
	first := a.wantHit("first", false, "", `{"query":"query P($id: ID!, $n: Int = 5) { profile(id: $id) { name posts(first: $n) { nodes { id } } } }","variables":{"id":"`+id+`"}}`)
	if first.status != 200 || !strings.Contains(first.body, "ANN") {
		t.Fatalf("first: got %d %s", first.status, first.body)
	}
	for what, body := range map[string]string{
		"formatting":    `{"query":"query P($id:ID!,$n:Int=5){profile(id:$id){name,posts(first:$n){nodes{id}}}} # comment","variables":{"id":"` + id + `"}}`,
		"default given": `{"query":"query P($id: ID!, $n: Int = 5) { profile(id: $id) { name posts(first: $n) { nodes { id } } } }","variables":{"n":5,"id":"` + id + `"}}`,
		"id as number":  `{"query":"query P($id: ID!, $n: Int = 5) { profile(id: $id) { name posts(first: $n) { nodes { id } } } }","variables":{"id":` + id + `}}`,
		"undeclared":    `{"variables":{"other":1,"id":"` + id + `"},"query":"query P($id: ID!, $n: Int = 5) { profile(id: $id) { name posts(first: $n) { nodes { id } } } }"}`,
	} {
		if x := a.wantHit(what, true, "", body); x.body != first.body {
			t.Errorf("%s: got %s, want %s", what, x.body, first.body)
		}
	}
	a.wantHit("another value", false, "", `{"query":"query P($id: ID!, $n: Int = 5) { profile(id: $id) { name posts(first: $n) { nodes { id } } } }","variables":{"n":6,"id":"`+id+`"}}`)
	a.wantHit("null is not left out", false, "", `{"query":"query P($id: ID!, $n: Int = 5) { profile(id: $id) { name posts(first: $n) { nodes { id } } } }","variables":{"n":null,"id":"`+id+`"}}`)
	a.wantHit("another alias", false, "", `{"query":"query P($id: ID!, $n: Int = 5) { profile(id: $id) { nom: name posts(first: $n) { nodes { id } } } }","variables":{"id":"`+id+`"}}`)
}

// Whose session no cache has is not expected to have results of their own there; what all share is.
func TestResults_OfAFirstRequest(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	_, id := a.person("ann")
	own := `{"query":"{ viewer { settings { theme } } }"}`
	shared := `{"query":"query P($id: ID!) { profile(id: $id) { name } }","variables":{"id":"` + id + `"}}`
	looks := func(body, token string) bool {
		before := a.sum("freshet_cache_misses_total", "kind", "operation") + a.results()
		a.send("", body, bearer(token))
		return a.sum("freshet_cache_misses_total", "kind", "operation")+a.results() > before
	}
	bob, _ := a.person("bob")
	if looks(own, bob) {
		t.Error("bob's own, while his session is loaded: got a look for it, want none")
	}
	if !looks(`{"query":"{ viewer { settings { language } } }"}`, bob) {
		t.Error("another of bob's own, once his session is there: got no look, want one")
	}
	a.wantHit("bob's own, kept all the same", true, "", own, bearer(bob))
	cat, _ := a.person("cat")
	if !looks(shared, cat) {
		t.Error("everybody's, while cat's session is loaded: got no look, want one")
	}
}

// A result is its viewer's, and its session's scopes'.
func TestResults_NeverAnothersOrAStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	ann, annID := a.person("ann")
	bob, _ := a.person("bob")
	w.exec(`UPDATE accounts SET scopes = '{admin}' WHERE profile_id = ?`, annID)
	admin := a.signIn("ann")
	mine := `{"query":"{ viewer { profile { handle } scopes settings { theme } } }"}`
	for token, want := range map[string]string{ann: `"scopes":[]`, bob: `"handle":"bob"`, admin: `"scopes":["admin"]`} {
		for _, at := range []*api{a, b, a, b} {
			if x := at.send("", mine, bearer(token)); !strings.Contains(x.body, want) {
				t.Errorf("viewer: got %s, want %s", x.body, want)
			}
		}
	}
	a.wantHit("ann's own", true, "", mine, bearer(ann))
	if x := a.wantHit("nobody's", false, "", mine); !strings.Contains(x.body, "UNAUTHENTICATED") || x.header.Get("Cache-Control") != "no-store" {
		t.Errorf("nobody: got %s %s, want an error and no-store", x.body, x.header.Get("Cache-Control"))
	}
	post := a.publish(bob, "A post")
	liked := `{"query":"{ post(id: \"` + post + `\") { title viewerHasLiked } }"}`
	a.wantHit("private, of nobody", false, "", liked)
	a.wantHit("private, of nobody, again", false, "", liked)
	a.must(ann, `mutation { like(input: {postId: "`+post+`"}) { userErrors { code } } }`, nil, nil)
	for token, want := range map[string]string{ann: "true", bob: "false"} {
		for range 2 {
			if x := a.send("", liked, bearer(token)); !strings.Contains(x.body, `"viewerHasLiked":`+want) {
				t.Errorf("viewerHasLiked: got %s, want %s", x.body, want)
			}
		}
	}
	public := `{"query":"{ post(id: \"` + post + `\") { title } }"}`
	a.wantHit("public, by ann", false, "", public, bearer(ann))
	a.wantHit("public, by bob", true, "", public, bearer(bob))
	a.wantHit("public, by nobody", true, "", public)
	// Signed out, the viewer's results are nobody's, though they are still kept.
	a.must(ann, `mutation { signOut { endedSessionId } }`, nil, nil)
	for _, at := range []*api{a, b} {
		if x := at.wantHit("after signing out", false, "", mine, bearer(ann)); x.status != 401 {
			t.Errorf("after signing out: got %d %s, want 401", x.status, x.body)
		}
	}
}

func TestResults_WhatIsNeverKept(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	token, id := a.person("ann")
	for what, body := range map[string]string{
		"mutation":          `{"query":"mutation { updateProfile(input: {name: \"Ann\"}) { profile { name } } }"}`,
		"max age 0":         `{"query":"{ viewer { sessions { current } } }"}`,
		"error beside data": `{"query":"{ profile(id: \"` + id + `\") { posts(first: 0) { nodes { id } } } }"}`,
		"introspection":     `{"query":"{ __schema { queryType { name } } profile(id: \"` + id + `\") { name } }"}`,
		"no field":          `{"query":"{ __typename }"}`,
	} {
		for range 2 {
			if x := a.wantHit(what, false, "", body, bearer(token)); x.header.Get("Cache-Control") != "no-store" || x.header.Get("Etag") != "" {
				t.Errorf("%s: got %s %s, want no-store and no ETag", what, x.header.Get("Cache-Control"), x.header.Get("Etag"))
			}
		}
	}
}

func TestResults_Headers(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	token, id := a.person("ann")
	for range 20 {
		a.publish(token, strings.Repeat("A long title ", 8))
	}
	path := `?query=%7Bprofile(id:%22` + id + `%22)%7Bname+posts%7Bnodes%7Bid+title%7D%7D%7D%7D`
	miss := a.wantHit("first", false, path, "", "Accept-Encoding: gzip")
	hit := a.wantHit("second", true, path, "", "Accept-Encoding: gzip")
	plain := a.wantHit("without gzip", true, path, "", "Accept-Encoding: identity")
	again := a.wantHit("without gzip again", true, path, "", "Accept-Encoding: gzip;q=0, identity")
	for what, x := range map[string]exchange{"miss": miss, "hit": hit, "plain": plain, "plain again": again} {
		life := strings.TrimPrefix(x.header.Get("Cache-Control"), "public, max-age=")
		if seconds, err := strconv.Atoi(life); err != nil || seconds < 100 || seconds > 120 {
			t.Errorf("%s: got Cache-Control %q, want public and up to 120 s", what, x.header.Get("Cache-Control"))
		}
		if age, err := strconv.Atoi(x.header.Get("Age")); err != nil || age > 30 {
			t.Errorf("%s: got Age %q, want some seconds", what, x.header.Get("Age"))
		}
		if x.body != miss.body || x.header.Get("Vary") != "Accept, Accept-Encoding" {
			t.Errorf("%s: got Vary %q and %.60s…, want the same body as at first", what, x.header.Get("Vary"), x.body)
		}
	}
	packed, flat := hit.header.Get("Etag"), plain.header.Get("Etag")
	if packed == flat || packed != miss.header.Get("Etag") || flat != again.header.Get("Etag") || plain.header.Get("Content-Encoding") != "" {
		t.Errorf("ETags: got %s, %s packed and %s, %s plain, want one for each encoding",
			miss.header.Get("Etag"), packed, flat, again.header.Get("Etag"))
	}
	for _, c := range []struct {
		what, ifNoneMatch string
		want              int
	}{{"same", packed, 304}, {"weak and others", `"x", W/` + packed, 304}, {"any", "*", 304}, {"other", `"x"`, 200}, {"of the other form", flat, 200}} {
		x := a.send(path, "", "Accept-Encoding: gzip", "If-None-Match: "+c.ifNoneMatch)
		if x.status != c.want || (c.want == 304) != (x.body == "") || x.header.Get("Etag") != packed {
			t.Errorf("If-None-Match %s: got %d with %d bytes, want %d", c.what, x.status, len(x.body), c.want)
		}
	}
	own := `{"query":"{ viewer { settings { theme } } }"}`
	if x := a.send("", own, bearer(token), "If-None-Match: *"); x.status != 200 || x.header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("private POST: got %d %q, want 200 and private, no-cache", x.status, x.header.Get("Cache-Control"))
	}
}

// Those with the scope may ask for a result that is made now.
func TestResults_NoCacheForDevelopers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	token, id := a.person("ann")
	body := `{"query":"{ profile(id: \"` + id + `\") { name } }"}`
	a.wantHit("first", false, "", body)
	a.wantHit("no-cache without the scope", true, "", body, bearer(token), "Cache-Control: no-cache")
	w.exec(`UPDATE accounts SET scopes = '{developer}' WHERE profile_id = ?`, id)
	developer := a.signIn("ann")
	a.wantHit("no-cache", false, "", body, bearer(developer), "Cache-Control: no-cache")
	a.wantHit("no-store", false, "", body, bearer(developer), "Cache-Control: no-store, max-age=0")
	a.wantHit("after them", true, "", body, bearer(developer))
}

// Every kept result is gone from every instance once a change of any of its parts was answered.
func TestResults_FollowChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	token, id := a.person("ann")
	fan, _ := a.person("fan")
	a.must(fan, `mutation { follow(input: {profileId: "`+id+`"}) { userErrors { code } } }`, nil, nil)
	post := a.publish(token, "First")
	feed := `{"query":"{ feed { nodes { title author { name } viewerHasLiked } } }"}`
	for n, mutation := range []string{
		`updateProfile(input: {name: "Renamed"}) { profile { name } }`,
		`editPost(input: {postId: "` + post + `", title: "Edited"}) { post { title } }`,
		`publishPost(input: {title: "Second", body: "x", category: "food", language: "en"}) { post { title } }`,
		`deletePost(input: {postId: "` + post + `"}) { deletedPostId }`,
	} {
		for _, at := range []*api{a, b} {
			at.send("", feed, bearer(fan))
			at.wantHit("before "+mutation, true, "", feed, bearer(fan))
		}
		old := b.send("", feed, bearer(fan)).body
		a.must(token, "mutation { "+mutation+" }", nil, nil)
		for _, at := range []*api{b, a} {
			if x := at.send("", feed, bearer(fan)); x.body == old {
				t.Errorf("change %d: got %s as before", n, x.body)
			}
		}
	}
}

func TestResults_AHerdExecutesOnce(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	token, _ := a.person("ann")
	a.send("", `{"query":"{ viewer { scopes } }"}`, bearer(token))
	before := a.sum("freshet_cache_loads_total", "kind", "settings")
	var work sync.WaitGroup
	for range 40 {
		work.Go(func() { a.send("", `{"query":"{ viewer { settings { theme } } }"}`, bearer(token)) })
	}
	work.Wait()
	if got := a.sum("freshet_cache_loads_total", "kind", "settings") - before; got != 1 {
		t.Errorf("loads: got %v, want 1", got)
	}
}

// signIn starts another session of a person.
func (a *api) signIn(handle string) string {
	a.t.Helper()
	token, _, err := a.instance.auth.SignIn(a.t.Context(), models.SignInInput{Handle: handle, Password: "correct horse"})
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}
