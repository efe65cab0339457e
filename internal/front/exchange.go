package front

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
)

// exchange is one request with its answer: one piece of memory.
type exchange struct {
	request  *http.Request
	response response
	context  requestContext
	url      url.URL
	body     body
}

type body struct{ bytes.Reader }

func (b *body) Close() error { return nil }

// newExchange makes a request of what was read. Its header is the connection's, for all requests that repeat it.
func newExchange(c *conn, h *head, sent []byte) *exchange {
	x := &exchange{url: url.URL{Path: c.front.path, RawQuery: h.query}}
	x.response = response{conn: c, header: make(http.Header, 8), declared: -1}
	x.context = requestContext{Context: c.front.base, conn: c}
	request := http.Request{
		Method: h.method, URL: &x.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h.header,
		Body: http.NoBody, ContentLength: int64(len(sent)), Host: h.host, RemoteAddr: c.remote, RequestURI: h.target,
	}
	if len(sent) > 0 {
		x.body.Reset(sent)
		request.Body = &x.body
	}
	x.request = request.WithContext(&x.context)
	return x
}

// requestContext ends when the request is answered, when the client leaves, or with the server. The connection is watched
// from shortly after somebody first asks to be told: an answer from a cache is quicker than that.
type requestContext struct {
	context.Context // the server's
	conn            *conn

	mu      sync.Mutex
	watched atomic.Pointer[watched]
	ended   bool
}

// watched is what Done has begun.
type watched struct {
	context.Context
	cancel context.CancelFunc
	stop   func()
}

// Done implements context.Context.
func (x *requestContext) Done() <-chan struct{} {
	if w := x.watched.Load(); w != nil {
		return w.Done()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if w := x.watched.Load(); w != nil {
		return w.Done()
	}
	inner, cancel := context.WithCancel(x.Context)
	w := &watched{inner, cancel, func() {}}
	if x.ended {
		cancel()
	} else {
		w.stop = x.conn.watch(cancel)
	}
	x.watched.Store(w)
	return w.Done()
}

// Err implements context.Context.
func (x *requestContext) Err() error {
	if w := x.watched.Load(); w != nil {
		return w.Err()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch w := x.watched.Load(); {
	case w != nil:
		return w.Err()
	case x.ended:
		return context.Canceled
	}
	return x.Context.Err()
}

// Value implements context.Context. That of a watched one lets contexts made of it end with it, without a goroutine each.
func (x *requestContext) Value(key any) any {
	if w := x.watched.Load(); w != nil {
		return w.Value(key)
	}
	return x.Context.Value(key)
}

// end returns when the connection is no longer watched.
func (x *requestContext) end() {
	x.mu.Lock()
	x.ended = true
	w := x.watched.Load()
	x.mu.Unlock()
	if w != nil {
		w.cancel()
		w.stop()
	}
}
