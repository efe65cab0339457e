package server

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"sync/atomic"
)

// record is what is known of one request for its log line, metrics and errors. The request's own goroutine writes it;
// resolvers' goroutines, which start later and end earlier than its writes, read it.
type record struct {
	id        string
	route     string // pattern of the route, for labels: few values
	operation string // name of the GraphQL operation, as the client chose it
	kind      string // query, mutation, or unknown
	outcome   string // ok, errors (beside data) or refused; empty where no GraphQL was asked
	code      string // extensions.code of a request that was refused as a whole
	// stale is set by any goroutine that reads for the request: part of the response could not be proved fresh.
	stale atomic.Bool
}

const kindUnknown = "unknown"

type recordKey struct{}

// recordOf gives an empty record to contexts that are not of a request.
func recordOf(ctx context.Context) *record {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		return rec
	}
	return &record{}
}

// identify takes the client's or proxy's X-Request-Id, if it can stand in logs and headers, or makes one.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !saneID(id) {
			id = rand.Text()
		}
		w.Header().Set("X-Request-Id", id)
		rec := &record{id: id, route: "none", kind: kindUnknown}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), recordKey{}, rec)))
	})
}

func saneID(id string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:=/+"
	return id != "" && len(id) <= 128 && strings.Trim(id, letters) == ""
}

// shorten keeps a client's text from filling a log line or an error.
func shorten(text string) string {
	const most = 100
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
