package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// tabNotesFaults shows that the other tests would see what they assert the absence of.
func tabNotesFaults(t *testing.T, browser context.Context, _ site) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", "style-src 'self'")
		_, _ = io.WriteString(w, `<p style="color: red"></p><img src="http://elsewhere.example/"><script>
			console.error('logged');
			setTimeout(() => { document.title = 'done'; throw new Error('thrown') });
		</script>`)
	}))
	t.Cleanup(server.Close)
	tab := openTab(t, browser, server.URL)
	do(t, tab, chromedp.Navigate(server.URL+"/"))
	waitFor(t, tab, `document.title === 'done'`)

	_, faults := tab.noted()
	all := strings.Join(faults, "\n")
	for _, want := range []string{"request to http://elsewhere.example/", "policy broken: style-src-attr", "logged", "thrown"} {
		if !strings.Contains(all, want) {
			t.Errorf("got faults\n%s\nwant %q among them", all, want)
		}
	}
}
