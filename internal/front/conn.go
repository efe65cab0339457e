package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// room is how much of a connection is looked at at once: net/http's own buffer, where Read is called with it. A request
// that is longer is net/http's.
const room = 4 << 10

// least is how many bytes net/http takes for the beginning of a further request.
const least = 4

// mostBlank is in bytes: some clients end a POST with a line more than it has (RFC 9112, 2.2). As many as net/http allows.
const mostBlank = 4

// conn is a connection. Requests are answered in run until one comes that is net/http's. From then on net/http has the
// connection, and further requests are answered inside of its Read, while it waits for the next one.
type conn struct {
	net.Conn
	front  *Front
	remote string

	// What net/http is given. Whoever reads may use it: net/http sees to it that only one does.
	ahead []byte      // was read before it asked
	lent  []byte      // the beginning of a request, which it has read while it answered the one before
	left  int         // of its request, what it has not read yet
	lost  bool        // where its request ends is not known: all that follows is for net/http
	idle  atomic.Bool // it waits for a request

	// Of whoever answers.
	last  *head     // the latest request's: the next one often repeats it
	armed time.Time // when the deadlines were set; zero if they were set for something else
	early []byte    // was read by the watch over the request before
	blank int       // line ends that are passed over before the next request

	mu     sync.Mutex
	state  state
	handed bool // to net/http
}

type state int

const (
	waiting state = iota
	busy          // a request is being answered here
	leaving       // and the connection closes after it
	closed
)

// run answers requests until one comes that is net/http's.
func (c *conn) run() {
	p := make([]byte, room)
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.front.server.ReadHeaderTimeout))
	n, err := c.next(p)
	if err != nil {
		c.Close()
		return
	}
	c.ahead, c.left = p[:n], c.left+n
	c.mu.Lock()
	c.handed = true
	c.mu.Unlock()
	if !c.front.hand(arrival{conn: c}) {
		c.Close()
	}
}

// Read is what net/http calls.
func (c *conn) Read(p []byte) (n int, err error) {
	switch {
	case len(c.ahead) > 0:
		n = copy(p, c.ahead)
		c.ahead = c.ahead[n:]
	case c.lost:
		return c.Conn.Read(p)
	case c.left > 0:
		n, err = c.Conn.Read(p[:min(len(p), c.left)])
	case !c.idle.Load():
		// While it answers, it watches the connection with a read of one byte.
		n, err = c.Conn.Read(p)
		c.lent = append(c.lent, p[:n]...)
		return n, err
	case len(c.lent) > 0:
		if err := c.follow(); err != nil {
			return 0, err
		}
		return c.Read(p)
	default:
		return c.next(p)
	}
	c.left -= n
	return n, err
}

// follow finds the end of a request of which net/http has a part, and which therefore is its.
func (c *conn) follow() error {
	q := make([]byte, room)
	has := copy(q, c.lent)
	n := has
	_, size, err := c.receive(q, &n)
	if err != nil {
		return err
	}
	c.idle.Store(false)
	c.ahead, c.left, c.lost, c.lent = q[has:n], size-has, size < n, nil
	return nil
}

// Close closes the connection: once the answer is written, if a request is being answered here.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == busy || c.state == leaving {
		c.state = leaving
		return nil
	}
	return c.shut()
}

// CloseWrite lets net/http end what it says before it has read everything: closing alone could take its last answer back.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// abandon closes the connection whatever it does.
func (c *conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.shut()
}

// retire closes the connection as soon as that loses no answer, and tells whether one is still due here. What net/http
// has it closes itself.
func (c *conn) retire() (stillBusy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == busy, c.state == leaving:
		c.state = leaving
		return true
	case !c.handed:
		_ = c.shut()
	}
	return false
}

func (c *conn) shut() error {
	if c.state == closed {
		return net.ErrClosed
	}
	c.state = closed
	c.front.forget(c)
	return c.Conn.Close()
}

// begin tells whether a request may be answered.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != waiting {
		return false
	}
	c.state = busy
	return true
}

// end tells whether the connection stays open.
func (c *conn) end(keep bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != busy || !keep {
		_ = c.shut()
		return false
	}
	c.state = waiting
	return true
}

