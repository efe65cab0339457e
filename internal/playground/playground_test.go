package playground_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"freshet/internal/playground"
)

// config is what the page reads from its element #config.
type config struct {
	Endpoint   string
	Title      string
	Token      string
	AdminToken string
	Policy     map[string]string
	Samples    []struct{ Query, Variables string }
}

func TestHandler_SecurityHeaders(t *testing.T) {
	t.Parallel()
	handler := playground.Handler(playground.Options{})
	for _, path := range []string{
		"/playground", "/playground/", "/playground/cache", scriptPath(t, handler), "/playground/nothing",
	} {
		header := get(handler, path).Result().Header
		policy := header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") {
			t.Errorf("%s: got policy %q, want one that allows the own origin only", path, policy)
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: got policy %q, want no exceptions", path, policy)
		}
		for _, directive := range []string{"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, directive) {
				t.Errorf("%s: got policy %q, want %s in it", path, policy, directive)
			}
		}
		if got := header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: got X-Content-Type-Options %q, want nosniff", path, got)
		}
		if got := header.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("%s: got Referrer-Policy %q, want no-referrer", path, got)
		}
	}
}

func TestHandler_Caching(t *testing.T) {
	t.Parallel()
	open := playground.Handler(playground.Options{})
	withToken := playground.Handler(playground.Options{Token: "secret"})
	withAdmin := playground.Handler(playground.Options{AdminToken: "secret"})
	tests := map[string]struct {
		handler http.Handler
		path    string
		want    string
	}{
		"page":            {open, "/playground", "no-cache"},
		"page with token": {withToken, "/playground", "no-store"},
		"overview":        {withToken, "/playground/cache", "no-cache"},
		"with admin":      {withAdmin, "/playground/cache", "no-store"},
		"page, no token":  {withAdmin, "/playground", "no-cache"},
		"script":          {withToken, scriptPath(t, withToken), "public, max-age=31536000, immutable"},
		"licences":        {open, "/playground/licenses.txt", "no-cache"},
	}
	for name, test := range tests {
		response := get(test.handler, test.path)
		if got := response.Header().Get("Cache-Control"); got != test.want {
			t.Errorf("%s: got Cache-Control %q, want %q", name, got, test.want)
		}
		again := get(test.handler, test.path, "If-None-Match", response.Header().Get("ETag"))
		if again.Code != http.StatusNotModified {
			t.Errorf("%s: got status %d for its own ETag, want 304", name, again.Code)
		}
	}
}

func TestHandler_Gzip(t *testing.T) {
	t.Parallel()
	handler := playground.Handler(playground.Options{})
	path := scriptPath(t, handler)
	plain := get(handler, path)
	packed := get(handler, path, "Accept-Encoding", "br, gzip, deflate")
	if got := packed.Header().Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("got Content-Encoding %q, want gzip", got)
	}
	reader, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatalf("got a body that is not gzip: %v", err)
	}
	unpacked, err := io.ReadAll(reader)
	if err != nil || string(unpacked) != plain.Body.String() {
		t.Errorf("got %d bytes (%v), want the %d of the plain script", len(unpacked), err, plain.Body.Len())
	}
	if plain.Header().Get("Content-Encoding") != "" || plain.Header().Get("ETag") == packed.Header().Get("ETag") {
		t.Errorf("got plain headers %v, want no encoding and another ETag than %s", plain.Header(), packed.Header().Get("ETag"))
	}
	if got := plain.Header().Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("got Content-Type %q, want text/javascript; charset=utf-8", got)
	}
	refused := get(handler, path, "Accept-Encoding", "gzip;q=0")
	if got := refused.Header().Get("Content-Encoding"); got != "" {
		t.Errorf("got Content-Encoding %q for a client that refuses gzip, want none", got)
	}
}

func TestHandler_Routes(t *testing.T) {
	t.Parallel()
	handler := playground.Handler(playground.Options{})
	tests := []struct {
		method, path string
		want         int
	}{
		{"GET", "/playground", 200},
		{"HEAD", "/playground", 200},
		{"GET", "/playground/", 301},
		{"GET", "/playground/licenses.txt", 200},
		{"GET", "/playground/nothing", 404},
		{"GET", "/playground/index.html", 404},
		{"GET", "/playground/assets/", 404},
		{"GET", "/playground/assets/main.js", 404},
		{"GET", "/", 404},
		{"GET", "/playground/cache", 200},
		{"GET", "/playground/cache.html", 404},
		{"GET", "/playground/cache/events", 404},
		{"POST", "/playground/cache", 405},
		{"POST", "/playground", 405},
	}
	for _, test := range tests {
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, httptest.NewRequest(test.method, test.path, nil))
		if response.Code != test.want {
			t.Errorf("%s %s: got status %d, want %d", test.method, test.path, response.Code, test.want)
		}
	}
}

