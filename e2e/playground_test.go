package e2e_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"freshet/internal/playground"
)

// Parts of the page, as GraphiQL names them.
const (
	runOperation      = `button.graphiql-execute-button`
	showDocumentation = `button[aria-label="Show Documentation Explorer"]`
	showHistory       = `button[aria-label="Show History"]`
	openSettings      = `button[aria-label="Open settings dialog"]`
	showHeaders       = `button[data-name="headers"]`

	response = `(document.querySelector('.result-window .CodeMirror')?.CodeMirror.getValue() ?? '')`
	headers  = `(document.querySelector('.graphiql-editor-tool[aria-label="Headers"] .graphiql-editor:not(.hidden) .CodeMirror')?.CodeMirror.getValue() ?? '')`
	tabs     = `[...document.querySelectorAll('.graphiql-tab-button')]`
)

func usePlayground(t *testing.T, browser context.Context, at site) {
	for name, test := range map[string]func(*testing.T, context.Context, site){
		"RunsFeedAsDemo":           runsFeedAsDemo,
		"EverySampleRuns":          everySampleRuns,
		"DocumentationShowsPolicy": documentationShowsPolicy,
		"DialogsKeepThePolicy":     dialogsKeepThePolicy,
		"TokenIsNotStored":         tokenIsNotStored,
		"FitsPhone":                fitsPhone,
		"TabLeavesTheEditor":       tabLeavesTheEditor,
		"PicturesAreNotLoaded":     picturesAreNotLoaded,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser, at) })
	}
}

type post struct {
	Title string `json:"title"`
}

func runsFeedAsDemo(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at)
	click(t, tab, runOperation)
	waitFor(t, tab, `JSON.parse(`+response+` || '{}').data`)
	posts := evaluate[[]post](t, tab, `JSON.parse(`+response+`).data.feed.nodes`)
	if len(posts) != 20 {
		t.Errorf("got %d posts in the answer, want 20", len(posts))
	}
	shown := evaluate[string](t, tab, `document.querySelector('.result-window').innerText`)
	if len(posts) == 0 || !strings.Contains(shown, posts[0].Title) {
		t.Errorf("got the answer shown as %s, want the first of %v in it", shown, posts)
	}
}

func everySampleRuns(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at)
	click(t, tab, showHeaders)
	titles := evaluate[[]string](t, tab, tabs+`.map((tab) => tab.innerText.trim())`)
	if len(titles) < 5 {
		t.Fatalf("got tabs %v, want one for each sample", titles)
	}
	for _, title := range titles {
		click(t, tab, `.graphiql-tab-button[title="`+title+`"]`)
		waitFor(t, tab, `document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.operationName === '`+title+`'`)
		if got := evaluate[string](t, tab, headers); !strings.Contains(got, "Bearer "+at.page) {
			t.Errorf("%s: got headers %s, want the demo token", title, got)
		}
		click(t, tab, runOperation)
		waitFor(t, tab, response+`.includes('"data"')`)
		answer := evaluate[string](t, tab, response)
		if strings.Contains(answer, `"errors"`) || strings.Contains(answer, `"message"`) {
			t.Errorf("%s: got %s, want no errors", title, answer)
		}
	}
}

func documentationShowsPolicy(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at)
	click(t, tab, showDocumentation)
	click(t, tab, `.graphiql-doc-explorer-content .graphiql-doc-explorer-type-name`)
	const items = `[...document.querySelectorAll('.graphiql-doc-explorer-item')]`
	waitFor(t, tab, items+`.length > 0`)
	policies := evaluate[map[string]string](t, tab, `Object.fromEntries(`+items+`.map((item) => [
		item.querySelector('.graphiql-doc-explorer-field-name').innerText, item.querySelector('em > code')?.innerText ?? '']))`)
	if got := policies["feed"]; !strings.HasPrefix(got, "Cache: ") || !strings.Contains(got, "private") {
		t.Errorf("got policy %q shown beside Query.feed, want a private one", got)
	}
	if got := policies["config"]; !strings.HasPrefix(got, "Cache: ") || strings.Contains(got, "private") {
		t.Errorf("got policy %q shown beside Query.config, want a public one", got)
	}
}

