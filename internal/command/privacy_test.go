package command

import (
	"fmt"
	"strings"
	"testing"

	"freshet/models"
)

const private = `{ viewer { profile { handle } settings { theme language digest } sessions { id device current } scopes } }`

// Each viewer gets their own, whoever was there before, cached or not.
func TestAPI_ViewersNeverGetEachOthersData(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	ann, _ := a.person("ann")
	bob, _ := a.person("bob")
	a.must(ann, `mutation { updateSettings(input: {theme: DARK, language: "de", digest: OFF}) { settings { theme } } }`, nil, nil)
	for range 3 {
		for token, want := range map[string]string{
			ann: "profile:map[handle:ann] scopes:[] sessions:[map[current:true device: id:1]] settings:map[digest:OFF language:de theme:DARK]",
			bob: "profile:map[handle:bob] scopes:[] sessions:[map[current:true device: id:2]] settings:map[digest:WEEKLY language:en theme:SYSTEM]",
		} {
			a.wantAt(token, "viewer", "map["+want+"]", private, nil)
		}
		got := a.ask("", private, nil, nil)
		if len(got.Errors) != 1 || got.Errors[0].Extensions["code"] != "UNAUTHENTICATED" || string(got.Data) != `{"viewer":null}` {
			t.Errorf("a stranger: got %s, %+v, want null and UNAUTHENTICATED", got.Data, got.Errors)
		}
	}
	// What the viewer did is not what another did.
	post := a.publish(ann, "Mine")
	a.must(ann, `mutation($id: ID!) { like(input: {postId: $id}) { post { viewerHasLiked } } }`, map[string]any{"id": post}, nil)
	liked := `query($id: ID!) { post(id: $id) { viewerHasLiked } }`
	a.wantAt(ann, "post.viewerHasLiked", true, liked, map[string]any{"id": post})
	a.wantAt(bob, "post.viewerHasLiked", false, liked, map[string]any{"id": post})
	a.wantAt("", "post.viewerHasLiked", false, liked, map[string]any{"id": post})
}

func TestAPI_NobodyChangesWhatIsAnothers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	ann, _ := a.person("ann")
	bob, _ := a.person("bob")
	post := a.publish(ann, "Mine")
	session := a.get(ann, "viewer.sessions", `{ viewer { sessions { id } } }`, nil).([]any)[0].(map[string]any)["id"]
	for name, try := range map[string]struct {
		mutation string
		code     string
	}{
		"edit":    {`editPost(input: {postId: $id, title: "Hers"})`, "NOT_YOURS"},
		"delete":  {`deletePost(input: {postId: $id})`, "NOT_YOURS"},
		"session": {`revokeSession(input: {sessionId: $id})`, "NOT_FOUND"},
	} {
		id := post
		if name == "session" {
			id = fmt.Sprint(session)
		}
		field := try.mutation[:strings.Index(try.mutation, "(")]
		a.wantAt(bob, field+".userErrors", fmt.Sprintf("[map[code:%s]]", try.code),
			`mutation($id: ID!) { `+try.mutation+` { userErrors { code } } }`, map[string]any{"id": id})
		if got := a.ask("", `mutation($id: ID!) { `+try.mutation+` { userErrors { code } } }`, map[string]any{"id": id}, nil); len(got.Errors) == 0 {
			t.Errorf("%s by a stranger: got %s, want an error", name, got.Data)
		}
	}
	a.wantAt("", "post.title", "Mine", `query($id: ID!) { post(id: $id) { title } }`, map[string]any{"id": post})
	a.wantAt(ann, "viewer.scopes", "[]", `{ viewer { scopes } }`, nil)
}

func TestAPI_SessionsEndOnEveryInstanceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	a.person("ann")
	signIn := func() string {
		t.Helper()
		got := a.get("", "signIn.token", `mutation { signIn(input: {handle: "@Ann", password: "correct horse", device: "phone"}) {
			token viewer { profile { handle } } userErrors { code } } }`, nil)
		return got.(string)
	}
	first, second := signIn(), signIn()
	b.wantAt(first, "viewer.profile.handle", "ann", `{ viewer { profile { handle } } }`, nil)
	b.wantAt(second, "viewer.profile.handle", "ann", `{ viewer { profile { handle } } }`, nil)
	sessions := b.get(second, "viewer.sessions", `{ viewer { sessions { id current } } }`, nil).([]any)
	if len(sessions) != 3 {
		t.Fatalf("sessions: got %v, want 3", sessions)
	}
	var other string
	for _, s := range sessions {
		if s.(map[string]any)["current"] == true {
			other = s.(map[string]any)["id"].(string)
		}
	}
	a.must(first, `mutation($id: ID!) { revokeSession(input: {sessionId: $id}) { endedSessionId } }`, map[string]any{"id": other}, nil)
	refused := func(on *api, token string) {
		t.Helper()
		got := on.ask(token, `{ __typename }`, nil, nil)
		if len(got.Errors) != 1 || got.Errors[0].Extensions["code"] != "UNAUTHENTICATED" || got.Data != nil {
			t.Errorf("an ended session: got %s, %+v, want UNAUTHENTICATED and no data", got.Data, got.Errors)
		}
	}
	refused(a, second)
	refused(b, second)
	a.must(first, `mutation { signOut { endedSessionId } }`, nil, nil)
	refused(b, first)
	refused(b, "freshet_madeup")
}

