package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"freshet/internal/testenv"
)

// tab notes what the page in it should not do.
type tab struct {
	ctx    context.Context
	origin string

	mu       sync.Mutex // the listener runs beside the test
	requests int
	faults   []string
}

// startBrowser starts a headless Chromium that can reach this machine only, and stops it with the test.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // the page is our own, and root can have no sandbox
		chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(hangs),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stopAllocator)
	browser, stopBrowser := chromedp.NewContext(allocator)
	t.Cleanup(stopBrowser)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("start Chromium: %v; is it installed? (Debian: apt-get install chromium)", err)
	}
	return browser
}

// visit opens a tab whose test fails at its end if a request went elsewhere than to the origin, if the page broke its
// content security policy, or if anything was reported as an error or warning.
func visit(t *testing.T, browser context.Context, origin string) *tab {
	t.Helper()
	opened := openTab(t, browser, origin)
	t.Cleanup(func() {
		requests, faults := opened.noted()
		if requests == 0 {
			t.Error("got no request noted, want at least the page's")
		}
		for _, fault := range faults {
			t.Errorf("got %s, want nothing of the kind", fault)
		}
	})
	return opened
}

// openTab opens a tab of a window of its own: nothing is stored yet. It closes with the test.
func openTab(t *testing.T, browser context.Context, origin string) *tab {
	t.Helper()
	opened := &tab{origin: origin}
	ctx, closeTab := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(opened.watch))
	opened.ctx = ctx
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	call(t, opened, network.Enable, network.EnableParams{})
	call(t, opened, log.Enable, cdp.Empty{})
	call(t, opened, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `addEventListener('securitypolicyviolation', (event) => console.error(
			'policy broken:', event.violatedDirective, event.blockedURI, event.sourceFile, event.lineNumber, event.sample))`,
	})
	return opened
}

func (in *tab) watch(event any) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		in.requests++
		if url := event.Request.URL; !strings.HasPrefix(url, in.origin+"/") && !strings.HasPrefix(url, "data:") {
			in.faults = append(in.faults, "request to "+url)
		}
	case *network.EventWebSocketCreated:
		in.faults = append(in.faults, "web socket to "+event.URL)
	case *runtime.EventExceptionThrown:
		in.faults = append(in.faults, fmt.Sprintf("exception: %s %v", event.ExceptionDetails.Text, event.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning {
			in.faults = append(in.faults, "console: "+text(event.Args))
		}
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError || event.Entry.Level == log.EntryLevelWarning {
			in.faults = append(in.faults, "log: "+event.Entry.Text)
		}
	}
}

// noted is how many requests there were until now, and what the page should not have done.
func (in *tab) noted() (requests int, faults []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.requests, slices.Clone(in.faults)
}

func text(args []*runtime.RemoteObject) string {
	var words []string
	for _, arg := range args {
		words = append(words, strings.TrimSpace(arg.Description+" "+strings.Trim(string(arg.Value), `"`)))
	}
	return strings.Join(words, " ")
}

func do(t *testing.T, in *tab, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := testenv.UntilHang(in.ctx)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("drive the browser: %v", err)
	}
}

func call[P, R any](t *testing.T, in *tab, command cdp.Command[P, R], params P) R {
	t.Helper()
	ctx, cancel := testenv.UntilHang(in.ctx)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		t.Fatalf("call %s: %v", command.Method, err)
	}
	return result
}

// evaluate is the value of a JavaScript expression, and of what it promises.
func evaluate[T any](t *testing.T, in *tab, expression string) T {
	t.Helper()
	ctx, cancel := testenv.UntilHang(in.ctx)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("evaluate %s: %v", expression, err)
	}
	return value
}

// waitFor returns when a JavaScript expression is true; one that throws is not true yet. chromedp.Poll cannot wait so: it
// uses eval, which the page forbids. Animation frames are no measure either: a window that nothing draws has none.
func waitFor(t *testing.T, in *tab, expression string) {
	t.Helper()
	evaluate[bool](t, in, `new Promise((resolve) => {
		const done = () => {
			try {
				return (`+expression+`);
			} catch {
				return false;
			}
		};
		const check = () => done() ? resolve(true) : setTimeout(check, 10);
		check();
	})`)
}

// click waits until the mouse would hit an element, and then clicks in the same moment: between a look at the page and an
// event of the mouse, what has just opened could move the element away.
func click(t *testing.T, in *tab, selector string) {
	t.Helper()
	waitFor(t, in, `(() => {
		const element = document.querySelector('`+selector+`');
		element.scrollIntoView({ block: 'nearest', behavior: 'instant' });
		const { left, top, width, height } = element.getBoundingClientRect();
		const hit = document.elementFromPoint(left + width / 2, top + height / 2);
		if (element.disabled || !element.contains(hit)) return false;
		element.focus({ preventScroll: true });
		element.click();
		return true;
	})()`)
}