// dialogsKeepThePolicy opens what is not there at first: dialogs lock scrolling and completion has its own windows, each
// with styles that the content security policy could refuse.
func dialogsKeepThePolicy(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at)
	click(t, tab, openSettings)
	click(t, tab, `.graphiql-dialog button[data-theme="dark"]`)
	waitFor(t, tab, `document.body.classList.contains('graphiql-dark')`)
	if got := evaluate[string](t, tab, `getComputedStyle(document.body).overflow`); got != "hidden" {
		t.Errorf("got overflow %q behind a dialog, want hidden", got)
	}
	click(t, tab, `.graphiql-dialog-close`)
	waitFor(t, tab, `!document.querySelector('.graphiql-dialog')`)
	evaluate[chromedp.Void](t, tab, `(() => {
		const editor = document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror;
		editor.focus();
		editor.setValue('{ ');
		editor.setCursor(0, 2);
		editor.execCommand('autocomplete');
	})()`)
	waitFor(t, tab, `document.querySelector('.CodeMirror-hints')?.innerText.includes('feed')`)
}

func tokenIsNotStored(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at)
	click(t, tab, runOperation)
	waitFor(t, tab, response+`.includes('"data"')`)
	evaluate[chromedp.Void](t, tab, `document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.setValue('query Mine { __typename }')`)
	waitFor(t, tab, `localStorage.getItem('freshet:graphiql:tabState')?.includes('Mine')`)
	stored := evaluate[string](t, tab, `JSON.stringify(localStorage)`)
	if strings.Contains(stored, at.page) {
		t.Errorf("got %s stored, want it without the token", stored)
	}
	do(t, tab, chromedp.Reload())
	waitFor(t, tab, tabs+`.some((tab) => tab.title === 'Mine')`)
	click(t, tab, showHeaders)
	if got := evaluate[string](t, tab, headers); !strings.Contains(got, "Bearer "+at.page) {
		t.Errorf("got headers %s after a reload, want the demo token", got)
	}
	click(t, tab, showHistory)
	click(t, tab, `.graphiql-history-item-label`)
	waitFor(t, tab, `document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.getValue().includes('feed')`)
	if got := evaluate[string](t, tab, headers); !strings.Contains(got, "Bearer "+at.page) {
		t.Errorf("got headers %s from the history, want the demo token", got)
	}
}

func fitsPhone(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	click(t, tab, runOperation)
	waitFor(t, tab, response+`.includes('"data"')`)
	if got := evaluate[int](t, tab, `document.documentElement.scrollWidth`); got != 390 {
		t.Errorf("got a page %d px wide, want the phone's 390", got)
	}
	if got := evaluate[int](t, tab, `document.querySelector('.result-window').clientWidth`); got < 300 {
		t.Errorf("got an answer %d px wide, want it over the phone's width", got)
	}
	click(t, tab, showDocumentation)
	waitFor(t, tab, `!document.querySelector('.graphiql-sessions')?.checkVisibility()`)
	if got := evaluate[int](t, tab, `document.querySelector('.graphiql-plugin').clientWidth`); got < 300 {
		t.Errorf("got documentation %d px wide, want it over the phone's width", got)
	}
}

func tabLeavesTheEditor(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at)
	const editor = `document.querySelector('.graphiql-query-editor .CodeMirror')`
	for _, modifiers := range []chromedp.KeyOption{chromedp.KeyModifiers(), chromedp.KeyModifiers(chromedp.ModifierShift)} {
		evaluate[chromedp.Void](t, tab, editor+`.CodeMirror.focus()`)
		do(t, tab, chromedp.KeyEvent(kb.Tab, modifiers))
		if evaluate[bool](t, tab, editor+`.contains(document.activeElement)`) {
			t.Error("got the focus still in the editor after Tab, want it behind or before")
		}
	}
}

// picturesAreNotLoaded asks the editor what it would show to the mouse over an address, for a mouse has to wait.
func picturesAreNotLoaded(t *testing.T, browser context.Context, at site) {
	tab := visitPlayground(t, browser, at)
	click(t, tab, runOperation)
	waitFor(t, tab, response+`.includes('"data"')`)
	if evaluate[bool](t, tab, `(() => {
		const editor = document.querySelector('.result-window .CodeMirror').CodeMirror;
		editor.setValue('{ "avatarUrl": "https://elsewhere.example/picture.png" }');
		const place = { line: 0, ch: 30 };
		return Boolean(editor.getHelper(place, 'info')(editor.getTokenAt(place, true), {}, editor, place));
	})()`) {
		t.Error("got a preview of a picture, want nothing that loads from elsewhere")
	}
}

// visitPlayground returns when the page is there and knows the schema.
func visitPlayground(t *testing.T, browser context.Context, at site, before ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	tab := visit(t, browser, at.origin)
	do(t, tab, before...)
	do(t, tab, chromedp.Navigate(at.origin+playground.Path), chromedp.WaitVisible(chromedp.CSS(runOperation)))
	waitFor(t, tab, `document.querySelector('.graphiql-query-editor .CodeMirror')?.CodeMirror.options.lint.schema`)
	return tab
}
