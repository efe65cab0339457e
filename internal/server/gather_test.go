package server

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
)

// counting counts the writes of the connections that it accepts.
type counting struct {
	net.Listener
	writes *atomic.Int64
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countingConn{conn, l.writes}, err
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestGather_OneWriteForAWholeAnswer(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		w.Header().Set("Content-Length", strconv.Itoa(n))
		if r.URL.Path == "/gathered" && r.Method == http.MethodGet {
			gather(r.Context(), n)
		}
		w.Write(bytes.Repeat([]byte("x"), n))
	}))
	s.Listener = &gatherer{Listener: counting{s.Listener, &writes}}
	s.Config.ConnContext = withGathering
	s.Start()
	defer s.Close()
	for _, c := range []struct {
		method, path string
		n            int
		one          bool
	}{
		{"GET", "/gathered", 10_000, true},
		{"GET", "/plain", 10_000, false}, // the negative control
		{"GET", "/gathered", 1, true},
		{"GET", "/gathered", 0, true},
		{"HEAD", "/gathered", 10_000, true},
		{"GET", "/gathered", mostGathered, true},
		{"GET", "/gathered", mostGathered + 1, false},
		{"GET", "/gathered", 4000, true},
	} {
		before := writes.Load()
		req, err := http.NewRequest(c.method, s.URL+c.path+"?n="+strconv.Itoa(c.n), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Client().Do(req) // over one connection, one after the other
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := c.n; err != nil || c.method == "GET" && len(body) != want {
			t.Errorf("%s %s of %d: got %d bytes, %v", c.method, c.path, c.n, len(body), err)
		}
		if got := writes.Load() - before; (got == 1) != c.one {
			t.Errorf("%s %s of %d: got %d writes, want one: %v", c.method, c.path, c.n, got, c.one)
		}
	}
}
