package server

import (
	"mime"
	"net/http"
	"net/url"

	"github.com/rs/cors"
)

// corsPolicy tells browsers which pages of other hosts may call the API. Its zero value: none.
type corsPolicy struct{ *cors.Cors }

func newCORSPolicy(origins []string) corsPolicy {
	if len(origins) == 0 {
		return corsPolicy{} // to rs/cors an empty list means everybody
	}
	return corsPolicy{cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowedHeaders: []string{
			"Accept", "Authorization", "Content-Type", "X-Request-Id", "Apollo-Require-Preflight", "X-Apollo-Operation-Name",
			"Apollographql-Client-Name", "Apollographql-Client-Version", "If-None-Match",
		},
		ExposedHeaders: []string{"X-Request-Id", "Retry-After", "Age", "ETag"},
		MaxAge:         7200, // what Chromium keeps at most
	})}
}

func (c corsPolicy) wrap(next http.Handler) http.Handler {
	if c.Cors == nil {
		return next
	}
	return c.Handler(next)
}

func (c corsPolicy) allows(r *http.Request) bool { return c.Cors != nil && c.OriginAllowed(r) }

// refuseCrossSite keeps pages of other sites from making their visitors' browsers run operations, which they can do
// unasked with any request that needs no preflight. Bare GETs of apps and of the API's own pages pass: no cookie
// signs anyone in here, and GET only reads.
func (s *Server) refuseCrossSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if crossSite(r) && !preflighted(r.Header) && !s.cors.allows(r) {
			s.errors.refuse(w, r, badRequest("this cross-site request was blocked: send a Content-Type of application/json, "+
				"or a non-empty header X-Apollo-Operation-Name or Apollo-Require-Preflight"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// crossSite goes by what browsers say of themselves; what says nothing is no browser, or one from before 2023.
func crossSite(r *http.Request) bool {
	if len(r.Header["Sec-Fetch-Site"]) == 0 && len(r.Header["Origin"]) == 0 {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		origin := r.Header.Get("Origin")
		if origin == "" {
			return false
		}
		from, err := url.Parse(origin)
		return err != nil || from.Host != r.Host
	default:
		return true
	}
}

// preflighted tells whether a browser would have asked first, with OPTIONS, before it sent this across sites.
func preflighted(header http.Header) bool {
	for _, name := range []string{"Authorization", "X-Apollo-Operation-Name", "Apollo-Require-Preflight"} {
		if header.Get(name) != "" {
			return true
		}
	}
	contentType := header.Get("Content-Type")
	if contentType == "" {
		return false
	}
	name, _, err := mime.ParseMediaType(contentType)
	switch name {
	case "application/x-www-form-urlencoded", "multipart/form-data", "text/plain":
		return false
	}
	return err == nil
}
