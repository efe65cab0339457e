package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"freshet/internal/testenv"
)

const (
	showPanel  = `button[aria-label="Show Cache Inspector"]`
	panel      = `document.querySelector('.freshet-cache')`
	panelText  = panel + `.textContent`
	badge      = `(document.querySelector('.freshet-badge')?.textContent ?? '')`
	waterfall  = `(document.querySelector('.freshet-waterfall')?.textContent ?? '')`
	panelHint  = `document.querySelector('.freshet-hint')`
	entryKey   = `[...document.querySelectorAll('.freshet-outcome dd code')].at(-1).textContent`
	idle       = `!document.querySelector('.graphiql-spinner') && !document.querySelector('button.graphiql-execute-button[aria-label^="Stop"]')`
	panelTitle = chromedp.CSS(`.freshet-cache h2`)
	// compared is not always "No difference": others like posts between the two requests.
	compared = `(` + panelText + `.includes('No difference') || document.querySelector('.freshet-differences'))`
)

func useCachePanel(t *testing.T, browser context.Context, at site) {
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
	runUntil(t, tab, badge+` === 'Hit'`)
	shown := evaluate[string](t, tab, panelText)
	for _, want := range []string{"this process’s memory", "nothing else was read", "TTL left", "As of", "Age"} {
		if !strings.Contains(shown, want) {
			t.Errorf("got a hit shown as\n%s\nwant %q in it", shown, want)
		}
	}

	var id, title string
	testenv.Eventually(t, "a kept result is stale by an edit", func() bool {
		runUntil(t, tab, badge+` === 'Hit'`)
		id = evaluate[string](t, tab, `JSON.parse(`+response+`).data.feed.nodes[0].id`)
		title = "Edited for the panel " + rand.Text()
		execute(t, at, `UPDATE posts SET title = '`+title+`' WHERE id = `+id)
		waitFor(t, tab, titleIs(at, id, title))
		run(t, tab)
		return evaluate[bool](t, tab, keptMiss+` && `+panelText+`.includes('stale by tag post:`+id+` at position ')`)
	})
	shown = evaluate[string](t, tab, panelText)
	for _, want := range []string{"feed", "Max-age", "PRIVATE", "by feed", "Key"} {
		if !strings.Contains(shown, want) {
			t.Errorf("got a miss shown as\n%s\nwant %q in it", shown, want)
		}
	}
	if !strings.Contains(evaluate[string](t, tab, response), title) {
		t.Error("after an edit: got an answer without it")
	}
}

func runsWithoutCache(t *testing.T, tab *tab, _ site) {
	setVariables(t, tab, `{"first": 6}`)
	runUntil(t, tab, badge+` === 'Hit'`)
	press(t, tab, "Run without cache")
	waitFor(t, tab, badge+` === 'Bypassed' && `+idle)
	if got := evaluate[string](t, tab, waterfall); !strings.Contains(got, "SELECT") || strings.Contains(got, "✓ memory") || strings.Contains(got, "✓ redis") {
		t.Errorf("got reads\n%s\nwant all from the source", got)
	}
	if reads := evaluate[int](t, tab, `document.querySelectorAll('.freshet-waterfall > ol > li').length`); reads < 3 {
		t.Errorf("got %d reads in the waterfall, want those of the feed, its posts and their authors at least", reads)
	}
	if bars := evaluate[int](t, tab, `document.querySelectorAll('.freshet-waterfall rect').length`); bars < 4 {
		t.Errorf("got %d bars, want one for each read and statement", bars)
	}
	runUntil(t, tab, badge+` === 'Hit'`)
	press(t, tab, "Refresh")
	waitFor(t, tab, badge+` === 'Bypassed' && `+idle)
	runUntil(t, tab, badge+` === 'Hit'`)
}

