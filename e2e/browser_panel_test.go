package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
)

const (
	showPanel  = chromedp.CSS(`button[aria-label="Show Cache Inspector"]`)
	panel      = `document.querySelector('.freshet-cache')`
	panelText  = panel + `.textContent`
	badge      = `(document.querySelector('.freshet-badge')?.textContent ?? '')`
	waterfall  = `(document.querySelector('.freshet-waterfall')?.textContent ?? '')`
	panelHint  = `document.querySelector('.freshet-hint')`
	entryKey   = `[...document.querySelectorAll('.freshet-outcome dd code')].at(-1).textContent`
	idle       = `!document.querySelector('.graphiql-spinner') && !document.querySelector('button.graphiql-execute-button[aria-label^="Stop"]')`
	panelTitle = chromedp.CSS(`.freshet-cache h2`)
)

// TestCachePanel takes its cases one after the other: they share the caches of one server.
func TestCachePanel(t *testing.T) {
	t.Parallel()
	at := startSite(t)
	browser := startBrowser(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *tab, site)
	}{
		{"FollowsAResult", followsAResult},
		{"RunsWithoutCache", runsWithoutCache},
		{"EvictsAndMakesStale", evictsAndMakesStale},
		{"ComparesCachedWithFresh", comparesCachedWithFresh},
		{"CopiesAsCurl", copiesAsCurl},
		{"KeepsTabsApart", keepsTabsApart},
		{"HidesItsPartOfTheAnswer", hidesItsPartOfTheAnswer},
		{"ChangesAreNotRepeated", changesAreNotRepeated},
		{"NothingForOthers", nothingForOthers},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, visitPanel(t, browser, at), at) })
	}
}

func followsAResult(t *testing.T, tab *tab, at site) {
	setVariables(t, tab, `{"first": 7}`)
	runUntil(t, tab, badge+` === 'Miss'`)
	shown := evaluate[string](t, tab, panelText)
	for _, want := range []string{"This one is kept now", "feed", "SELECT", "Max-age", "PRIVATE", "by feed", "Key"} {
		if !strings.Contains(shown, want) {
			t.Errorf("got a miss shown as\n%s\nwant %q in it", shown, want)
		}
	}
	if reads := evaluate[int](t, tab, `document.querySelectorAll('.freshet-waterfall > ol > li').length`); reads < 3 {
		t.Errorf("got %d reads in the waterfall, want those of the feed, its posts and their authors at least", reads)
	}
	if bars := evaluate[int](t, tab, `document.querySelectorAll('.freshet-waterfall rect').length`); bars < 4 {
		t.Errorf("got %d bars, want one for each read and statement", bars)
	}
	runUntil(t, tab, badge+` === 'Hit'`)
	shown = evaluate[string](t, tab, panelText)
	for _, want := range []string{"this process’s memory", "nothing else was read", "TTL left", "As of", "Age"} {
		if !strings.Contains(shown, want) {
			t.Errorf("got a hit shown as\n%s\nwant %q in it", shown, want)
		}
	}

	id := evaluate[string](t, tab, `JSON.parse(`+response+`).data.feed.nodes[0].id`)
	execute(t, at, `UPDATE posts SET title = 'Edited for the panel' WHERE id = `+id)
	waitFor(t, tab, titleIs(at, id, "Edited for the panel"))
	runUntil(t, tab, badge+` === 'Miss'`)
	if shown = evaluate[string](t, tab, panelText); !strings.Contains(shown, "stale by tag post:"+id+" at position ") {
		t.Errorf("after an edit: got\n%s\nwant it stale by the post's tag", shown)
	}
	if !strings.Contains(evaluate[string](t, tab, response), "Edited for the panel") {
		t.Error("after an edit: got an answer without it")
	}
}

func runsWithoutCache(t *testing.T, tab *tab, _ site) {
	setVariables(t, tab, `{"first": 6}`)
	runUntil(t, tab, badge+` === 'Miss'`)
	runUntil(t, tab, badge+` === 'Hit'`)
	press(t, tab, "Run without cache")
	waitFor(t, tab, badge+` === 'Bypassed' && `+idle)
	if got := evaluate[string](t, tab, waterfall); !strings.Contains(got, "SELECT") || strings.Contains(got, "✓ memory") || strings.Contains(got, "✓ redis") {
		t.Errorf("got reads\n%s\nwant all from the source", got)
	}
	runUntil(t, tab, badge+` === 'Hit'`)
	press(t, tab, "Refresh")
	waitFor(t, tab, badge+` === 'Bypassed' && `+idle)
	runUntil(t, tab, badge+` === 'Hit'`)
}

