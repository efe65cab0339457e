package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"freshet/cmd/bench/internal/proxy"
)

// greeter answers each line with its name and the line.
func greeter(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
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
					fmt.Fprintf(conn, "%s %s\n", name, lines.Text())
				}
			}()
		}
	}()
	return l.Addr().String()
}

func ask(conn net.Conn, patience time.Duration) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func dial(t *testing.T, p *proxy.Proxy) net.Conn {
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
	if got, err := ask(conn, 10*time.Second); err != nil || got != want+"\n" {
		t.Errorf("answer: got %q, %v, want %q", got, err, want)
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	first, second := greeter(t, "first"), greeter(t, "second")
	p, err := proxy.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	old := dial(t, p)
	wantAnswer(t, old, "first hello")
	if err := p.Point(second); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(old, 10*time.Second); err == nil {
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

	if err := p.Delay(50*time.Millisecond, 0); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	wantAnswer(t, dial(t, p), "second hello")
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("an answer delayed both ways: got %s, want 100ms or more", took)
	}
	if err := p.Mend(); err != nil {
		t.Fatal(err)
	}

	if err := p.Stall(); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(dial(t, p), 200*time.Millisecond); err == nil {
		t.Errorf("a stalled proxy: got %q, want nothing", got)
	}
	if err := p.Mend(); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, dial(t, p), "second hello")
}