func evictsAndMakesStale(t *testing.T, tab *tab, _ site) {
	setVariables(t, tab, `{"first": 5}`)
	evictAndMiss(t, tab)
	var tag string
	testenv.Eventually(t, "a kept result is stale by a tag", func() bool {
		runUntil(t, tab, badge+` === 'Hit'`)
		tag = evaluate[string](t, tab, `(() => {
			const select = document.querySelector('.freshet-cache select');
			const tag = [...select.options].map((option) => option.value).find((tag) => tag.startsWith('post:'));
			Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set.call(select, tag);
			select.dispatchEvent(new Event('change', { bubbles: true }));
			return tag;
		})()`)
		press(t, tab, "Make stale by tag")
		waitFor(t, tab, panelText+`.includes('is stale now')`)
		run(t, tab)
		return evaluate[bool](t, tab, badge+` === 'Miss' && `+panelText+`.includes('stale by tag `+tag+` at position ')`)
	})
	evaluate[chromedp.Void](t, tab, `(() => {
		for (const details of document.querySelectorAll('.freshet-waterfall details')) details.open = true;
		document.querySelector('.freshet-keys button').click();
	})()`)
	waitFor(t, tab, panelText+`.includes('Evicted freshet:')`)
}

func comparesCachedWithFresh(t *testing.T, tab *tab, _ site) {
	setVariables(t, tab, `{"first": 4}`)
	run(t, tab)
	compareUntil(t, tab, panelText+`.includes('No difference')`)

	// What the source is said to hold differs in one title.
	evaluate[chromedp.Void](t, tab, `(() => {
		const fetch = window.fetch;
		window.fetch = async (path, init) => {
			const answer = await (await fetch(path, init)).json();
			if (init.headers['Freshet-Debug'] === 'source') answer.data.feed.nodes[1].title = 'Another title';
			return Response.json(answer);
		};
	})()`)
	compareUntil(t, tab, panelText+`.includes('1 difference ')`)
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
	const toggle = `.freshet-toggle input`
	click(t, tab, toggle)
	waitFor(t, tab, response+`.includes('"freshet"')`)
	runUntil(t, tab, response+`.includes('"freshet"')`)
	click(t, tab, toggle)
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
	click(t, tab, showHeaders)
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
	click(t, tab, showPanel)
	do(t, tab, chromedp.WaitVisible(panelTitle))
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

// keptMiss is of a result that is kept since.
const keptMiss = badge + ` === 'Miss' && ` + panelText + `.includes('This one is kept now')`

// run runs the operation and returns when its answer is shown. It is no click of the mouse: on phones the panel is in front
// of the button.
func run(t *testing.T, tab *tab) {
	t.Helper()
	waitFor(t, tab, idle)
	evaluate[chromedp.Void](t, tab, `document.querySelector('.graphiql-execute-button').click()`)
	waitFor(t, tab, idle+` && `+response+` !== ''`)
}

// runUntil runs the operation again and again, until an expression about what is shown then is true. Once is not enough: a
// result ends with the first of its parts, maybe at once, and one that cannot be proved fresh is not kept at all.
func runUntil(t *testing.T, tab *tab, shown string) {
	t.Helper()
	testenv.Eventually(t, shown, func() bool {
		run(t, tab)
		return evaluate[bool](t, tab, `Boolean(`+shown+`)`)
	})
}

// evictAndMiss evicts the result of the operation, and leaves the next one, which was absent from the caches.
func evictAndMiss(t *testing.T, tab *tab) {
	t.Helper()
	testenv.Eventually(t, "a result is absent after its eviction", func() bool {
		runUntil(t, tab, badge+` === 'Hit'`)
		key := evaluate[string](t, tab, entryKey)
		press(t, tab, "Evict this entry")
		waitFor(t, tab, panelText+`.includes('Evicted this entry.')`)
		run(t, tab)
		return evaluate[bool](t, tab, keptMiss+` && `+panelText+`.includes('absent') && `+entryKey+` === '`+key+`'`)
	})
}

// compareUntil compares again and again: others may change something between the two requests.
func compareUntil(t *testing.T, tab *tab, shown string) {
	t.Helper()
	testenv.Eventually(t, shown, func() bool {
		press(t, tab, "Compare cached with fresh")
		waitFor(t, tab, compared)
		return evaluate[bool](t, tab, shown)
	})
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
