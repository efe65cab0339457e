package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
)

// greeter answers each line with its name and the line. Heard counts the lines.
type greeter struct {
	addr  string
	heard atomic.Int64
}

func newGreeter(t *testing.T, name string) *greeter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g := &greeter{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					g.heard.Add(1)
					fmt.Fprintf(conn, "%s %s\n", name, lines.Text())
				}
			}()
		}
	}()
	return g
}

func ask(conn net.Conn) (string, error) {
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func wantAnswer(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if got, err := ask(conn); err != nil || got != want+"\n" {
		t.Errorf("answer: got %q, %v, want %q", got, err, want)
	}
}

func open(t *testing.T, upstream *greeter) *Proxy {
	t.Helper()
	p, err := Open(upstream.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestProxy_PointAndCut(t *testing.T) {
	t.Parallel()
	first, second := newGreeter(t, "first"), newGreeter(t, "second")
	p := open(t, first)
	old := dial(t, p)
	wantAnswer(t, old, "first hello")
	if err := p.Point(second.addr); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(old); err == nil {
		t.Errorf("over a connection from before: got %q, want it to be broken", got)
	}
	wantAnswer(t, dial(t, p), "second hello")

	p.Cut()
	if conn, err := net.Dial("tcp", p.Addr()); err == nil {
		conn.Close()
		t.Error("a cut proxy: got a connection, want none")
	}
	if err := p.Mend(); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, dial(t, p), "second hello")
}

func TestProxy_Delay(t *testing.T) {
	t.Parallel()
	const delay, jitter = 20, 10
	p := open(t, newGreeter(t, "delayed"))
	if err := p.Delay(delay*time.Millisecond, jitter*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	var streams []string
	for _, toxic := range p.proxy.Toxics.GetToxicArray() {
		set := toxic.(*toxics.ToxicWrapper)
		if got, ok := set.Toxic.(*toxics.LatencyToxic); !ok || got.Latency != delay || got.Jitter != jitter || set.Toxicity != 1 {
			t.Errorf("%s: got %+v, want %d ms of latency, %d ms more or less, on all connections", set.Stream, set, delay, jitter)
		}
		streams = append(streams, set.Stream)
	}
	slices.Sort(streams)
	if want := []string{"downstream", "upstream"}; !slices.Equal(streams, want) {
		t.Errorf("delayed: got %v, want %v", streams, want)
	}
	wantAnswer(t, dial(t, p), "delayed hello")
	if err := p.Mend(); err != nil {
		t.Fatal(err)
	}
	if got := p.proxy.Toxics.GetToxicArray(); len(got) > 0 {
		t.Errorf("a mended proxy: got %v, want no delays", got)
	}
}

// A connection through a stalled proxy opens and takes what is sent, which does not arrive.
func TestProxy_Stall(t *testing.T) {
	t.Parallel()
	upstream := newGreeter(t, "stalled")
	p := open(t, upstream)
	if err := p.Stall(); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, p)
	if _, err := io.WriteString(conn, "lost\n"); err != nil {
		t.Fatal(err)
	}
	if err := p.Mend(); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
		t.Errorf("over the stalled connection: got %q, want it to be broken", got)
	}
	wantAnswer(t, dial(t, p), "stalled hello")
	if got := upstream.heard.Load(); got != 1 {
		t.Errorf("lines that arrived: got %d, want 1, from the time after the stall", got)
	}
}
