// Package playground serves GraphiQL from the binary, with sample operations, each field's cache policy in the
// documentation and a panel that shows what the caches did, and a live overview of the caches, to a browser that need not
// reach anything else.
package playground

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
)

// Path is where GraphiQL is. What it loads is below.
const Path = "/playground"

// CachePath is where the live overview of the caches is.
const CachePath = Path + "/cache"

const assetPath = Path + "/assets/"

// contentSecurityPolicy lets the page load from its own origin only, and run nothing that stands in the page itself.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Built from web by npm run build.
//
//go:embed dist
var dist embed.FS

//go:embed web/samples
var sampleFiles embed.FS

// Options of the pages. The zero value is a playground for signed-out readers of /graphql.
type Options struct {
	// Endpoint is the path of the GraphQL endpoint, on the playground's own origin; /graphql if empty.
	Endpoint string
	// Title of the page; Freshet if empty.
	Title string
	// Token is the bearer token with which requests from the page begin. Whoever can load the page can read it: for
	// development only.
	Token string
	// AdminToken is the bearer token with which the overview asks; if empty, the page asks for one. As with Token: for
	// development only.
	AdminToken string
	// Policy tells in words how long and for whom a type or field is cached, by schema coordinate: "Post": "300 s",
	// "Query.feed": "60 s, private".
	Policy map[string]string
}

func (o Options) withDefaults() Options {
	if o.Endpoint == "" {
		o.Endpoint = "/graphql"
	}
	if o.Title == "" {
		o.Title = "Freshet"
	}
	if o.Policy == nil {
		o.Policy = map[string]string{}
	}
	return o
}

// Handler serves GET and HEAD of Path and of everything below it; mount it at both. It panics if what was embedded is
// not what the build makes, which this package's tests rule out. What the pages ask of the caches is the server's: POST of
// CachePath (evict a key, make a tag stale) and GET of CachePath/events (the overview's figures, as server-sent events).
func Handler(options Options) http.Handler {
	options = options.withDefaults()
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, graphiql(options))
	mux.Handle("GET "+Path+"/{$}", http.RedirectHandler(Path, http.StatusMovedPermanently))
	mux.Handle("GET "+CachePath, overview(options))
	mux.Handle("GET "+Path+"/licenses.txt", newFile("dist/licenses.txt", "no-cache"))
	for _, path := range paths(dist, "dist/assets/*") {
		// The names hold a hash of the content, and so never stand for another.
		asset := newFile(path, "public, max-age=31536000, immutable")
		mux.Handle("GET "+assetPath+strings.TrimPrefix(path, "dist/assets/"), asset)
	}
	return withSecurityHeaders(mux)
}

func graphiql(options Options) *file {
	return page("index.html", options.Title, options.Token, map[string]any{
		"endpoint": options.Endpoint,
		"title":    options.Title,
		"token":    options.Token,
		"policy":   options.Policy,
		"samples":  samples(),
		"cache":    CachePath,
	})
}

func overview(options Options) *file {
	return page("cache.html", options.Title, options.AdminToken, map[string]any{
		"title":      options.Title,
		"adminToken": options.AdminToken,
		"events":     CachePath + "/events",
		"playground": Path,
	})
}

// page is rendered once: all requests get the same bytes. Secret is what the configuration holds that no cache may keep.
func page(name, title, secret string, config map[string]any) *file {
	var html bytes.Buffer
	err := template.Must(template.ParseFS(dist, "dist/"+name)).Execute(&html, map[string]any{
		"Title":  title,
		"Assets": assetPath,
		"Config": config,
	})
	if err != nil {
		panic("playground: render " + name + ": " + err.Error())
	}
	if secret != "" {
		return newFileOf(html.Bytes(), ".html", "no-store")
	}
	return newFileOf(html.Bytes(), ".html", "no-cache")
}

func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", contentSecurityPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// sample is an operation that the page opens in a tab.
type sample struct {
	Query     string `json:"query"`
	Variables string `json:"variables"` // JSON, or empty
}

// samples come in the order of their file names.
func samples() []sample {
	var all []sample
	for _, path := range paths(sampleFiles, "web/samples/*.graphql") {
		all = append(all, sample{
			Query:     readSample(path),
			Variables: readSample(strings.TrimSuffix(path, ".graphql") + ".json"),
		})
	}
	return all
}

// readSample is empty for a file that does not exist: operations without variables have none.
func readSample(path string) string {
	text, _ := sampleFiles.ReadFile(path)
	return strings.TrimSpace(string(text))
}

func paths(files embed.FS, pattern string) []string {
	found, err := fs.Glob(files, pattern)
	if err != nil {
		panic("playground: list " + pattern + ": " + err.Error())
	}
	return found
}
