package e2e_test

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"freshet/internal/playground"
)

const (
	focused     = `(document.activeElement === document.body ? '' : document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText.trim())`
	executeName = `document.activeElement.matches('.graphiql-execute-button')`
	inPanel     = `document.activeElement.closest('.freshet-cache')`
	controls    = `:is(a[href], button, select, summary, input, textarea, [tabindex="0"])`
	// most is more than any page has to tab through.
	most = 200
)

// useKeyboard uses both pages without a mouse, at both sizes.
func useKeyboard(t *testing.T, browser context.Context, at site) {
	for device, size := range devices {
		t.Run("Panel/"+device, func(t *testing.T) { panelByKeyboard(t, visitPlayground(t, browser, at, size)) })
		t.Run("Overview/"+device, func(t *testing.T) {
			origin, events := startOverview(t, playground.Options{AdminToken: "secret"})
			tab := visitOverview(t, browser, origin, size)
			events.send(busySnapshot())
			waitFor(t, tab, overviewState+` === 'Live'`)
			overviewByKeyboard(t, tab, events)
		})
	}
	t.Run("TokenForm", func(t *testing.T) {
		origin, events := startOverview(t, playground.Options{})
		tokenByKeyboard(t, openTab(t, browser, origin), origin, events)
	})
}

func panelByKeyboard(t *testing.T, tab *tab) {
	tabTo(t, tab, executeName)
	keys(t, tab, kb.Enter)
	waitFor(t, tab, response+`.includes('"data"')`)
	tabTo(t, tab, focused+` === 'Show Cache Inspector'`)
	keys(t, tab, kb.Enter)
	waitFor(t, tab, `document.querySelector('.freshet-badge') && `+focused+`.includes('Cache Inspector')`)

	runUntil(t, tab, badge+` === 'Hit'`) // what is not kept cannot be evicted
	by := func(name, key, shown string) {
		t.Helper()
		tabTo(t, tab, inPanel+` && `+focused+` === '`+name+`'`)
		keys(t, tab, key)
		waitFor(t, tab, idle+` && (`+shown+`)`)
		if got := evaluate[string](t, tab, focused); got != name {
			t.Errorf("%s: got the focus on %q after it, want it to stay", name, got)
		}
	}
	by("Evict this entry", kb.Enter, panelText+`.includes('Evicted this entry.')`)
	by("Run without cache", kb.Enter, badge+` === 'Bypassed'`)
	by("Refresh", " ", badge+` === 'Bypassed' && `+panelText+`.includes('asked for it')`)
	by("Compare cached with fresh", kb.Enter, compared)
	by("Copy as curl", " ", `document.querySelector('.freshet-cache textarea')`)
	tabTo(t, tab, `document.activeElement.matches('.freshet-cache select')`)
	before := evaluate[string](t, tab, `document.activeElement.value`)
	keys(t, tab, kb.ArrowDown)
	waitFor(t, tab, `document.activeElement.value !== '`+before+`'`)
	by("Make stale by tag", " ", panelText+`.includes('is stale now')`)
	tabTo(t, tab, `document.activeElement.matches('.freshet-waterfall summary')`)
	keys(t, tab, kb.Enter)
	waitFor(t, tab, `document.activeElement.parentElement.open`)
	tabTo(t, tab, `document.activeElement.matches('.freshet-keys summary')`)
	keys(t, tab, " ")
	waitFor(t, tab, `document.activeElement.parentElement.open`)
	tabTo(t, tab, focused+`.startsWith('Evict freshet:')`)
	keys(t, tab, kb.Enter)
	waitFor(t, tab, panelText+`.includes('Evicted freshet:')`)
	tabTo(t, tab, `document.activeElement.matches('.freshet-toggle input')`)
	keys(t, tab, " ")
	waitFor(t, tab, response+`.includes('"freshet"')`)
	walk(t, tab, ".freshet-cache")
	follows(t, tab, "Live overview", playground.CachePath)
}

