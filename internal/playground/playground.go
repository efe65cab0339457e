// Package playground serves GraphiQL from the binary, with sample operations and each field's cache policy in the
// documentation, to a browser that need not reach anything else.
package playground

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
)

// Path is where the page is. What it loads is below.
const Path = "/playground"

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

// Options of the page. The zero value is a page for signed-out readers of /graphql.
type Options struct {
	// Endpoint is the path of the GraphQL endpoint, on the playground's own origin; /graphql if empty.
	Endpoint string
	// Title of the page; Freshet if empty.
	Title string
	// Token is the bearer token with which requests from the page begin. Whoever can load the page can read it: for
	// development only.
	Token string
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
// not what the build makes, which this package's tests rule out.
func Handler(options Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, page(options.withDefaults()))
	mux.Handle("GET "+Path+"/{$}", http.RedirectHandler(Path, http.StatusMovedPermanently))
	mux.Handle("GET "+Path+"/licenses.txt", newFile("dist/licenses.txt", "no-cache"))
	for _, path := range paths(dist, "dist/assets/*") {
		// The names hold a hash of the content, and so never stand for another.
		asset := newFile(path, "public, max-age=31536000, immutable")
		mux.Handle("GET "+assetPath+strings.TrimPrefix(path, "dist/assets/"), asset)
	}
	return withSecurityHeaders(mux)
}

// page is GraphiQL's, rendered once: all requests get the same bytes.
func page(options Options) *file {
	var html bytes.Buffer
	err := template.Must(template.ParseFS(dist, "dist/index.html")).Execute(&html, map[string]any{
		"Title":  options.Title,
		"Assets": assetPath,
		"Config": map[string]any{
			"endpoint": options.Endpoint,
			"title":    options.Title,
			"token":    options.Token,
			"policy":   options.Policy,
			"samples":  samples(),
		},
	})
	if err != nil {
		panic("playground: render page: " + err.Error())
	}
	if options.Token != "" {
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
