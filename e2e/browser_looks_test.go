package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"freshet/internal/playground"

	"freshet/internal/testenv"
)

// update has the pictures in docs taken anew. They show times, so that no two are the same; else they are only looked for.
var update = flag.Bool("update", false, "take the pictures in docs/images anew")

const (
	axeScript = "../internal/playground/web/node_modules/axe-core/axe.min.js"
	images    = "../docs/images"
)

var (
	themes  = []string{"light", "dark"}
	devices = map[string]chromedp.Action[chromedp.Void]{
		"phone":   chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile),
		"desktop": chromedp.EmulateViewport(1280, 1000),
	}
)

// holdLooks holds both pages, in both themes on both sizes, to what can be checked of accessibility.
func holdLooks(t *testing.T, browser context.Context, at site) {
	for _, theme := range themes {
		for device, size := range devices {
			t.Run("Panel/"+theme+"/"+device, func(t *testing.T) {
				tab := visitPanel(t, browser, at, size, prefers(theme))
				lookAtPanel(t, tab)
				if device == "desktop" {
					picture(t, tab, "panel-"+theme+".png")
				}
			})
			t.Run("Overview/"+theme+"/"+device, func(t *testing.T) {
				origin, events := startOverview(t, playground.Options{AdminToken: "secret"})
				tab := visitOverview(t, browser, origin, size, prefers(theme))
				events.send(busySnapshot())
				waitFor(t, tab, overviewState+` === 'Live'`)
				fits(t, tab)
				accessible(t, tab, "body")
				if device == "desktop" {
					picture(t, tab, "overview-"+theme+".png")
				}
				events.send(snapshot(1_002_000, 150, 2))
				waitFor(t, tab, `document.querySelector('[role="alert"]')`)
				accessible(t, tab, "body")
			})
		}
	}
	t.Run("TokenForm", func(t *testing.T) {
		origin, _ := startOverview(t, playground.Options{})
		tab := openTab(t, browser, origin)
		do(t, tab, chromedp.Navigate(origin+playground.CachePath), chromedp.WaitVisible(tokenField))
		accessible(t, tab, "body")
	})
}

func lookAtPanel(t *testing.T, tab *tab) {
	t.Helper()
	waitFor(t, tab, panelText+`.includes('Run the operation')`)
	accessible(t, tab, ".freshet-cache")
	run(t, tab)
	press(t, tab, "Run without cache") // with many reads
	waitFor(t, tab, badge+` === 'Bypassed'`)
	evaluate[chromedp.Void](t, tab, `document.querySelectorAll('.freshet-waterfall details').forEach((details, i) => { details.open = i < 2 })`)
	press(t, tab, "Copy as curl")
	waitFor(t, tab, `document.querySelector('.freshet-cache textarea')`)
	fits(t, tab)
	accessible(t, tab, ".freshet-cache")
	press(t, tab, "Compare cached with fresh")
	waitFor(t, tab, compared)
	evictAndMiss(t, tab) // for the picture: some of its parts were found
	accessible(t, tab, ".freshet-cache")
	evaluate[chromedp.Void](t, tab, `document.activeElement.blur(), document.querySelectorAll('.freshet-waterfall details').forEach((details) => { details.open = false })`)
	evaluate[chromedp.Void](t, tab, `document.querySelector('.graphiql-plugin').scrollTo(0, 0)`)
}

func prefers(theme string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return chromedp.Void{}, err
	}
}

