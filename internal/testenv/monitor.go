package testenv

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Monitor records the commands that a Redis server is sent for one of its numbered databases. Its connections are its own:
// those of go-redis' MonitorCmd go back into a pool while they are being read.
type Monitor struct {
	t        testing.TB
	database string
	commands []string
	stream   *bufio.Reader
	marks    *redisConn
	marked   int
}

// NewMonitor begins to record at the server and for the database that a URL names, until the test ends.
func NewMonitor(t testing.TB, address string) *Monitor {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	stream := dialRedis(t, u)
	stream.do("MONITOR")
	return &Monitor{t: t, database: strings.TrimPrefix(u.Path, "/"), stream: stream.replies, marks: dialRedis(t, u)}
}

// Commands are those of the database so far, in order, as MONITOR writes them: "SET" "key" "value". It is for one
// goroutine at a time.
func (m *Monitor) Commands() []string {
	m.t.Helper()
	m.marked++
	mark := fmt.Sprintf("mark-%p-%d", m, m.marked) // what came before it in the stream is complete
	m.marks.do("ECHO " + mark)
	for {
		line, err := m.stream.ReadString('\n')
		if err != nil {
			m.t.Fatal("testenv: MONITOR:", err)
		}
		_, rest, _ := strings.Cut(line, "[")
		client, command, _ := strings.Cut(rest, "] ")
		if strings.Contains(command, mark) {
			return m.commands
		}
		if database, _, _ := strings.Cut(client, " "); database == m.database {
			m.commands = append(m.commands, strings.TrimSpace(command))
		}
	}
}

// redisConn is a connection to a single server.
type redisConn struct {
	t       testing.TB
	conn    net.Conn
	replies *bufio.Reader
}

func dialRedis(t testing.TB, u *url.URL) *redisConn {
	t.Helper()
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(hangs)); err != nil {
		t.Fatal("testenv:", err)
	}
	c := &redisConn{t, conn, bufio.NewReader(conn)}
	if password, ok := u.User.Password(); ok {
		c.do("AUTH " + u.User.Username() + " " + password)
	}
	return c
}

// do sends a command of words without spaces, and reads the first line of its reply.
func (c *redisConn) do(command string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(command + "\r\n")); err != nil {
		c.t.Fatal("testenv:", err)
	}
	if reply, err := c.replies.ReadString('\n'); err != nil || strings.HasPrefix(reply, "-") {
		name, _, _ := strings.Cut(command, " ")
		c.t.Fatalf("testenv: %s: got %q, %v", name, reply, err)
	}
}
