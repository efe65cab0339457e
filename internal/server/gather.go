package server

import (
	"bytes"
	"context"
	"net"
	"sync"
)

// net/http writes an answer of more than 4 KB, header included, in two or more system calls, and wakes its reader for
// each. A whole result is known to its last byte, so it leaves in one.

// gatherer is a listener whose connections can gather what is written.
type gatherer struct {
	net.Listener
	buffers sync.Pool // of *[]byte; connections that are idle hold none
}

func (g *gatherer) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gathering{Conn: conn, buffers: &g.buffers}, nil
}

// gathering is a connection that, once told how long the next answer's body is, holds what is written until that is
// complete. Only the goroutine that answers writes.
type gathering struct {
	net.Conn
	buffers *sync.Pool
	held    *[]byte
	want    int // of the body; 0: nothing is held
}

// mostGathered is in bytes: what is longer is written in more than one piece.
const mostGathered = 64 << 10

type gatheringKey struct{}

func withGathering(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, gatheringKey{}, conn)
}

// gather is called right before a header with a Content-Length of n, and then exactly n bytes, are written.
func gather(ctx context.Context, n int) {
	if c, ok := ctx.Value(gatheringKey{}).(*gathering); ok && n > 0 && n <= mostGathered {
		c.want = n
		if c.held, ok = c.buffers.Get().(*[]byte); !ok {
			c.held = new([]byte)
		}
	}
}

func (c *gathering) Write(p []byte) (int, error) {
	if c.want == 0 {
		return c.Conn.Write(p)
	}
	held := append(*c.held, p...)
	*c.held = held
	header := bytes.Index(held, []byte("\r\n\r\n"))
	if header < 0 || len(held) < header+4+c.want {
		return len(p), nil
	}
	_, err := c.Conn.Write(held)
	*c.held = held[:0]
	c.buffers.Put(c.held)
	c.held, c.want = nil, 0
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