// accessible fails with what axe finds to be serious or critical.
func accessible(t *testing.T, tab *tab, within string) {
	t.Helper()
	script, err := os.ReadFile(axeScript)
	if err != nil {
		t.Fatalf("axe is not installed: run make test, or npm ci in internal/playground/web (%v)", err)
	}
	evaluate[chromedp.Void](t, tab, `(() => { if (!window.axe) { `+string(script)+` } })()`)
	type violation struct{ ID, Impact, Help, Where string }
	found := evaluate[[]violation](t, tab, `axe.run('`+within+`', { preload: false }).then(({ violations, passes }) => {
		if (passes.length === 0) throw new Error('nothing was checked');
		return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
			.map(({ id, impact, help, nodes }) => ({ id, impact, help, where: nodes.map(({ html, failureSummary }) => html + ' ' + failureSummary).join('\n') }));
	})`)
	for _, v := range found {
		t.Errorf("got %s (%s): %s at\n%s", v.ID, v.Impact, v.Help, v.Where)
	}
}

// fits fails if the page is wider than its window.
func fits(t *testing.T, tab *tab) {
	t.Helper()
	type width struct{ Page, Window, Panel, Content int }
	if got := evaluate[width](t, tab, `({
		page: document.documentElement.scrollWidth, window: innerWidth,
		panel: document.querySelector('.graphiql-plugin')?.clientWidth ?? 0,
		content: document.querySelector('.graphiql-plugin')?.scrollWidth ?? 0,
	})`); got.Page > got.Window || got.Content > got.Panel {
		t.Errorf("got widths %+v, want what is inside not wider than its window", got)
	}
}

// picture takes one for the documentation if asked to, and else sees to it that there is one of the window's size.
func picture(t *testing.T, tab *tab, name string) {
	t.Helper()
	path := filepath.Join(images, name)
	if *update {
		ctx, cancel := testenv.UntilHang(tab.ctx)
		defer cancel()
		taken, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, taken, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; take it by go test ./e2e -run TestSite/Looks -update", err)
	}
	size, err := png.DecodeConfig(bytes.NewReader(content))
	if got := fmt.Sprintf("%dx%d", size.Width, size.Height); err != nil || got != "1280x1000" {
		t.Errorf("%s: got %s, %v; want 1280x1000", path, got, err)
	}
}

// busySnapshot has ten minutes of history of a few kinds, for a picture; always the same.
func busySnapshot() string {
	const end, step, moments = 1_000_000, 10_000, 60
	kinds := []struct {
		name         string
		hits, misses int
	}{{"feed", 40, 7}, {"post", 400, 6}, {"profile", 310, 3}, {"post-counts", 120, 35}, {"operation", 90, 20}}
	var history []string
	counts := make([][2]int, len(kinds))
	for i := range moments {
		var all []string
		for k, kind := range kinds {
			busy := 2 + (i*(k+3)+k*5)%7
			counts[k][0] += kind.hits * busy / 5
			counts[k][1] += kind.misses * ((i*(k+2)+k)%5 + 1) / 3
			all = append(all, fmt.Sprintf(`{"kind": "%s", "hits": %d, "misses": %d}`, kind.name, counts[k][0], counts[k][1]))
		}
		history = append(history, fmt.Sprintf(`{"at": %d, "kinds": [%s]}`, end-(moments-i)*step, strings.Join(all, ", ")))
	}
	var now []string
	for k, kind := range kinds {
		now = append(now, fmt.Sprintf(`{"kind": "%s", "memory": %d, "redis": %d, "misses": {"absent": %d, "stale_tag": %d}, "loads": %[5]d,
			"loadErrors": 0, "stale": 0, "early": %d, "loadSeconds": 0.9, "batches": 900, "batchSeconds": 0.7}`,
			kind.name, counts[k][0]*3/4, counts[k][0]/4, counts[k][1]/3, counts[k][1]-counts[k][1]/3, k))
	}
	var figures map[string]any
	if err := json.Unmarshal([]byte(snapshot(end, 0, 0)), &figures); err != nil {
		panic(err)
	}
	figures["history"] = json.RawMessage("[" + strings.Join(history, ",") + "]")
	figures["kinds"] = json.RawMessage("[" + strings.Join(now, ",") + "]")
	text, err := json.Marshal(figures)
	if err != nil {
		panic(err)
	}
	return string(text)
}
