package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
)

type middleware func(http.Handler) http.Handler

// chain puts the first of the list outermost.
func chain(inner http.Handler, list ...middleware) http.Handler {
	for i := len(list) - 1; i >= 0; i-- {
		inner = list[i](inner)
	}
	return inner
}

func (s *Server) handler() (http.Handler, error) {
	compress, err := gzhttp.NewWrapper(
		gzhttp.MinSize(1024),                    // shorter ones fit one packet as they are
		gzhttp.CompressionLevel(gzip.BestSpeed), // a fifth of a feed request went into the default level, for 7 % fewer bytes
		gzhttp.EnableZstd(false),                // one encoding, so that a stored response needs one form
	)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	others := chain(s.routes(),
		identify,    // their log line has the id that the client sees
		s.limitTime, // before anything that may wait
		func(next http.Handler) http.Handler { return compress(next) }, // around all that writes bodies
	)
	around := s.guards()
	if s.options.Tracer != nil {
		around = append([]middleware{s.trace}, around...) // first: looking the token up is part of the operation
	}
	// It compresses, and limits the time of, what it executes: a stored result needs neither.
	graphql := chain(s.endpoint, around...)
	// A stream has no end to compress or wait for.
	events := chain(http.HandlerFunc(s.watch), append([]middleware{identify}, s.guards()...)...)
	return chain(s.split(named(graphqlPath, graphql), named(eventsPath, events), others),
		s.observe,   // first: all below logs with the request's id, and it sees what really leaves, whoever wrote it
		setDefaults, // before whoever knows better
		s.cors.wrap, // answers preflights, which carry no token and need no body
		s.survive,   // innermost: its 500 passes through all of the above
	), nil
}

// guards stand before whatever asks who the viewer is: a token is looked up for nobody who sends too many.
func (s *Server) guards() []middleware {
	return []middleware{
		s.refuseCrossSite, // costs nothing, so before the token is looked up
		s.limitAddress,    // costs a fraction of what it spares, looking tokens up included
		s.authenticate,    // before the body is read
		s.limitViewer,     // knows who that is
	}
}

// graphqlPath is where operations are sent.
const graphqlPath = "/graphql"

// split leads most requests past the search for their route.
func (s *Server) split(graphql, events, others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == graphqlPath:
			graphql.ServeHTTP(w, r)
		case r.URL.Path == eventsPath && r.Method == http.MethodGet && s.watched():
			events.ServeHTTP(w, r)
		default:
			others.ServeHTTP(w, r)
		}
	})
}

func (s *Server) watched() bool { return s.options.Playground != nil && s.options.Caches != nil }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", named("/livez", http.HandlerFunc(s.live)))
	mux.Handle("GET /readyz", named("/readyz", http.HandlerFunc(s.ready)))
	mux.Handle("GET /metrics", named("/metrics", s.metrics.handler()))
	if s.options.Playground != nil {
		page := named("/playground", s.options.Playground)
		mux.Handle("GET /playground", page)
		mux.Handle("GET /playground/", page)
		if s.watched() {
			mux.Handle("POST "+cachesPath, named(cachesPath, chain(http.HandlerFunc(s.act), s.guards()...)))
		}
		mux.Handle("GET /{$}", named("/", http.RedirectHandler("/playground", http.StatusFound)))
	}
	return mux
}

// named labels what the handler answers.
func named(route string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recordOf(r.Context()).route = route
		next.ServeHTTP(w, r)
	})
}

// observe begins the request's record, and at its end counts and writes a log line.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &record{Context: r.Context(), ResponseWriter: w, started: time.Now(), route: "none", kind: kindUnknown}
		// A client's or proxy's own id is taken over if it can stand in logs and headers.
		if sent := r.Header["X-Request-Id"]; len(sent) > 0 && saneID(sent[0]) {
			rec.setID(sent[0])
		} else if s.options.Log.Enabled(rec, slog.LevelDebug) {
			rec.identify()
		}
		r = r.WithContext(rec)
		defer s.account(rec, r)
		next.ServeHTTP(rec, r)
	})
}

func (s *Server) account(rec *record, r *http.Request) {
	took := time.Since(rec.started)
	s.metrics.request(rec.route, rec.status, took)
	level := requestLevel(rec.status, took)
	if !s.options.Log.Enabled(rec, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request", rec.id),
		slog.String("method", shorten(r.Method)),
		slog.String("path", shorten(r.URL.Path)), // without the query: it may hold variables
		slog.Int("status", rec.status),
		slog.Int64("bytes", rec.bytes),
		slog.Duration("took", took),
	}
	if rec.operation != "" {
		attrs = append(attrs, slog.String("operation", shorten(rec.operation)))
	}
	if rec.trace != "" {
		attrs = append(attrs, slog.String("trace", rec.trace))
	}
	if rec.code != "" {
		attrs = append(attrs, slog.String("code", rec.code))
	}
	s.options.Log.LogAttrs(rec, level, "request", attrs...)
}

// requestLevel shows at info level what operators look for: a line for each request would cost more than a cached answer.
func requestLevel(status int, took time.Duration) slog.Level {
	if status >= http.StatusInternalServerError || took >= time.Second {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recordOf(r.Context()).identify()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) limitTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.options.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// setDefaults says the safe thing: what is known to be cacheable says so itself.
func setDefaults(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
		next.ServeHTTP(w, r)
	})
}

// Values of headers that all share; nobody may change them.
var (
	noStore = []string{"no-store"}
	noSniff = []string{"nosniff"}
	varies  = []string{"Accept, Accept-Encoding"}
)

// survive turns a panic into an answer. Resolvers' panics end in their field's error before they get here.
func (s *Server) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			value := recover()
			if value == http.ErrAbortHandler {
				panic(value)
			}
			if value != nil {
				s.errors.refuse(w, r, newPanicked(value))
			}
		}()
		next.ServeHTTP(w, r)
	})
}
