package command

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"freshet/internal/inspect"
	"freshet/internal/testenv"
)

func (w *world) withScopes(a *api, handle, scopes string) (token string) {
	w.t.Helper()
	a.person(handle)
	w.exec(`UPDATE accounts SET scopes = ? WHERE profile_id = (SELECT id FROM profiles WHERE handle = ?)`, scopes, handle)
	return a.signIn(handle)
}

func withPlayground(o *ServeOptions) { o.Playground = true }

func (a *api) page() *api {
	page := *a
	page.url = strings.TrimSuffix(a.url, "/graphql") + "/playground/cache"
	return &page
}

func TestCaches_EvictAndMakeStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.startWith(withPlayground), w.start()
	dev, admin := w.withScopes(a, "dev", "{developer}"), w.withScopes(a, "admin", "{admin,developer}")
	ann, id := a.person("ann")
	const query = `{ profile(id: "%") { name } }`
	ask := strings.ReplaceAll(query, "%", id)
	a.inspected(dev, "cache", ask)
	_, report := a.inspected(dev, "cache", ask)
	if report.Operation.Result != "hit" {
		t.Fatalf("got %+v, want a hit", report.Operation)
	}
	a.stored(1, strings.TrimPrefix(report.Operation.Key.Name, w.service()+":"))
	page := a.page()
	if x := page.send("", `{"action":"evict","key":"`+report.Operation.Key.Name+`"}`, bearer(dev)); x.status != 200 {
		t.Errorf("evict: got %d %s", x.status, x.body)
	}
	if _, report := a.inspected(dev, "cache", ask); report.Operation.Result != "miss" || report.Operation.Reason != "absent" {
		t.Errorf("after the eviction: got %+v, want a miss", report.Operation)
	}
	b.inspected(dev, "cache", ask) // into the other instance's memory too
	if x := page.send("", `{"action":"stale","tag":"profile:`+id+`"}`, bearer(dev)); x.status != 200 {
		t.Errorf("stale: got %d %s", x.status, x.body)
	}
	for _, at := range []*api{a, b} {
		if _, report := at.inspected(dev, "cache", ask); report.Operation.Reason != "stale_tag" && at == a {
			t.Errorf("after making stale: got %+v, want it stale by its tag", report.Operation)
		}
	}
	for _, c := range []struct {
		token, body string
		status      int
	}{
		{"", `{"action":"stale","tag":"profile:1"}`, 401},
		{ann, `{"action":"stale","tag":"profile:1"}`, 403},
		{dev, `{"action":"stale","tag":"profile:*"}`, 403},
		{admin, `{"action":"stale","tag":"profile:*"}`, 200},
		{dev, `{"action":"stale","tag":"no tag"}`, 400},
		{dev, `{"action":"stale","tag":"a:1'; DROP TABLE posts"}`, 400},
		{dev, `{"action":"stale","tag":"post:1","key":"x"}`, 400},
		{dev, `{"action":"evict","key":"` + w.service() + `:nothing:1"}`, 400},
		{dev, `{"action":"evict","key":"elsewhere:1"}`, 400},
		{dev, `{"action":"other"}`, 400},
		{dev, `nonsense`, 400},
	} {
		lines := []string{}
		if c.token != "" {
			lines = append(lines, bearer(c.token))
		}
		if x := page.send("", c.body, lines...); x.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.body, x.status, x.body, c.status)
		}
	}
}

func TestCaches_Overview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.startWith(withPlayground)
	admin, dev := w.withScopes(a, "admin", "{admin}"), w.withScopes(a, "dev", "{developer}")
	_, id := a.person("ann")
	for range 3 {
		a.send("", `{"query":"{ profile(id: \"`+id+`\") { name } }"}`)
	}
	for token, status := range map[string]int{"": 401, dev: 403} {
		var lines []string
		if token != "" {
			lines = append(lines, bearer(token))
		}
		if x := a.page().send("/events", "", lines...); x.status != status {
			t.Errorf("got %d %s, want %d", x.status, x.body, status)
		}
	}
	testenv.Eventually(t, "there are a history and a sequencer", func() bool {
		office := a.instance.node.Stats().Office
		return len(a.instance.history.all()) > 0 && office != nil && len(office.Instances) == 1
	})
	req, _ := http.NewRequest("GET", a.page().url+"/events", nil)
	req.Header.Set("Authorization", "Bearer "+admin)
	resp, err := a.transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got Content-Type %q", got)
	}
	events := bufio.NewReader(resp.Body)
	for first := true; ; first = false {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		text, is := strings.CutPrefix(line, "data: ")
		if !is {
			continue
		}
		var o inspect.Overview
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if strings.Contains(text, ":session:") && !strings.Contains(text, ":session:…") {
			t.Errorf("got a session's key in %s", text)
		}
		if first {
			if len(o.History) == 0 || !o.Instance.Granted || o.Log == nil || len(o.Log.Instances) != 1 || len(o.Hottest) == 0 {
				t.Errorf("got %s, want a history, the log and entries", text)
			}
			continue
		}
		for _, k := range o.Kinds {
			if k.Kind == "operation" && k.Memory >= 1 && k.Misses["absent"] >= 1 && len(o.History) == 0 {
				return // and the stream ends with the server, or stopping it would take its time
			}
		}
		t.Fatalf("second event: got %s, want hits of whole results, and no history", text)
	}
}