func evictsAndMakesStale(t *testing.T, tab *tab, _ site) {
	setVariables(t, tab, `{"first": 5}`)
	runUntil(t, tab, badge+` === 'Miss'`)
	runUntil(t, tab, badge+` === 'Hit'`)
	key := evaluate[string](t, tab, entryKey)
	press(t, tab, "Evict this entry")
	waitFor(t, tab, panelText+`.includes('Evicted this entry.')`)
	runUntil(t, tab, badge+` === 'Miss'`)
	if got := evaluate[string](t, tab, panelText); !strings.Contains(got, "absent") || !strings.Contains(got, key) {
		t.Errorf("after an eviction: got\n%s\nwant %s to be absent", got, key)
	}
	runUntil(t, tab, badge+` === 'Hit'`)
	tag := evaluate[string](t, tab, `(() => {
		const select = document.querySelector('.freshet-cache select');
		const tag = [...select.options].map((option) => option.value).find((tag) => tag.startsWith('post:'));
		Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set.call(select, tag);
		select.dispatchEvent(new Event('change', { bubbles: true }));
		return tag;
	})()`)
	press(t, tab, "Make stale by tag")
	waitFor(t, tab, panelText+`.includes('is stale now')`)
	runUntil(t, tab, badge+` === 'Miss'`)
	if got := evaluate[string](t, tab, panelText); !strings.Contains(got, "stale by tag "+tag+" at position ") {
		t.Errorf("got\n%s\nwant it stale by %s", got, tag)
	}
	evaluate[chromedp.Void](t, tab, `(() => {
		for (const details of document.querySelectorAll('.freshet-waterfall details')) details.open = true;
		document.querySelector('.freshet-keys button').click();
	})()`)
	waitFor(t, tab, panelText+`.includes('Evicted freshet:')`)
}

func comparesCachedWithFresh(t *testing.T, tab *tab, _ site) {
	setVariables(t, tab, `{"first": 4}`)
	runUntil(t, tab, badge+` === 'Miss'`)
	press(t, tab, "Compare cached with fresh")
	waitFor(t, tab, panelText+`.includes('No difference')`)

	// What the source is said to hold differs in one title.
	evaluate[chromedp.Void](t, tab, `(() => {
		const fetch = window.fetch;
		window.fetch = async (path, init) => {
			const answer = await (await fetch(path, init)).json();
			if (init.headers['Freshet-Debug'] === 'source') answer.data.feed.nodes[1].title = 'Another title';
			return Response.json(answer);
		};
	})()`)
	press(t, tab, "Compare cached with fresh")
	waitFor(t, tab, panelText+`.includes('1 difference ')`)
	if got := evaluate[string](t, tab, `document.querySelector('.freshet-differences li').innerText`); !strings.Contains(got, "data.feed.nodes[1].title") ||
		!strings.Contains(got, `+ "Another title"`) || !strings.Contains(got, `− "`) {
		t.Errorf("got %s, want the path and both titles", got)
	}
}

func copiesAsCurl(t *testing.T, tab *tab, at site) {
	setVariables(t, tab, `{"first": 3, "after": null}`)
	evaluate[chromedp.Void](t, tab, `document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.replaceRange("# it's a \"quoted\" $HOME, with `+at.page+`\n", { line: 0, ch: 0 })`)
	runUntil(t, tab, `document.querySelector('.freshet-badge')`)
	press(t, tab, "Copy as curl")
	waitFor(t, tab, `document.querySelector('.freshet-cache textarea')`)
	command := evaluate[string](t, tab, `document.querySelector('.freshet-cache textarea').value`)
	if strings.Contains(command, at.page) || !strings.Contains(command, "$TOKEN") {
		t.Errorf("got %s, want $TOKEN in place of the token", command)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", command)
	shell.Env = append(os.Environ(), "TOKEN="+at.page)
	said, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("got %v and %s from\n%s", err, said, command)
	}
	var answer struct {
		Data       struct{ Feed struct{ Nodes []post } }
		Errors     []any
		Extensions struct{ Freshet map[string]any }
	}
	if err := json.Unmarshal(said, &answer); err != nil || len(answer.Errors) > 0 || answer.Extensions.Freshet == nil {
		t.Errorf("got %s (%v) from\n%s\nwant the answer and its report", said, err, command)
	}
}

func keepsTabsApart(t *testing.T, tab *tab, _ site) {
	runUntil(t, tab, `document.querySelector('.freshet-badge')`)
	showTab(t, tab, "Configuration")
	waitFor(t, tab, `!document.querySelector('.freshet-badge') && `+panelText+`.includes('Run the operation')`)
	showTab(t, tab, "Feed")
	waitFor(t, tab, `document.querySelector('.freshet-badge')`)
}