func TestHandler_HostileOptionsStayData(t *testing.T) {
	t.Parallel()
	const hostile = "</script><script>alert(1)</script>{{.Token}}\"'<!--\u2028&\\"
	want := playground.Options{
		Endpoint:   "/graphql?" + hostile,
		Title:      hostile,
		Token:      hostile,
		AdminToken: hostile,
		Policy:     map[string]string{hostile: hostile},
	}
	page := get(playground.Handler(want), "/playground").Body.String()
	if scripts := strings.Count(page, "<script"); scripts != 2 {
		t.Errorf("got %d script elements, want the configuration and the page's own:\n%s", scripts, page)
	}
	if strings.Contains(page, "alert(1)</script>") {
		t.Errorf("got the token as markup, want it escaped:\n%s", page)
	}
	got := configOf(t, page)
	if got.Endpoint != want.Endpoint || got.Title != hostile || got.Token != hostile || got.Policy[hostile] != hostile {
		t.Errorf("got configuration %+v, want %+v", got, want)
	}
	page = get(playground.Handler(want), "/playground/cache").Body.String()
	if got := configOf(t, page); strings.Count(page, "<script") != 2 || got.AdminToken != hostile || got.Title != hostile {
		t.Errorf("got overview %s, want the options as data in it", page)
	}
}

func TestHandler_EachPageHasItsTokenOnly(t *testing.T) {
	t.Parallel()
	handler := playground.Handler(playground.Options{Token: "reader's", AdminToken: "administrator's"})
	if got := configOf(t, get(handler, "/playground").Body.String()); got.Token != "reader's" || got.AdminToken != "" {
		t.Errorf("playground: got %q and %q, want the reader's token alone", got.Token, got.AdminToken)
	}
	if got := configOf(t, get(handler, "/playground/cache").Body.String()); got.Token != "" || got.AdminToken != "administrator's" {
		t.Errorf("overview: got %q and %q, want the administrator's token alone", got.Token, got.AdminToken)
	}
}

func TestHandler_Defaults(t *testing.T) {
	t.Parallel()
	page := get(playground.Handler(playground.Options{}), "/playground").Body.String()
	got := configOf(t, page)
	if got.Endpoint != "/graphql" || got.Title != "Freshet" || got.Token != "" || got.Policy == nil {
		t.Errorf("got configuration %+v, want /graphql, Freshet, no token and an empty policy", got)
	}
	if len(got.Samples) == 0 {
		t.Error("got no samples, want those of web/samples")
	}
}

// TestPage_LoadsFromHereOnly holds for what the build made: each file is there, is used, and nothing is elsewhere.
func TestPage_LoadsFromHereOnly(t *testing.T) {
	t.Parallel()
	handler := playground.Handler(playground.Options{})
	used := map[string]bool{}
	for _, path := range []string{playground.Path, playground.CachePath} {
		page := get(handler, path).Body.String()
		if found := regexp.MustCompile(`https?:|="//`).FindString(page[:strings.Index(page, `<script type="application/json"`)]); found != "" {
			t.Errorf("%s: got %s in the head of the page, want no address elsewhere:\n%s", path, found, page)
		}
		for _, match := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			used[match[1]] = true
			if response := get(handler, match[1]); response.Code != http.StatusOK {
				t.Errorf("%s: got status %d, want 200", match[1], response.Code)
			}
		}
	}
	built, err := filepath.Glob("dist/assets/*")
	if err != nil || len(built) == 0 {
		t.Fatalf("list dist/assets: got %d files, %v", len(built), err)
	}
	for _, file := range built {
		path := "/playground/assets/" + filepath.Base(file)
		if !used[path] {
			t.Errorf("got %s in dist, which no page uses; want it rebuilt", file)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := get(handler, path).Body.String(); got != string(content) {
			t.Errorf("%s: got %d bytes, want the %d of the file", path, len(got), len(content))
		}
	}
}

func TestStyle_LoadsNothing(t *testing.T) {
	t.Parallel()
	styles, err := filepath.Glob("dist/assets/*.css")
	if err != nil || len(styles) == 0 {
		t.Fatalf("list styles: got %d files, %v", len(styles), err)
	}
	for _, path := range styles {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`@import|@font-face|url\([^)]{0,40}`).FindAllString(string(content), -1) {
			if !strings.HasPrefix(strings.Trim(match, `url("`), "data:image/") {
				t.Errorf("%s: got %s, want pictures in data: addresses at most", path, match)
			}
		}
	}
}

func get(handler http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	return response
}

func configOf(t *testing.T, page string) config {
	t.Helper()
	match := regexp.MustCompile(`(?s)<script type="application/json" id="config">(.*?)</script>`).FindStringSubmatch(page)
	if match == nil {
		t.Fatalf("got no configuration in the page:\n%s", page)
	}
	var found config
	if err := json.Unmarshal([]byte(match[1]), &found); err != nil {
		t.Fatalf("got a configuration that is not JSON: %v\n%s", err, match[1])
	}
	return found
}

func scriptPath(t *testing.T, handler http.Handler) string {
	t.Helper()
	match := regexp.MustCompile(`src="([^"]+\.js)"`).FindStringSubmatch(get(handler, "/playground").Body.String())
	if match == nil {
		t.Fatal("got no script in the page")
	}
	return match[1]
}
