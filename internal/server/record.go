package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"freshet/internal/operation"
	"freshet/models"
)

// record is what is known of one request for its log line, metrics and errors. The request's own goroutine writes it;
// resolvers' goroutines, which start later and end earlier than its writes, read it. It is the request's context and its
// ResponseWriter too: one piece of memory for all three.
type record struct {
	context.Context
	http.ResponseWriter
	started   time.Time
	id        string // empty before identify
	route     string // pattern of the route, for labels: few values
	operation string // name of the GraphQL operation, as the client chose it
	asked     *operation.Operation
	trace     string         // id of the trace; empty if requests are not traced
	kind      string         // query, mutation, or unknown
	outcome   string         // ok, errors (beside data) or refused; empty where no GraphQL was asked
	code      string         // extensions.code of a request that was refused as a whole
	result    string         // what became of the whole result; empty if the request did not get that far
	use       use            // what was asked for, and by which build
	viewer    *models.Viewer // whose token the request has; nil for nobody
	address   uint64         // clientaddr.Key of where it came from
	// stale is set by any goroutine that reads for the request: part of the response could not be proved fresh.
	stale atomic.Bool
	// loaded is set likewise: something was in no cache.
	loaded atomic.Bool

	// What left; status is 0 until something does.
	status int
	bytes  int64
}

const kindUnknown = "unknown"

type recordKey struct{}

// Value implements context.Context.
func (rec *record) Value(key any) any {
	if key == (recordKey{}) {
		return rec
	}
	return rec.Context.Value(key)
}

// WriteHeader implements http.ResponseWriter.
func (rec *record) WriteHeader(status int) {
	if rec.status < http.StatusOK {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (rec *record) Write(p []byte) (int, error) {
	if rec.status < http.StatusOK {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(p)
	rec.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (rec *record) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// recordOf gives an empty record to contexts that are not of a request.
func recordOf(ctx context.Context) *record {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		return rec
	}
	return &record{}
}

// identify gives the request an id, and the client to know it. A result that is kept needs none: nothing is logged of it.
func (rec *record) identify() {
	if rec.id == "" && rec.ResponseWriter != nil {
		rec.setID(newRequestID())
	}
}

func (rec *record) setID(id string) {
	rec.id = id
	rec.Header()["X-Request-Id"] = []string{id}
}

// newRequestID tells requests apart; it is no secret.
func newRequestID() string {
	const digits, length = "0123456789abcdefghijklmnopqrstuv", 25
	var id [length]byte
	for i := 0; i < length; {
		for bits, n := rand.Uint64(), 0; n < 12 && i < length; n++ {
			id[i] = digits[bits&31]
			bits >>= 5
			i++
		}
	}
	return string(id[:])
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
