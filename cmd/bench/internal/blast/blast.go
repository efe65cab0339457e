// Package blast sends one request over and over through plain connections. It costs a fraction of what net/http's client
// costs, and so leaves the cores to the server that is measured.
package blast

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Target is a server and the requests that it gets: each connection sends its own, round after round.
type Target struct {
	// Addr is host and port.
	Addr string
	// Requests are whole HTTP/1.1 requests, as bytes; connection i sends number i modulo their count.
	Requests [][]byte
	// Check judges an answer's body, outside of what is measured: the first of each connection. Nil accepts all.
	Check func(header http.Header, body []byte) error
}

// Request makes one, with header lines "Name: value".
func Request(method, path string, body []byte, lines ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	if body != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// connection is one client.
type connection struct {
	net.Conn
	in      *bufio.Reader
	request []byte
}

func (t *Target) open(n int) (all []*connection, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	for i := range n {
		conn, err := net.Dial("tcp", t.Addr)
		if err != nil {
			return all, err
		}
		c := &connection{conn, bufio.NewReaderSize(conn, 32<<10), t.Requests[i%len(t.Requests)]}
		all = append(all, c)
		if err := c.first(t.Check); err != nil {
			return all, err
		}
	}
	return all, nil
}

func closeAll(all []*connection) {
	for _, c := range all {
		c.Close()
	}
}

// first sends one request and looks at the answer as a whole.
func (c *connection) first(check func(http.Header, []byte) error) error {
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", response.Status, body)
	}
	if check != nil {
		return check(response.Header, body)
	}
	return nil
}

// Callers are connections to one server, as many as are asked at the same time. They are safe for concurrent use.
type Callers struct {
	// Addr is host and port.
	Addr string

	mu   sync.Mutex
	idle []*connection
}

// Ask sends a whole HTTP/1.1 request and returns its answer's body. Anything but 200 is an error.
func (c *Callers) Ask(ctx context.Context, request []byte) (body []byte, err error) {
	one, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { one.Close() })()
	one.request = request
	if err := one.first(func(_ http.Header, whole []byte) error { body = whole; return nil }); err != nil {
		one.Close()
		return nil, cmp.Or(ctx.Err(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, one)
	return body, nil
}

func (c *Callers) take(ctx context.Context) (*connection, error) {
	c.mu.Lock()
	if last := len(c.idle) - 1; last >= 0 {
		one := c.idle[last]
		c.idle = c.idle[:last]
		c.mu.Unlock()
		return one, nil
	}
	c.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn, in: bufio.NewReaderSize(conn, 32<<10)}, nil
}

// Close closes the connections, none of which may be in use.
func (c *Callers) Close() { closeAll(c.idle) }

// once sends the request and reads the answer to its end. Anything but 200 with a length is an error.
func (c *connection) once() error {
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("answer: %s", strings.TrimSpace(string(line)))
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("answer without a length")
	}
	_, err = c.in.Discard(length)
	return err
}

// Throughput keeps n connections busy, each with one request at a time, and returns how many requests a second were
// answered in a stretch that begins after a short warm-up, and how many there were with the warm-up.
func Throughput(ctx context.Context, t Target, n int, long time.Duration) (rate float64, all int, err error) {
	const warmUp = 300 * time.Millisecond
	conns, err := t.open(n)
	if err != nil {
		return 0, 0, fmt.Errorf("open %d connections to %s: %w", n, t.Addr, err)
	}
	defer closeAll(conns)
	begin := time.Now().Add(warmUp)
	end := begin.Add(long)
	done, sent, errs := make([]int, n), make([]int, n), make([]error, n)
	var work sync.WaitGroup
	for i, c := range conns {
		work.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
				if errs[i] = c.once(); errs[i] != nil {
					return
				}
				sent[i]++
				if now = time.Now(); now.After(begin) && now.Before(end) {
					done[i]++
				}
			}
		})
	}
	work.Wait()
	counted := 0
	for i := range conns {
		counted += done[i]
		all += sent[i]
	}
	return float64(counted) / long.Seconds(), all, errors.Join(append(errs, ctx.Err())...)
}

// Latency sends requests at a fixed rate through n connections and returns the time that a share q of them were answered
// within. Each counts from when it was due: a request that waits for a free connection waits for the server.
func Latency(ctx context.Context, t Target, n int, rate float64, long time.Duration, q float64) (time.Duration, error) {
	all, err := t.open(n)
	if err != nil {
		return 0, fmt.Errorf("open %d connections to %s: %w", n, t.Addr, err)
	}
	defer closeAll(all)
	due := make(chan time.Time, int(rate*long.Seconds())+1)
	took, errs := make([][]time.Duration, n), make([]error, n)
	var work sync.WaitGroup
	for i, c := range all {
		work.Go(func() {
			for at := range due {
				if errs[i] = c.once(); errs[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	pace(ctx, rate, long, due)
	close(due)
	work.Wait()
	sorted := slices.Concat(took...)
	slices.Sort(sorted)
	if err := errors.Join(append(errs, ctx.Err())...); err != nil || len(sorted) == 0 {
		return 0, err
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)], nil
}

// pace hands out requests when they are due. It sleeps in steps of at most a millisecond, the least that a timer takes,
// and then hands out all that have become due.
func pace(ctx context.Context, rate float64, long time.Duration, due chan<- time.Time) {
	start := time.Now()
	tick := time.NewTicker(time.Millisecond / 2)
	defer tick.Stop()
	gap := time.Duration(float64(time.Second) / rate)
	next := start
	for now := start; now.Sub(start) < long && ctx.Err() == nil; now = <-tick.C {
		for ; !next.After(now); next = next.Add(gap) {
			due <- next
		}
	}
}