func overviewByKeyboard(t *testing.T, tab *tab, events *events) {
	walk(t, tab, "body")
	tabTo(t, tab, focused+` === 'Pause'`)
	keys(t, tab, " ")
	waitFor(t, tab, overviewState+` === 'Paused'`)
	keys(t, tab, kb.Enter)
	events.send(snapshot(1_002_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live'`)
	tabTo(t, tab, focused+` === 'Kinds' && document.activeElement.matches('.scroll')`)
	if evaluate[bool](t, tab, `document.activeElement.scrollWidth > document.activeElement.clientWidth`) {
		keys(t, tab, kb.ArrowRight)
		waitFor(t, tab, `document.activeElement.scrollLeft > 0`)
	}
	tabTo(t, tab, focused+` === 'Forget the token'`)
	keys(t, tab, kb.Enter)
	waitFor(t, tab, `document.activeElement.id === 'token'`)
	keys(t, tab, "secret", kb.Enter)
	events.send(snapshot(1_004_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live' && document.activeElement !== document.body`)
	follows(t, tab, "Playground", playground.Path)
}

// follows presses Enter on a link, which then does not go where it would.
func follows(t *testing.T, tab *tab, name, path string) {
	t.Helper()
	tabTo(t, tab, focused+` === '`+name+`' && document.activeElement.matches('a[href]')`)
	evaluate[chromedp.Void](t, tab, `document.activeElement.addEventListener('click', (event) => {
		event.preventDefault();
		window.followed = new URL(event.currentTarget.href).pathname;
	}, { once: true })`)
	keys(t, tab, kb.Enter)
	waitFor(t, tab, `window.followed === '`+path+`'`)
}

func tokenByKeyboard(t *testing.T, tab *tab, origin string, events *events) {
	do(t, tab, chromedp.Navigate(origin+playground.CachePath), chromedp.WaitVisible(tokenField))
	walk(t, tab, "body")
	tabTo(t, tab, `document.activeElement.id === 'token'`)
	keys(t, tab, "wrong", kb.Tab, " ") // the button
	waitFor(t, tab, overviewText+`.includes('The server refused the token') && document.activeElement.id === 'token'`)
	keys(t, tab, "secret", kb.Enter)
	events.send(snapshot(1_000_000, 100, 0))
	waitFor(t, tab, overviewState+` === 'Live'`)
}

// keys presses one after the other; what is no key by itself is typed.
func keys(t *testing.T, tab *tab, all ...string) {
	t.Helper()
	for _, key := range all {
		do(t, tab, chromedp.KeyEvent(key))
	}
}

// tabTo presses Tab until an expression about the focus is true. Beyond its end a page begins anew.
func tabTo(t *testing.T, tab *tab, reached string) {
	t.Helper()
	for range most {
		if evaluate[bool](t, tab, `Boolean(`+reached+`)`) {
			return
		}
		keys(t, tab, kb.Tab)
	}
	t.Fatalf("got no focus by Tab of which %s", reached)
}

// stop is a control that Tab has reached.
type stop struct {
	HTML                     string
	Left, Top, Right, Bottom float64
}

// walk goes by Tab through all of a part of the page. It fails for controls that are not reached, without a name, without
// a visible focus, or before one that stands above them or to their left.
func walk(t *testing.T, tab *tab, within string) {
	t.Helper()
	evaluate[chromedp.Void](t, tab, `window.walked = []; document.activeElement.blur()`)
	for range most {
		keys(t, tab, kb.Tab)
		if evaluate[bool](t, tab, `walked.includes(document.activeElement)`) {
			break
		}
		if evaluate[bool](t, tab, `document.activeElement !== document.body && (walked.push(document.activeElement), document.activeElement.closest('`+within+`') !== null)`) {
			named(t, tab)
			focusShows(t, tab)
		}
	}
	if missed := evaluate[[]string](t, tab, `[...document.querySelectorAll('`+within+` `+controls+`')]
		.filter((control) => !control.disabled && control.checkVisibility() && !walked.includes(control))
		.map((control) => control.outerHTML.slice(0, 200))`); len(missed) > 0 {
		t.Errorf("got %v not reached by Tab", missed)
	}
	// The walk begins where the focus was, and ends there: the page's own first control is the first of the stops.
	stops := evaluate[[]stop](t, tab, `(() => {
		const inside = walked.filter((control) => control.closest('`+within+`'));
		const first = inside.indexOf(document.querySelector('`+within+` `+controls+`'));
		return [...inside.slice(first), ...inside.slice(0, first)].map((control) => {
			const { left, top, right, bottom } = control.getBoundingClientRect();
			return { html: control.outerHTML.slice(0, 200), left, top, right, bottom };
		});
	})()`)
	if len(stops) < 2 {
		t.Errorf("got %d controls, want those of %s", len(stops), within)
	}
	for i := 1; i < len(stops); i++ {
		if a, b := stops[i-1], stops[i]; b.before(a) {
			t.Errorf("got %+v before %+v, which it follows on the page", a, b)
		}
	}
}

// before tells whether one reads s before a: it stands above, or in the same row to the left.
func (s stop) before(a stop) bool {
	row := min(s.Bottom, a.Bottom)-max(s.Top, a.Top) > min(s.Bottom-s.Top, a.Bottom-a.Top)/2
	return s.Bottom <= a.Top+1 || row && s.Right <= a.Left+1
}

// named fails unless assistive technology has a role and a name for what has the focus.
func named(t *testing.T, tab *tab) {
	t.Helper()
	found := call(t, tab, runtime.Evaluate, runtime.EvaluateParams{Expression: `document.activeElement`})
	relatives := false
	tree := call(t, tab, accessibility.GetPartialAXTree, accessibility.GetPartialAXTreeParams{
		ObjectID: found.Result.ObjectID, FetchRelatives: &relatives,
	})
	said := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		return strings.Trim(string(v.Value), `"`)
	}
	for _, node := range tree.Nodes {
		if role, name := said(node.Role), said(node.Name); node.Ignored || role == "" || role == "generic" || strings.TrimSpace(name) == "" {
			t.Errorf("got role %q and name %q of %s, want both", role, name, evaluate[string](t, tab, `document.activeElement.outerHTML.slice(0, 200)`))
		}
	}
}

// focusShows fails unless the window changes when what has the focus loses it.
func focusShows(t *testing.T, tab *tab) {
	t.Helper()
	const least = 60 // pixels: part of a line around the smallest control
	with := photograph(t, tab, `document.activeElement`)
	evaluate[chromedp.Void](t, tab, `window.last = document.activeElement, last.blur()`)
	without := photograph(t, tab, `last`)
	evaluate[chromedp.Void](t, tab, `last.focus({ preventScroll: true, focusVisible: true })`)
	if got := different(with, without); got < least {
		t.Errorf("got %d pixels that show the focus, want %d at least, at %s", got, least,
			evaluate[string](t, tab, `document.activeElement.outerHTML.slice(0, 200) + JSON.stringify(document.activeElement.getBoundingClientRect())`))
	}
}

// photograph shows what the window has at an element and close around it, once nothing there changes by itself.
func photograph(t *testing.T, tab *tab, element string) image.Image {
	t.Helper()
	clip := evaluate[page.Viewport](t, tab, `(() => {
		const around = 8;
		const { left, top, right, bottom } = (`+element+`).getBoundingClientRect();
		for (const animation of document.getAnimations()) {
			if (animation.effect.getComputedTiming().endTime !== Infinity) animation.finish();
		}
		const x = Math.max(0, left - around), y = Math.max(0, top - around);
		return {
			x: x + scrollX, y: y + scrollY, scale: 1,
			width: Math.min(innerWidth, right + around) - x, height: Math.min(innerHeight, bottom + around) - y,
		};
	})()`)
	taken := call(t, tab, page.CaptureScreenshot, page.CaptureScreenshotParams{Clip: &clip})
	picture, err := png.Decode(bytes.NewReader(taken.Data))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func different(a, b image.Image) (pixels int) {
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			if a.At(x, y) != b.At(x, y) {
				pixels++
			}
		}
	}
	return pixels
}
