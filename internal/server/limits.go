package server

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"freshet/internal/clientaddr"
	"freshet/internal/ratelimit"
	"freshet/models"
)

// Limits on what clients ask for. A request costs 1, also if it is refused or answered from what is kept; what has to be
// executed costs what operation.Cost estimates. The zero value limits nobody.
type Limits struct {
	// Address limits each client address: all requests, and what is executed for those who are not signed in. Many
	// viewers may share one.
	Address *ratelimit.Limiter
	// Viewer limits what is done for each viewer, from wherever.
	Viewer *ratelimit.Limiter
	// Proxies are trusted to tell where requests come from.
	Proxies clientaddr.Proxies
}

const (
	costOfRequest = 1
	// costOfStranger is what a token that nobody holds costs its sender: it was looked up in the database.
	costOfStranger = 10
)

// limitAddress refuses who sends too much, before anything is looked up for the request.
func (s *Server) limitAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := recordOf(r.Context())
		rec.address = clientaddr.Key(s.options.Limits.Proxies.Of(r))
		if wait := s.options.Limits.Address.Take(rec.address, costOfRequest); wait > 0 {
			s.errors.refuse(w, r, tooMuch(wait))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limitViewer refuses who sends too much from many addresses, before the request is read.
func (s *Server) limitViewer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if viewer := recordOf(r.Context()).viewer; viewer != nil {
			if wait := s.options.Limits.Viewer.Take(uint64(viewer.ID), costOfRequest); wait > 0 {
				s.errors.refuse(w, r, tooMuch(wait))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// execution takes what executing a request costs beyond the request itself, or refuses it. It counts for the viewer, or
// else for the address.
func (l Limits) execution(rec *record, p *prepared) error {
	limiter, key := l.Address, rec.address
	if rec.viewer != nil {
		limiter, key = l.Viewer, uint64(rec.viewer.ID)
	}
	if limiter == nil {
		return nil
	}
	if beyond := p.operation.Cost(p.variables) - costOfRequest; beyond > 0 {
		if wait := limiter.Take(key, float64(beyond)); wait > 0 {
			return tooMuch(wait)
		}
	}
	return nil
}

func tooMuch(wait time.Duration) error {
	return &refusal{
		status: http.StatusTooManyRequests, code: codeRateLimited,
		message: "too much was asked for: try again later, and more slowly",
		header:  map[string]string{"Retry-After": retryAfter(wait)},
	}
}

// retryAfter is in whole seconds, of which even the last has passed when they have.
func retryAfter(wait time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10)
}

// isStranger tells whether a token was refused because nobody holds it.
func isStranger(err error) bool {
	var app *models.Error
	return errors.As(err, &app) && app.Code == models.CodeUnauthenticated
}
