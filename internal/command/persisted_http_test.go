package command

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"freshet/internal/manifest"
	"freshet/internal/persisted"
	"freshet/internal/server"
	"freshet/internal/testenv"
)

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// wantError wants a response's only error to have a code, and no data.
func (a *api) wantError(what string, x exchange, status int, code string) {
	a.t.Helper()
	var body struct {
		Data   json.RawMessage
		Errors []struct{ Extensions map[string]any }
	}
	if err := json.Unmarshal([]byte(x.body), &body); err != nil || len(body.Errors) != 1 || body.Data != nil {
		a.t.Errorf("%s: got %s, want one error and no data", what, x.body)
		return
	}
	if got := body.Errors[0].Extensions["code"]; x.status != status || got != code {
		a.t.Errorf("%s: got %d %v, want %d %s", what, x.status, got, status, code)
	}
	if strings.HasPrefix(code, "PERSISTED_QUERY_NOT") && x.header.Get("Cache-Control") != "private, no-cache, must-revalidate" {
		a.t.Errorf("%s: got Cache-Control %q", what, x.header.Get("Cache-Control"))
	}
}

func (a *api) wantData(what string, x exchange, want string) {
	a.t.Helper()
	if x.status != 200 || !strings.Contains(x.body, want) || strings.Contains(x.body, `"errors"`) {
		a.t.Errorf("%s: got %d %s, want 200 with %s", what, x.status, x.body, want)
	}
}

func automatic(query, hash string) string {
	body := map[string]any{"extensions": map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}}
	if query != "" {
		body["query"] = query
	}
	text, _ := json.Marshal(body)
	return string(text)
}

func TestPersisted_AutomaticQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	_, id := a.person("ann")
	query := `query Ann { profile(id: "` + id + `") { handle } }`
	hash := sha(query)
	a.wantError("unknown hash", a.send("", automatic("", hash)), 200, "PERSISTED_QUERY_NOT_FOUND")
	a.wantError("wrong hash", a.send("", automatic(query, sha("other"))), 400, "PERSISTED_QUERY_HASH_MISMATCH")
	a.wantError("still unknown", a.send("", automatic("", sha("other"))), 200, "PERSISTED_QUERY_NOT_FOUND")
	invalid := `query { nothing }`
	a.wantError("invalid", a.send("", automatic(invalid, sha(invalid))), 400, "GRAPHQL_VALIDATION_FAILED")
	a.wantError("invalid is not registered", a.send("", automatic("", sha(invalid))), 200, "PERSISTED_QUERY_NOT_FOUND")
	a.wantData("registering", a.send("", automatic(query, hash)), `"ann"`)
	for _, at := range []*api{a, b} {
		at.wantData("by hash", at.send("", automatic("", hash)), `"ann"`)
		at.wantData("by urql's hash", at.send("", automatic("", "sha256:"+hash)), `"ann"`)
		extensions := url.QueryEscape(`{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}`)
		at.wantData("by GET", at.send("?extensions="+extensions, ""), `"ann"`)
	}
	mutation := `mutation { signOut { endedSessionId } }`
	a.wantData("registering a mutation", a.send("", automatic(mutation, sha(mutation)), bearer(a.signIn("ann"))), `"endedSessionId"`)
	extensions := url.QueryEscape(`{"persistedQuery":{"version":1,"sha256Hash":"` + sha(mutation) + `"}}`)
	if x := a.send("?extensions="+extensions, "", bearer(a.signIn("ann"))); x.status != 405 || x.header.Get("Allow") != "POST" {
		t.Errorf("mutation by GET: got %d %s, want 405", x.status, x.body)
	}
}

// ship publishes and activates a build with one operation.
func (a *api) ship(app, build, id, text string) *persisted.Registry {
	a.t.Helper()
	registry := &persisted.Registry{DB: a.instance.db, Compiler: a.instance.compiler}
	file, _ := json.Marshal(map[string]string{id: text})
	read, err := manifest.Read(file)
	if err != nil {
		a.t.Fatal(err)
	}
	_, err = registry.Publish(a.t.Context(), persisted.Publication{App: app, Version: build, Activate: true, Manifest: read})
	if err != nil {
		a.t.Fatal(err)
	}
	return registry
}

// eventually asks until the answer has a status: a library reads its builds in the background.
func (a *api) eventually(status int, path, body string, lines ...string) exchange {
	a.t.Helper()
	var x exchange
	testenv.Eventually(a.t, fmt.Sprintf("status %d", status), func() bool {
		x = a.send(path, body, lines...)
		return x.status == status
	})
	return x
}

