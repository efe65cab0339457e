package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"freshet/internal/playground"
)

const (
	overviewState = `document.querySelector('.state').textContent`
	overviewText  = `document.querySelector('main').innerText`
	tokenField    = chromedp.CSS(`#token`)
)

// useOverview looks at the page with a server that says what the tests want.
func useOverview(t *testing.T, browser context.Context, _ site) {
	for name, test := range map[string]func(*testing.T, context.Context){
		"ShowsFigures": showsFigures,
		"Pauses":       pauses,
		"Reconnects":   reconnects,
		"AsksForToken": asksForToken,
		"ShowsNothing": showsNothing,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

// overviewOfServer looks at the page of a real one.
func overviewOfServer(t *testing.T, browser context.Context, at site) {
	tab := openTab(t, browser, at.origin) // what is refused is also logged as an error
	do(t, tab, chromedp.Navigate(at.origin+playground.CachePath))
	waitFor(t, tab, `document.querySelector('#token') || `+overviewState+` === 'Live'`)
	if evaluate[bool](t, tab, `document.querySelector('#token') !== null`) {
		enter(t, tab, at.token)
		waitFor(t, tab, overviewText+`.includes('The server refused the token')`)
		enter(t, tab, at.admin)
	}
	waitFor(t, tab, overviewState+` === 'Live'`)
	// A request of this page's own shows up.
	evaluate[chromedp.Void](t, tab, `fetch('/graphql', {
		method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: 'Bearer `+at.token+`' },
		body: JSON.stringify({ query: '{ feed(first: 20) { nodes { id title author { handle } } } }' }),
	})`)
	waitFor(t, tab, `[...document.querySelectorAll('figcaption')].some((caption) => caption.innerText.includes('feed'))`)
	for _, want := range []string{"Hit rate, last minute", "Yes", "Kinds, since the start", "This process, values", "freshet:"} {
		waitFor(t, tab, overviewText+`.includes('`+want+`')`)
	}
	_, faults := tab.noted()
	for _, fault := range faults {
		if !strings.Contains(fault, "Failed to load resource") {
			t.Errorf("got %s, want nothing of the kind", fault)
		}
	}
}

// enter types a token into the form, instead of what is in it, and presses the button.
func enter(t *testing.T, tab *tab, token string) {
	t.Helper()
	waitFor(t, tab, `(document.querySelector('#token').select(), true)`)
	do(t, tab, chromedp.SendKeys(tokenField, token))
	click(t, tab, ".token button")
}

func showsFigures(t *testing.T, browser context.Context) {
	at, events := startOverview(t, playground.Options{AdminToken: "secret"})
	tab := visitOverview(t, browser, at)
	events.send(snapshot(1_000_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live'`)
	shown := evaluate[string](t, tab, overviewText)
	for _, want := range []string{
		"instance-one", "up 20.5 h", "3 positions", "of 1,200 verified", "freshet:post:17", "2 KiB", "stale_tag 4, absent 2",
		"512 KiB of 1 MiB (50 %), 40 entries", "7 keys evicted", "75 % of 400 lookups", "instance-two", "12 positions",
		"Head 4,711", "ios 4.2.0", "FeedScreen", "90 %",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("got\n%s\nwant %q in it", shown, want)
		}
	}
	if got := evaluate[string](t, tab, `document.querySelector('figcaption').innerText`); !strings.Contains(got, "80 %") || !strings.Contains(got, "50 reads") {
		t.Errorf("got the plot of the history titled %q, want 80 %% of 50 reads", got)
	}
	if evaluate[bool](t, tab, `document.querySelector('[role="alert"]') !== null`) {
		t.Error("got an alarm, want none without inconsistencies")
	}

	events.send(snapshot(1_002_000, 150, 2))
	waitFor(t, tab, `document.querySelector('[role="alert"]')?.innerText.includes('2 inconsistencies!')`)
	if got := evaluate[string](t, tab, `document.querySelector('figcaption').innerText`); !strings.Contains(got, "90 %") || !strings.Contains(got, "100 reads") {
		t.Errorf("got the plot titled %q, want 90 %% of 100 reads", got)
	}
}

func pauses(t *testing.T, browser context.Context) {
	at, events := startOverview(t, playground.Options{AdminToken: "secret"})
	tab := visitOverview(t, browser, at)
	events.send(snapshot(1_000_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live'`)
	click(t, tab, ".top button")
	waitFor(t, tab, overviewState+` === 'Paused'`)
	if !strings.Contains(evaluate[string](t, tab, overviewText), "instance-one") {
		t.Error("got the figures gone, want them to stay while paused")
	}
	click(t, tab, ".top button")
	events.send(snapshot(1_002_000, 100, 1))
	waitFor(t, tab, overviewState+` === 'Live' && document.querySelector('[role="alert"]')`)
}

func reconnects(t *testing.T, browser context.Context) {
	at, events := startOverview(t, playground.Options{AdminToken: "secret"})
	tab := visitOverview(t, browser, at)
	events.send(snapshot(1_000_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live'`)
	evaluate[chromedp.Void](t, tab, `(() => {
		window.states = [];
		new MutationObserver(() => states.push(`+overviewState+`)).observe(document.querySelector('.state'), { characterData: true, childList: true, subtree: true });
	})()`)
	events.end()
	waitFor(t, tab, `states.length >= 2`)
	if got := evaluate[[]string](t, tab, `states`); got[0] != "Disconnected; trying again in 1 s" || got[1] != "Live" {
		t.Errorf("got states %q, want a pause and then a connection", got)
	}
}

func asksForToken(t *testing.T, browser context.Context) {
	at, events := startOverview(t, playground.Options{})
	tab := openTab(t, browser, at) // the refusals are also logged as errors
	do(t, tab, chromedp.Navigate(at+playground.CachePath), chromedp.WaitVisible(tokenField))
	enter(t, tab, "wrong")
	waitFor(t, tab, overviewText+`.includes('The server refused the token')`)
	enter(t, tab, "secret")
	events.send(snapshot(1_000_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live'`)
	if got := evaluate[string](t, tab, `JSON.stringify(localStorage) + document.cookie`); strings.Contains(got, "secret") {
		t.Errorf("got %s stored, want no token beyond the tab", got)
	}
	do(t, tab, chromedp.Reload())
	events.send(snapshot(1_002_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live'`)
	evaluate[chromedp.Void](t, tab, `[...document.querySelectorAll('.top button')].at(-1).click()`)
	waitFor(t, tab, `document.querySelector('#token')`)
	if got := evaluate[string](t, tab, `JSON.stringify(sessionStorage) + document.body.innerText`); strings.Contains(got, "secret") || strings.Contains(got, "instance-one") {
		t.Errorf("got %s after the token was to be forgotten", got)
	}
}

func showsNothing(t *testing.T, browser context.Context) {
	at, events := startOverview(t, playground.Options{AdminToken: "secret"})
	tab := visitOverview(t, browser, at)
	events.send(`{"at": 1000, "instance": {"name": "new", "granted": false, "position": 0,
		"epoch": "0", "lag": 0, "silenceMs": 0, "sequencer": "", "uptimeS": 0}, "inconsistent": 0, "verified": 0, "log": null, "kinds": null, "history": null, "hottest": null,
		"largest": null, "slowest": null, "memory": null, "redis": null, "available": false, "builds": null}`)
	waitFor(t, tab, overviewState+` === 'Live'`)
	shown := evaluate[string](t, tab, overviewText)
	for _, want := range []string{
		"Nothing has been read in the last 10 minutes", "Redis is away", "No build of an app", "Nothing has been loaded lately", "no grant", "Out of use",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("got\n%s\nwant %q in it", shown, want)
		}
	}
	if strings.Contains(shown, "NaN") || strings.Contains(shown, "undefined") {
		t.Errorf("got\n%s\nwant no figure made of nothing", shown)
	}
}

// events are those of a server of the overview. Each of its streams begins with the last one: none is lost on a stream that
// the page has left already.
type events struct {
	mu      sync.Mutex
	last    string
	changed chan struct{} // closed when there is another one
	ended   chan struct{} // closed when the streams end
}

// startOverview serves the pages, and the events to whoever has the token "secret".
func startOverview(t *testing.T, options playground.Options) (origin string, sent *events) {
	t.Helper()
	sent = &events{changed: make(chan struct{}), ended: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("/playground/", playground.Handler(options))
	mux.HandleFunc("GET "+playground.CachePath+"/events", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		sent.stream(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, sent
}

func (e *events) stream(w http.ResponseWriter, r *http.Request) {
	_, _, ended := e.now()
	for {
		event, changed, _ := e.now()
		if event != "" {
			_, _ = io.WriteString(w, "data: "+strings.ReplaceAll(event, "\n", "\ndata: ")+"\n\n")
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-ended:
			return
		case <-changed:
		}
	}
}

func (e *events) now() (event string, changed, ended chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last, e.changed, e.ended
}

func (e *events) send(event string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = event
	close(e.changed)
	e.changed = make(chan struct{})
}

// end ends all streams that there are.
func (e *events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.ended)
	e.ended = make(chan struct{})
}

func visitOverview(t *testing.T, browser context.Context, origin string, before ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	tab := visit(t, browser, origin)
	do(t, tab, before...)
	do(t, tab, chromedp.Navigate(origin+playground.CachePath), chromedp.WaitVisible(chromedp.CSS(`.top h1`)))
	return tab
}

// snapshot is of an instance that has found posts so many times, 40 times of them since its history begins.
func snapshot(at, hits, inconsistent int) string {
	return fmt.Sprintf(`{"at": %[1]d,
		"instance": {"name": "instance-one", "granted": true, "position": 4708, "epoch": "af31", "lag": 3, "silenceMs": 40, "sequencer": "instance-one", "uptimeS": 73800},
		"log": {"head": 4711, "settled": 4711, "outboxRows": 2, "oldestTransactionMs": 15, "instances": [
			{"name": "instance-one", "positions": 3, "forMs": 4}, {"name": "instance-two", "positions": 12, "forMs": 230}]},
		"kinds": [
			{"kind": "post", "memory": %[2]d, "redis": 0, "misses": {"absent": 10}, "loads": 10, "loadErrors": 0, "stale": 0, "early": 1, "loadSeconds": 0.05, "batches": 50, "batchSeconds": 0.02},
			{"kind": "profile", "memory": 0, "redis": 0, "misses": {"absent": 2, "stale_tag": 4}, "loads": 6, "loadErrors": 1, "stale": 0, "early": 0, "loadSeconds": 0.01, "batches": 6, "batchSeconds": 0.02}],
		"history": [
			{"at": 970000, "kinds": [{"kind": "post", "hits": 60, "misses": 0}, {"kind": "profile", "hits": 0, "misses": 6}]},
			{"at": 980000, "kinds": [{"kind": "post", "hits": 80, "misses": 10}, {"kind": "profile", "hits": 0, "misses": 6}]},
			{"at": 999000, "kinds": [{"kind": "post", "hits": 100, "misses": 10}, {"kind": "profile", "hits": 0, "misses": 6}]}],
		"hottest": [{"key": "freshet:post:17", "kind": "post", "bytes": 2048, "age": 4, "ttl": 296, "loadMs": 5.2}],
		"largest": [{"key": "freshet:feed:1", "kind": "feed", "bytes": 90000, "age": null, "ttl": null, "loadMs": 0}],
		"slowest": [{"key": "freshet:feed:1", "kind": "feed", "bytes": 90000, "age": 12.5, "ttl": 47.5, "loadMs": 123.4}],
		"memory": [{"tier": "values", "entries": 40, "bytes": 524288, "limit": 1048576}, {"tier": "results", "entries": 1, "bytes": 2000, "limit": 1048576}],
		"redis": {"usedMemory": 2097152, "maxMemory": 8388608, "evictedKeys": 7, "hits": 300, "misses": 100, "masters": 1},
		"available": true, "inconsistent": %[3]d, "verified": 1200,
		"builds": [{"app": "ios", "build": "4.2.0", "state": "active", "operations": [
			{"id": "sha256:0", "name": "FeedScreen", "hits": 90, "misses": 10, "uncacheable": 0, "maxAge": 60, "scope": "PRIVATE"}]}]}`,
		at, hits, inconsistent)
}
