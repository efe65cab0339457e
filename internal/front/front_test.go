package front_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/front"
)

const path = "/graphql"

// served is a server with a Front, or without one: net/http alone is what all else is compared with.
type served struct {
	addr   string
	writes atomic.Int64
	front  *front.Front
}

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
	if err != nil {
		return nil, err
	}
	return countingConn{conn, l.writes}, nil
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func (c countingConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

func serverOf(handler http.HandlerFunc) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 20 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 20 * time.Second,
		IdleTimeout: 20 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return context.Background() },
	}
}

func serve(t testing.TB, server *http.Server) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{addr: l.Addr().String()}
	s.front = front.New(counting{l, &s.writes}, server, path)
	done := make(chan error, 1)
	go func() { done <- s.front.Serve() }()
	t.Cleanup(func() {
		s.front.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: got %v, want ErrServerClosed", err)
		}
	})
	return s
}

func serveAlone(t testing.TB, server *http.Server) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return &served{addr: l.Addr().String()}
}

// told is what a handler has seen of a request.
type told struct {
	Method, URI, Path, Query, Host, Proto string
	Length                                int64
	Header                                http.Header
	Body                                  string
}

// tell answers with what it was asked, in a way that the request chooses.
func tell(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "body", http.StatusBadRequest)
		return
	}
	text, _ := json.Marshal(told{r.Method, r.RequestURI, r.URL.Path, r.URL.RawQuery, r.Host, r.Proto, r.ContentLength, r.Header, string(body)})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-By", by(r))
	switch r.Header.Get("X-How") {
	case "":
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.Write(text)
	case "no length":
		w.WriteHeader(http.StatusAccepted)
		w.Write(text[:5])
		w.Write(text[5:])
	case "nothing":
	case "204":
		w.WriteHeader(http.StatusNoContent)
	case "304":
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
		w.Write(text)
	case "close":
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.Write(text)
	case "short":
		w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
		w.Write(text)
	case "long":
		w.Header().Set("Content-Length", "5")
		w.Write(text)
		w.Write(text)
	case "large":
		text = bytes.Repeat(text, 1000)
		w.Header().Set("Content-Length", strconv.Itoa(2*len(text)))
		w.Write(text)
		w.Write(text)
	case "injected":
		w.Header().Set("X-Value", "a\r\nX-Other: b")
		w.Header().Set("X-Na\nme", "c")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusBadRequest)
	case "abort":
		panic(http.ErrAbortHandler)
	case "panic":
		panic("as asked")
	}
}

// by tells who has handed a request over.
func by(r *http.Request) string {
	if r.Context().Value(http.ServerContextKey) == nil {
		return "front"
	}
	return "net/http"
}

// answer is a response as clients see it.
type answer struct {
	Status string
	Header http.Header
	Length int64
	Close  bool
	Body   string
	Err    string
}

// ask sends the pieces of a stream one after the other, ends it, and returns all answers.
func ask(t testing.TB, addr string, pieces ...string) (all []answer) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		for _, piece := range pieces {
			if _, err := io.WriteString(conn, piece); err != nil {
				return
			}
		}
		conn.(*net.TCPConn).CloseWrite()
	}()
	for in := bufio.NewReader(conn); ; {
		a, ok := readAnswer(in, "")
		if !ok {
			return all
		}
		all = append(all, a)
	}
}

func readAnswer(in *bufio.Reader, method string) (a answer, ok bool) {
	r, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return answer{}, false
	}
	body, err := io.ReadAll(r.Body)
	a = answer{Status: r.Status, Header: r.Header, Length: r.ContentLength, Close: r.Close, Body: string(body)}
	if err != nil {
		a.Err = err.Error()
	}
	return a, true
}

// same takes away what may differ: the time, how a connection ends, and how a length is sent that the handler did not say.
func same(all []answer) string {
	for i := range all {
		a := &all[i]
		delete(a.Header, "Date")
		delete(a.Header, "X-By")
		switch { // whether the end of a connection shows as a reset depends on what was on its way
		case a.Close && a.Length < 0:
			a.Err = ""
		case a.Err != "":
			a.Err = "cut off"
		}
		if a.Status == "202 Accepted" {
			a.Length = int64(len(a.Body))
			delete(a.Header, "Content-Length")
		}
	}
	text, _ := json.MarshalIndent(all, "", " ")
	return string(text)
}

func post(body string, fields ...string) string {
	return request("POST", path, body, append(fields, "Content-Length: "+strconv.Itoa(len(body)))...)
}