func TestPersisted_OperationsOfBuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	_, id := a.person("ann")
	text := `query Ann($id: ID! = "` + id + `") { profile(id: $id) { handle } }`
	body := `{"documentId":"sha256:` + sha(text) + `"}`
	a.wantError("before", a.send("", body), 404, "PERSISTED_QUERY_NOT_IN_LIST")
	registry := a.ship("ios", "1.0", sha(text), text)
	for _, at := range []*api{a, b} {
		at.wantData("active", at.eventually(200, "", body), `"ann"`)
		for what, body := range map[string]string{
			"bare": `{"documentId":"` + sha(text) + `"}`, "Relay's": `{"doc_id":"` + sha(text) + `"}`, "Hot Chocolate's": `{"id":"` + sha(text) + `"}`,
			"Apollo's": automatic("", sha(text)), "Hive's": `{"documentId":"ios~1.0~` + sha(text) + `"}`, "named": `{"operationName":"Ann","documentId":"` + sha(text) + `"}`,
		} {
			at.wantData(what, at.send("", body), `"ann"`)
		}
		at.wantData("GET", at.send("?documentId=sha256:"+sha(text), ""), `"ann"`)
		at.wantData("GET with variables", at.send("?documentId="+sha(text)+"&variables="+url.QueryEscape(`{"id":"`+id+`"}`), ""), `"ann"`)
	}
	a.wantError("with its text", a.send("", `{"documentId":"`+sha(text)+`","query":"{ __typename }"}`), 400, "CANNOT_SEND_PQ_ID_AND_BODY")
	a.wantError("another operation's name", a.send("", `{"operationName":"Bob","documentId":"`+sha(text)+`"}`), 400, "OPERATION_RESOLUTION_FAILURE")
	if err := registry.Retire(t.Context(), "ios", "1.0"); err != nil {
		t.Fatal(err)
	}
	for _, at := range []*api{a, b} {
		at.wantError("retired", at.eventually(404, "", body), 404, "PERSISTED_QUERY_NOT_IN_LIST")
	}
}

func TestPersisted_Enforcement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := w.start()
	_, id := plain.person("ann")
	w.exec(`UPDATE accounts SET scopes = '{developer}' WHERE profile_id = ?`, id)
	developer := plain.signIn("ann")
	text := `query Ann { profile(id: "` + id + `") { handle } }`
	plain.ship("ios", "1.0", sha(text), text)
	listed := fmt.Sprintf(`{"query":%q}`, text)
	relaid := fmt.Sprintf(`{"query":%q}`, "query Ann{profile(id:\""+id+"\"){handle}}")
	other := fmt.Sprintf(`{"query":%q}`, `query Ann { profile(id: "`+id+`") { name } }`)
	invalid := `{"query":"{ nothing }"}`
	byID := `{"documentId":"` + sha(text) + `"}`
	for _, c := range []struct {
		level server.Enforcement
		// Codes for strangers; empty for data.
		listed, relaid, other, invalid string
		status                         int
	}{
		{server.EnforceOff, "", "", "", "GRAPHQL_VALIDATION_FAILED", 400},
		{server.EnforceLog, "", "", "", "GRAPHQL_VALIDATION_FAILED", 400},
		{server.EnforceSafelist, "", "", "QUERY_NOT_IN_SAFELIST", "QUERY_NOT_IN_SAFELIST", 403},
		{server.EnforceIDOnly, "PERSISTED_QUERY_ID_REQUIRED", "PERSISTED_QUERY_ID_REQUIRED", "PERSISTED_QUERY_ID_REQUIRED", "PERSISTED_QUERY_ID_REQUIRED", 400},
	} {
		a := w.startWith(func(o *ServeOptions) { o.Enforcement = c.level })
		for what, sent := range map[string]struct{ body, code string }{
			"listed": {listed, c.listed}, "in another layout": {relaid, c.relaid}, "other": {other, c.other}, "invalid": {invalid, c.invalid},
			"by id": {byID, ""},
		} {
			for range 2 { // the second time from what is known
				if sent.code == "" {
					a.wantData(string(c.level)+" "+what, a.send("", sent.body), `"data"`)
				} else {
					a.wantError(string(c.level)+" "+what, a.send("", sent.body), c.status, sent.code)
				}
			}
		}
		a.wantData(string(c.level)+", developer", a.send("", other, bearer(developer)), `"name":"ANN"`)
		a.wantError(string(c.level)+", developer, invalid", a.send("", invalid, bearer(developer)), 400, "GRAPHQL_VALIDATION_FAILED")
		if c.other != "" { // what a developer may send does not become known to others
			a.wantError(string(c.level)+" other, after a developer", a.send("", other), c.status, c.other)
		}
	}
}

// A new instance makes the results that most will ask it for, once it may keep any.
func TestPersisted_WarmUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	_, id := a.person("ann")
	public := `query Ann { profile(id: "` + id + `") { handle } }`
	a.ship("ios", "1.0", sha(public), public)
	a.wantData("in use", a.eventually(200, "", `{"documentId":"`+sha(public)+`"}`), `"ann"`)
	// Each result is stored in two forms, one after the other. A warm-up makes the first.
	a.instance.redis.Del(t.Context(), a.stored(2, "operation:*")...)
	b := w.start()
	b.stored(1, "operation:*")
	b.wantHit("after a warm-up", true, "", `{"documentId":"`+sha(public)+`"}`)
}
