package external

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/models"
)

// source is one server that is asked, by idempotent GETs alone.
type source struct {
	name      string        // for people
	base      string        // without a slash at its end; empty: switched off
	pace      time.Duration // between two requests of all instances together; 0: any
	limit     int64         // bytes of an answer
	types     []string      // media types of an answer
	userAgent string
	client    *http.Client
	redis     redis.UniversalClient // nil: each process keeps the pace alone
	slotKey   string
	budget    time.Duration // of a round trip to Redis
	log       *slog.Logger
	now       func() time.Time
	sleep     func(context.Context, time.Duration) error

	mu   sync.Mutex
	next time.Time // when this process may ask again
	rest time.Time // until when nobody is asked, after it has failed
}

const (
	attempts       = 3
	attemptTimeout = 4 * time.Second
	turnBudget     = 100 * time.Millisecond
	firstPause     = 200 * time.Millisecond // before the second attempt; doubles
	longestWait    = 3 * time.Second        // for one's turn, or because the source asks for it
	restAfterFault = 5 * time.Second
	longestRest    = 10 * time.Minute
)

func newSource(s *source) *source {
	s.base = strings.TrimSuffix(s.base, "/")
	s.client = &http.Client{Timeout: attemptTimeout, CheckRedirect: sameHost}
	s.budget, s.sleep = turnBudget, sleep
	return s
}

// sameHost follows a source within its host: what is configured says whom we talk to.
func sameHost(r *http.Request, via []*http.Request) error {
	const most = 3
	first := via[0].URL
	if len(via) > most || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

func (s *source) close() { s.client.CloseIdleConnections() }

// fault is why a source has not answered. After says how long it wants to be left alone; final that asking again is no use.
type fault struct {
	err   error
	after time.Duration
	final bool
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// get asks for a path with parameters until there is an answer, or no time, or no hope. The error is for clients and
// names the source.
func (s *source) get(ctx context.Context, path string, parameters url.Values) ([]byte, error) {
	body, err := s.try(ctx, path, parameters)
	if err == nil {
		return body, nil
	}
	return nil, &models.Error{
		Code: models.CodeUnavailable, Message: s.name + " can't be asked at present, try again later",
		Err: fmt.Errorf("external: get %s of %s: %w", path, s.name, err),
	}
}

var (
	errOff     = errors.New("it is switched off")
	errResting = errors.New("it has failed a moment ago")
	errBusy    = errors.New("others wait for their turn")
)

func (s *source) try(ctx context.Context, path string, parameters url.Values) ([]byte, error) {
	if s.base == "" {
		return nil, errOff
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		if s.resting() {
			return nil, errResting
		}
		if err := s.turn(ctx); err != nil {
			return nil, err
		}
		body, failed := s.ask(ctx, path, parameters)
		if failed == nil {
			return body, nil
		}
		if failed.after > longestWait || failed.final || attempt == attempts {
			if ctx.Err() == nil && (failed.after > 0 || !failed.final) {
				s.leaveAlone(max(failed.after, restAfterFault))
			}
			return nil, failed
		}
		if err := s.sleep(ctx, max(pause, failed.after)); err != nil {
			return nil, failed
		}
		pause *= 2
	}
}

func (s *source) resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Before(s.rest)
}

// leaveAlone keeps a source that fails from being asked by each reader, and each reader from waiting for it.
func (s *source) leaveAlone(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = s.now().Add(min(d, longestRest))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (s *source) ask(ctx context.Context, path string, parameters url.Values) ([]byte, *fault) {
	address := s.base + path
	if len(parameters) > 0 {
		address += "?" + parameters.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, &fault{err: err, final: true}
	}
	r.Header.Set("User-Agent", s.userAgent)
	r.Header.Set("Accept", strings.Join(s.types, ", "))
	response, err := s.client.Do(r)
	if err != nil {
		var named *url.Error // its text has the whole address, and so what somebody looked for
		if errors.As(err, &named) {
			err = named.Err
		}
		return nil, &fault{err: err}
	}
	defer response.Body.Close()
	if failed := judge(response, s.now()); failed != nil {
		return nil, failed
	}
	return s.read(response)
}

// judge is nil for an answer that can be read.
func judge(response *http.Response, now time.Time) *fault {
	err := fmt.Errorf("status %d", response.StatusCode)
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusTooManyRequests:
		return &fault{err: err, after: max(retryAfter(response.Header.Get("Retry-After"), now), time.Second)}
	case code >= 500 || code == http.StatusRequestTimeout:
		return &fault{err: err, after: retryAfter(response.Header.Get("Retry-After"), now)}
	case code >= 300 && code < 400:
		return &fault{err: errors.New("a redirect to another host"), final: true}
	}
	return &fault{err: err, final: true}
}

// retryAfter is in seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, longestRest)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), longestRest)
	}
	return 0
}

func (s *source) read(response *http.Response) ([]byte, *fault) {
	given, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if !slices.ContainsFunc(s.types, func(t string) bool { return strings.EqualFold(t, given) }) {
		return nil, &fault{err: fmt.Errorf("content type %q", given), final: true}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, s.limit+1))
	switch {
	case err != nil:
		return nil, &fault{err: err}
	case int64(len(body)) > s.limit:
		return nil, &fault{err: fmt.Errorf("more than %d bytes", s.limit), final: true}
	}
	return body, nil
}

// broken says that an answer is not what the source should send.
func (s *source) broken(err error) error {
	return &models.Error{
		Code: models.CodeUnavailable, Message: s.name + " gave an answer that can't be read",
		Err: fmt.Errorf("external: %s: %w", s.name, err),
	}
}