func request(method, target, body string, fields ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: api.example"}, fields...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// one asks over a connection that stays open.
func one(t testing.TB, conn net.Conn, in *bufio.Reader, text string) answer {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	a, ok := readAnswer(in, method)
	if !ok {
		t.Fatalf("no answer to %.80q", text)
	}
	return a
}

func dial(t testing.TB, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, bufio.NewReader(conn)
}

func TestFront_WhoAnswers(t *testing.T) {
	t.Parallel()
	s := serve(t, serverOf(tell))
	conn, in := dial(t, s.addr)
	for i, c := range []struct{ text, by string }{
		{post("a"), "front"},
		{post("b", "X-How: no length"), "front"},
		{request("GET", path+"?query=%7Ba%7D", ""), "front"},
		{request("POST", "/other", "abc", "Content-Length: 3"), "net/http"},
		{post("c"), "front"}, // back from net/http
		{post(strings.Repeat("d", 10_000)), "net/http"},
		{post("e", "Connection: keep-alive"), "front"},
		{request("GET", "/livez", ""), "net/http"},
		{request("HEAD", path, "", "X-How: nothing"), "net/http"},
		{post("f", "Pragma: no-cache"), "net/http"},
		{post("g"), "front"},
		{request("POST", path, "1\r\nh\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), "net/http"},
		{post("i"), "net/http"}, // where the one before ended is not for us to know
	} {
		got := one(t, conn, in, c.text)
		// net/http may have read the first byte of a quick one, while it finished with the one before: that one is its too.
		for tries := 0; c.by == "front" && i > 0 && got.Header.Get("X-By") != c.by && tries < 100; tries++ {
			got = one(t, conn, in, c.text)
		}
		if got.Header.Get("X-By") != c.by {
			t.Errorf("request %d: got by %q, want %q: %+v", i, got.Header.Get("X-By"), c.by, got)
		}
	}
}

func TestFront_OneWriteForAWholeAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, serverOf(tell))
	conn, in := dial(t, s.addr)
	for _, c := range []struct {
		text string
		most int64
	}{
		{post("a"), 1},
		{post(strings.Repeat("a", 3000), "X-How: no length"), 1},
		{post("", "X-How: nothing"), 1},
		{post(strings.Repeat("a", 3000), "X-How: large"), 3},
	} {
		before := s.writes.Load()
		one(t, conn, in, c.text)
		if got := s.writes.Load() - before; got != c.most {
			t.Errorf("writes for %.120q: got %d, want %d", c.text, got, c.most)
		}
	}
	before := s.writes.Load()
	one(t, conn, in, request("POST", "/other", strings.Repeat("a", 6000), "Content-Length: 6000"))
	if got := s.writes.Load() - before; got < 2 {
		t.Errorf("writes of net/http: got %d, want several: the control sees nothing", got)
	}
}

func TestFront_ClosesSilentConnections(t *testing.T) {
	t.Parallel()
	server := serverOf(tell)
	server.ReadHeaderTimeout, server.ReadTimeout, server.IdleTimeout = 50*time.Millisecond, 60*time.Millisecond, 70*time.Millisecond
	s := serve(t, server)
	whole := post("abc")
	for name, before := range map[string]string{
		"that say nothing":                "",
		"that say half a line":            "POST /gra",
		"that say half a header":          whole[:len(whole)-6],
		"that say half a body":            whole[:len(whole)-1],
		"that say nothing more":           whole,
		"that say half a second request":  whole + "POST /gra",
		"that say half a second body":     whole + whole[:len(whole)-1],
		"that net/http had":               request("GET", "/livez", ""),
		"that came back from net/http":    request("GET", "/livez", "") + whole,
		"that came back, with half a one": request("GET", "/livez", "") + whole[:len(whole)-1],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, in := dial(t, s.addr)
			if _, err := io.WriteString(conn, before); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, in); err != nil {
				t.Errorf("got %v, want the connection closed", err)
			}
		})
	}
}

// The time for a header ends with it: a body may come as late as ReadTimeout allows.
func TestFront_BodyHasItsOwnTime(t *testing.T) {
	t.Parallel()
	server := serverOf(tell)
	server.ReadHeaderTimeout = 2 * time.Second
	s := serve(t, server)
	whole := post("abc")
	conn, in := dial(t, s.addr)
	silent, _ := dial(t, s.addr)
	for _, piece := range []string{whole[:10], whole[10 : len(whole)-1]} {
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(silent, whole[:10]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, silent); err != nil { // it is closed when the time for its header is over
		t.Fatal(err)
	}
	if got := one(t, conn, in, whole[len(whole)-1:]); got.Status != "200 OK" || got.Header.Get("X-By") != "front" {
		t.Errorf("got %+v, want an answer", got)
	}
}