func hidesItsPartOfTheAnswer(t *testing.T, tab *tab, _ site) {
	runUntil(t, tab, `document.querySelector('.freshet-badge')`)
	if got := evaluate[string](t, tab, response); strings.Contains(got, "extensions") {
		t.Errorf("got %s, want no extensions", got)
	}
	toggle := chromedp.CSS(`.freshet-toggle input`)
	do(t, tab, chromedp.Click(toggle))
	waitFor(t, tab, response+`.includes('"freshet"')`)
	runUntil(t, tab, response+`.includes('"freshet"')`)
	do(t, tab, chromedp.Click(toggle))
	waitFor(t, tab, response+` && !`+response+`.includes('"freshet"')`)
}

// changesAreNotRepeated: nobody expects a button of an inspector to publish a post again.
func changesAreNotRepeated(t *testing.T, tab *tab, _ site) {
	showTab(t, tab, "EditProfile")
	runUntil(t, tab, badge+` === 'Uncacheable'`)
	shown := evaluate[string](t, tab, panelText)
	if !strings.Contains(shown, "a mutation is never kept") || !strings.Contains(shown, "Statements outside the caches") {
		t.Errorf("got\n%s\nwant the reason and the mutation's statements", shown)
	}
	for _, name := range []string{"Compare cached with fresh", "Refresh", "Evict this entry", "Run without cache"} {
		if !evaluate[bool](t, tab, button(name)+`.disabled`) {
			t.Errorf("%s: got it enabled for a mutation", name)
		}
	}
}

func nothingForOthers(t *testing.T, tab *tab, _ site) {
	do(t, tab, chromedp.Click(showHeaders))
	evaluate[chromedp.Void](t, tab, `document.querySelector('.graphiql-editor-tool[aria-label="Headers"] .graphiql-editor:not(.hidden) .CodeMirror').CodeMirror.setValue('{}')`)
	runUntil(t, tab, panelHint)
	shown := evaluate[string](t, tab, panelText)
	if !strings.Contains(shown, "developer") || evaluate[bool](t, tab, badge+` !== '' || `+waterfall+` !== ''`) {
		t.Errorf("got\n%s\nwant the hint alone", shown)
	}
}

// visitPanel opens the playground with the panel beside it.
func visitPanel(t *testing.T, browser context.Context, at site, before ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	tab := visitPlayground(t, browser, at, before...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the panel showed\n%s\nbeside\n%.400s", evaluate[string](t, tab, panel+`?.innerText ?? ''`), evaluate[string](t, tab, response))
		}
	})
	do(t, tab, chromedp.Click(showPanel), chromedp.WaitVisible(panelTitle))
	return tab
}

// execute changes rows behind the server's back.
func execute(t *testing.T, at site, sql string) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), at.database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }()
	if done, err := db.Exec(t.Context(), sql); err != nil || done.RowsAffected() == 0 {
		t.Fatalf("%s: got %v, %v; want it to change a row", sql, done, err)
	}
}

// showTab is no click of the mouse, which could miss: a panel that has just opened still moves the tabs.
func showTab(t *testing.T, tab *tab, title string) {
	t.Helper()
	evaluate[chromedp.Void](t, tab, `document.querySelector('.graphiql-tab-button[title="`+title+`"]').click()`)
	waitFor(t, tab, `document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.operationName === '`+title+`'`)
}

func setVariables(t *testing.T, tab *tab, variables string) {
	t.Helper()
	evaluate[chromedp.Void](t, tab, `document.querySelector('.graphiql-editor-tool[aria-label="Variables"] .CodeMirror').CodeMirror.setValue(`+"`"+variables+"`"+`)`)
}

// runUntil runs the operation, and waits for its answer and for an expression about what is shown then.
func runUntil(t *testing.T, tab *tab, shown string) {
	t.Helper()
	runInPanel(t, tab)
	waitFor(t, tab, idle+` && `+response+` !== '' && (`+shown+`)`)
}

func button(name string) string {
	return `[...document.querySelectorAll('.freshet-cache button')].find((button) => button.textContent === '` + name + `')`
}

// press is a click on a button of the panel that is enabled.
func press(t *testing.T, tab *tab, name string) {
	t.Helper()
	waitFor(t, tab, button(name)+`?.disabled === false`)
	evaluate[chromedp.Void](t, tab, button(name)+`.click()`)
}

// titleIs polls by another operation than the one whose result the test looks at.
func titleIs(at site, id, title string) string {
	return `(window.poll ??= fetch('/graphql', {
		method: 'POST',
		headers: { 'Content-Type': 'application/json', Authorization: 'Bearer ` + at.page + `' },
		body: JSON.stringify({ query: '{ post(id: "` + id + `") { title } }' }),
	}).then((response) => response.json()).then(({ data }) => {
		window.title = data?.post?.title;
		window.poll = undefined;
	})) && window.title === '` + title + `'`
}