func (c *conn) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == leaving || c.front.stopping.Load()
}

// next answers requests until one comes that is net/http's, and returns what it has read of that, at the beginning of p.
func (c *conn) next(p []byte) (n int, err error) {
	c.armed = time.Time{}
	for {
		h, size, err := c.receive(p, &n)
		if h == nil {
			c.idle.Store(false)
			c.left, c.lost = size-n, size < n
			return n, err
		}
		if !c.answer(h, p[len(h.text):size]) {
			return 0, io.EOF
		}
		n = copy(p, p[size:n])
		n += copy(p[n:], c.early)
		c.early, c.blank = nil, 0
		if h.method == http.MethodPost {
			c.blank = mostBlank
		}
	}
}

// receive reads until there is a whole request in p, of which n bytes are there already, and returns its head and its
// size. The head is nil if it is net/http's; its size is then 0 if that is not known.
func (c *conn) receive(p []byte, n *int) (_ *head, size int, err error) {
	var begun time.Time
	for {
		for ; c.blank > 0 && *n > 0 && (p[0] == '\r' || p[0] == '\n'); c.blank-- {
			*n = copy(p, p[1:*n])
		}
		if *n >= least || *n > 0 && c.last == nil {
			c.blank = 0
			h, size, verdict := c.judge(p[:*n], len(p))
			switch verdict {
			case ours:
				return h, size, nil
			case theirs:
				return nil, size, nil
			}
			if begun.IsZero() {
				begun = time.Now()
			}
			c.hurry(begun, size > 0)
		}
		m, err := c.Conn.Read(p[*n:])
		*n += m
		switch {
		case m > 0:
		case err == io.EOF && (*n >= least || *n > 0 && c.last == nil):
			return nil, 0, nil // net/http knows what to say of half a request
		case err != nil:
			return nil, 0, err
		}
	}
}

// hurry sets the time for the rest of a request that has begun.
func (c *conn) hurry(begun time.Time, wholeHead bool) {
	limit := c.front.server.ReadHeaderTimeout
	if wholeHead {
		limit = c.front.server.ReadTimeout
	}
	c.armed = time.Time{}
	_ = c.Conn.SetReadDeadline(begun.Add(limit))
}

// arm moves the deadlines on. That is worth no more than a second's accuracy.
func (c *conn) arm(now time.Time) {
	if now.Sub(c.armed) < time.Second {
		return
	}
	c.armed = now
	_ = c.Conn.SetReadDeadline(now.Add(c.front.server.IdleTimeout))
	_ = c.Conn.SetWriteDeadline(now.Add(c.front.server.WriteTimeout))
}

// answer has a request answered, and tells whether another may follow.
func (c *conn) answer(h *head, body []byte) bool {
	if !c.begin() {
		return false
	}
	c.arm(time.Now())
	x := newExchange(c, h, body)
	ok := c.handle(x) && x.response.finish()
	x.context.end() // what waits for it has time, the client has not
	return c.end(ok)
}

// handle is false if the handler has panicked.
func (c *conn) handle(x *exchange) (ok bool) {
	defer func() {
		if ok {
			return
		}
		if value := recover(); value != http.ErrAbortHandler {
			c.front.server.ErrorLog.Printf("http: panic serving %s: %v\n%s", c.remote, value, debug.Stack())
		}
	}()
	c.front.server.Handler.ServeHTTP(&x.response, x.request)
	return true
}

// watch calls gone if the client leaves, until the returned function is called. That waits for the watch's end: nobody
// else may read meanwhile. It begins after a moment, since most answers are quicker than anybody leaves.
func (c *conn) watch(gone context.CancelFunc) (stop func()) {
	const moment = 2 * time.Millisecond
	done := make(chan struct{})
	begun := time.AfterFunc(moment, func() {
		defer close(done)
		var one [1]byte
		n, err := c.Conn.Read(one[:])
		c.early = append(c.early, one[:n]...)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	})
	return func() {
		if begun.Stop() {
			return
		}
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		<-done
		c.armed = time.Time{}
		c.arm(time.Now())
	}
}