// Bad input names the argument and changes nothing.
func TestAPI_BadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	token, _ := a.person("ann")
	a.publish(token, "One")
	long := strings.Repeat("x", 20_001)
	before := a.get(token, "viewer.profile", `{ viewer { profile { name bio counts { posts } } } }`, nil)
	for name, c := range map[string]struct {
		query     string
		variables map[string]any
		code      string
		names     string
	}{
		"first 0":          {`{ feed(first: 0) { nodes { id } } }`, nil, "BAD_USER_INPUT", "first"},
		"first 1000":       {`{ feed(first: 1000) { nodes { id } } }`, nil, "BAD_USER_INPUT", "first"},
		"first -1":         {`{ profileByHandle(handle: "ann") { posts(first: -1) { nodes { id } } } }`, nil, "BAD_USER_INPUT", "first"},
		"broken cursor":    {`{ feed(after: "?!") { nodes { id } } }`, nil, "BAD_USER_INPUT", "after"},
		"empty cursor":     {`{ feed(after: "") { nodes { id } } }`, nil, "BAD_USER_INPUT", "after"},
		"category form":    {`{ feed(filter: {categories: ["a:b"]}) { nodes { id } } }`, nil, "BAD_USER_INPUT", "filter.categories"},
		"id":               {`{ profile(id: "abc") { id } }`, nil, "GRAPHQL_VALIDATION_FAILED", "id"},
		"id in a variable": {`query($id: ID!) { profile(id: $id) { id } }`, map[string]any{"id": "abc"}, "BAD_USER_INPUT", "id"},
		"unknown field":    {`{ profile(id: "1") { secret } }`, nil, "GRAPHQL_VALIDATION_FAILED", "secret"},
		"unknown arg":      {`{ profile(ident: "1") { id } }`, nil, "GRAPHQL_VALIDATION_FAILED", "ident"},
		"wrong type":       {`query($f: Int) { feed(first: $f) { nodes { id } } }`, map[string]any{"f": "many"}, "BAD_USER_INPUT", "f"},
		"syntax":           {`{ feed( }`, nil, "GRAPHQL_PARSE_FAILED", ""},
		"missing input":    {`mutation { updateProfile { profile { id } } }`, nil, "GRAPHQL_VALIDATION_FAILED", "input"},
		"unknown in enum":  {`{ config(platform: TV) { version } }`, nil, "GRAPHQL_VALIDATION_FAILED", "Platform"},
	} {
		got := a.ask(token, c.query, c.variables, nil)
		if len(got.Errors) == 0 || got.Errors[0].Extensions["code"] != c.code {
			t.Errorf("%s: got %+v, want code %s", name, got.Errors, c.code)
			continue
		}
		text := got.Errors[0].Message + fmt.Sprint(got.Errors[0].Extensions, got.Errors[0].Path)
		if !strings.Contains(text, c.names) {
			t.Errorf("%s: got %q, want %q named", name, text, c.names)
		}
	}
	for name, c := range map[string]struct{ mutation, code, path string }{
		"handle taken":     {`signUp(input: {handle: "ANN", name: "x", password: "long enough"})`, "TAKEN", "[input handle]"},
		"handle form":      {`signUp(input: {handle: "a b", name: "x", password: "long enough"})`, "INVALID", "[input handle]"},
		"password short":   {`signUp(input: {handle: "bob", name: "x", password: "short"})`, "TOO_SHORT", "[input password]"},
		"wrong password":   {`signIn(input: {handle: "ann", password: "wrong horse"})`, "WRONG_CREDENTIALS", "[input]"},
		"unknown handle":   {`signIn(input: {handle: "nobody", password: "wrong horse"})`, "WRONG_CREDENTIALS", "[input]"},
		"text too long":    {`publishPost(input: {title: "t", body: "` + long + `", category: "science", language: "en"})`, "TOO_LONG", "[input body]"},
		"NUL":              {`publishPost(input: {title: "t\u0000", body: "b", category: "science", language: "en"})`, "INVALID", "[input title]"},
		"no such category": {`publishPost(input: {title: "t", body: "b", category: "gossip", language: "en"})`, "NOT_FOUND", "[input category]"},
		"no such language": {`updateSettings(input: {language: "tlh"})`, "NOT_FOUND", "[input language]"},
		"avatar not https": {`updateProfile(input: {avatarUrl: "javascript:alert(1)", name: "Changed"})`, "INVALID", "[input avatarUrl]"},
		"name null":        {`updateProfile(input: {name: null, bio: "Changed"})`, "INVALID", "[input name]"},
		"follow nobody":    {`follow(input: {profileId: "999"})`, "NOT_FOUND", "[input profileId]"},
		"follow oneself":   {`follow(input: {profileId: "1"})`, "INVALID", "[input profileId]"},
		"like nothing":     {`like(input: {postId: "999"})`, "NOT_FOUND", "[input postId]"},
	} {
		field := c.mutation[:strings.Index(c.mutation, "(")]
		got := a.get(token, field+".userErrors", `mutation { `+c.mutation+` { userErrors { code path } } }`, nil)
		if want := fmt.Sprintf("[map[code:%s path:%s]]", c.code, c.path); fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", name, got, want)
		}
	}
	if after := a.get(token, "viewer.profile", `{ viewer { profile { name bio counts { posts } } } }`, nil); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after refusals: got %v, want %v as before", after, before)
	}
}

// A session's scopes are those it was given and its account still has.
func TestAPI_ScopesAreTheSessionsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	plain, id := a.person("ann")
	w.exec(`UPDATE accounts SET scopes = '{admin,developer}' WHERE profile_id = ?`, id)
	admin, _, err := a.instance.auth.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	a.wantAt(admin, "viewer.scopes", "[admin developer]", `{ viewer { scopes } }`, nil)
	a.wantAt(plain, "viewer.scopes", "[]", `{ viewer { scopes } }`, nil)
}
