// Package front answers small requests for one path on their connections, and leaves all others to net/http.
//
// For each request net/http starts and stops a goroutine that watches the connection, and reads and writes headers piece by
// piece, which is more work than a result from a cache is. Front reads a request and writes its answer in one go, and
// watches only where somebody waits for the client's leaving. What it does not understand to the last byte is net/http's to
// answer or refuse, on the same connection.
package front

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Front stands before an http.Server, whose place it takes. It is safe for concurrent use.
type Front struct {
	server *http.Server
	inner  net.Listener
	path   string

	base     context.Context
	arrivals chan arrival // at net/http
	closed   chan struct{}
	close    sync.Once

	mu       sync.Mutex
	conns    map[*conn]struct{} // all that are open
	stopping atomic.Bool

	date    atomic.Pointer[stamp]
	buffers sync.Pool // of *[]byte; connections that are idle hold none
}

// arrival is what Accept returns.
type arrival struct {
	conn *conn
	err  error
}

// New puts a Front before server, which must not have begun to serve: of those, Front takes over Handler, BaseContext,
// ErrorLog and the timeouts, all of which must be set, and it sets ConnState. It answers POST and GET requests for path
// itself: with Handler, like net/http, but with no answer begun before Handler has returned or written 64 KB. Handler may not
// change a request's header: requests of a connection that repeat it share it.
func New(inner net.Listener, server *http.Server, path string) *Front {
	f := &Front{
		server: server, inner: inner, path: path,
		arrivals: make(chan arrival), closed: make(chan struct{}), conns: make(map[*conn]struct{}),
	}
	server.RegisterOnShutdown(func() { f.stop((*conn).retire) }) // not before it has stopped to accept
	server.ConnState = func(c net.Conn, state http.ConnState) { c.(*conn).idle.Store(state == http.StateIdle) }
	return f
}

// Serve accepts and answers until Shutdown or Close, and then returns http.ErrServerClosed. It can be called once.
func (f *Front) Serve() error {
	f.base = f.server.BaseContext(f.inner)
	go f.accept()
	return f.server.Serve(listener{f})
}

// Shutdown stops accepting, closes connections that are idle, and returns when all requests that had begun are answered, or
// with an error when ctx ends.
func (f *Front) Shutdown(ctx context.Context) error {
	f.stopping.Store(true)
	err := f.server.Shutdown(ctx)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for f.stop((*conn).retire) > 0 && err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-tick.C:
		}
	}
	return err
}

// Close closes all connections at once.
func (f *Front) Close() error {
	err := f.server.Close()
	f.stop(func(c *conn) bool { c.abandon(); return false })
	return err
}

// stop calls one for each open connection, and counts those that it says are busy.
func (f *Front) stop(one func(*conn) (busy bool)) (busy int) {
	f.mu.Lock()
	all := make([]*conn, 0, len(f.conns))
	for c := range f.conns {
		all = append(all, c)
	}
	f.mu.Unlock()
	for _, c := range all {
		if one(c) {
			busy++
		}
	}
	return busy
}

// accept runs until the listener is closed. How long to wait after an error is for net/http to say, by calling Accept.
func (f *Front) accept() {
	for {
		raw, err := f.inner.Accept()
		if err != nil {
			if !f.hand(arrival{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		c := &conn{Conn: raw, front: f, remote: raw.RemoteAddr().String()}
		f.mu.Lock()
		f.conns[c] = struct{}{}
		f.mu.Unlock()
		go c.run()
	}
}

// hand gives net/http a connection or an error, unless it takes no more.
func (f *Front) hand(a arrival) bool {
	select {
	case f.arrivals <- a:
		return true
	case <-f.closed:
		return false
	}
}

func (f *Front) forget(c *conn) {
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
}

// listener is what net/http sees: the connections with a request for it.
type listener struct{ front *Front }

func (l listener) Addr() net.Addr { return l.front.inner.Addr() }

func (l listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.front.arrivals:
		if a.err != nil {
			return nil, a.err
		}
		return a.conn, nil
	case <-l.front.closed:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error {
	l.front.close.Do(func() { close(l.front.closed) })
	return l.front.inner.Close()
}

// stamp is the Date of one second.
type stamp struct {
	second int64
	text   string
}

func (f *Front) dateAt(now time.Time) string {
	s := f.date.Load()
	if s == nil || s.second != now.Unix() {
		s = &stamp{now.Unix(), now.UTC().Format(http.TimeFormat)}
		f.date.Store(s)
	}
	return s.text
}
