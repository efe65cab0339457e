package front_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"freshet/internal/testenv"
)

// asking passes each request to the test, and answers it when that has closed its reply.
type asking chan asked

type asked struct {
	*http.Request
	reply chan struct{}
}

func (a asking) handle(w http.ResponseWriter, r *http.Request) {
	one := asked{r, make(chan struct{})}
	a <- one
	<-one.reply
	w.Header().Set("X-By", by(r))
	w.Write([]byte("done"))
}

// begin sends a request, and returns when its handler runs.
func (a asking) begin(conn net.Conn, text string) asked {
	io.WriteString(conn, text)
	return <-a
}

func TestContext_EndsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	a := make(asking)
	s := serve(t, serverOf(a.handle))
	conn, _ := dial(t, s.addr)
	r := a.begin(conn, post("a"))
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if err := ctx.Err(); err != nil {
		t.Errorf("before: got %v", err)
	}
	conn.Close()
	testenv.Receive(t, "the end of what was made of the context", ctx.Done())
	testenv.Receive(t, "the end of the context", r.Context().Done())
	if err := r.Context().Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	close(r.reply)
}

func TestContext_EndsWithTheAnswer(t *testing.T) {
	t.Parallel()
	for _, watched := range []bool{false, true} {
		a := make(asking)
		s := serve(t, serverOf(a.handle))
		conn, in := dial(t, s.addr)
		for range 3 { // what was watched goes on to the next request
			r := a.begin(conn, post("a"))
			if watched {
				r.Context().Done()
			}
			if err := r.Context().Err(); err != nil {
				t.Errorf("watched %t, before: got %v", watched, err)
			}
			close(r.reply)
			if got, ok := readAnswer(in, "POST"); !ok || got.Body != "done" || got.Header.Get("X-By") != "front" {
				t.Fatalf("watched %t: got %+v", watched, got)
			}
			testenv.Receive(t, "the end", r.Context().Done())
			if err := r.Context().Err(); !errors.Is(err, context.Canceled) {
				t.Errorf("watched %t: got %v, want Canceled", watched, err)
			}
		}
	}
}

func TestContext_NextRequestArrivesDuringTheWatch(t *testing.T) {
	t.Parallel()
	a := make(asking)
	s := serve(t, serverOf(a.handle))
	conn, in := dial(t, s.addr)
	r := a.begin(conn, post("a"))
	r.Context().Done()
	next := post("b")
	io.WriteString(conn, next[:1]) // the watch reads it at some time
	io.WriteString(conn, next[1:])
	close(r.reply)
	if got, ok := readAnswer(in, "POST"); !ok || got.Body != "done" {
		t.Fatalf("the first: got %+v", got)
	}
	second := <-a
	body, err := io.ReadAll(second.Body)
	if string(body) != "b" || err != nil {
		t.Errorf("the second: got %q, %v", body, err)
	}
	close(second.reply)
	if got, ok := readAnswer(in, "POST"); !ok || got.Body != "done" {
		t.Fatalf("the second: got %+v", got)
	}
}

func TestShutdown_AnswersWhatHadBegun(t *testing.T) {
	t.Parallel()
	a := make(asking)
	s := serve(t, serverOf(a.handle))
	idle, idleIn := dial(t, s.addr)
	close(a.begin(idle, post("a")).reply)
	readAnswer(idleIn, "POST")
	silent, _ := dial(t, s.addr)
	toOther := request("POST", "/other", "a", "Content-Length: 1")
	ours, _ := dial(t, s.addr)
	theirs, _ := dial(t, s.addr)
	back, backIn := dial(t, s.addr) // net/http has it, and front answers
	close(a.begin(back, toOther).reply)
	readAnswer(backIn, "POST")
	begun := map[net.Conn]asked{ours: a.begin(ours, post("a")), theirs: a.begin(theirs, toOther), back: a.begin(back, post("a"))}

	down := make(chan error, 1)
	go func() { down <- s.front.Shutdown(context.Background()) }()
	for name, conn := range map[string]net.Conn{"idle": idle, "silent": silent} {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: got %v, want the connection closed", name, err)
		}
	}
	select {
	case err := <-down:
		t.Errorf("Shutdown returned while three requests ran: %v", err)
	default:
	}
	for conn, r := range begun {
		close(r.reply)
		text, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(text), "done") || !strings.Contains(string(text), "Connection: close\r\n") {
			t.Errorf("%s: got %q, %v, want its answer and the end", r.URL, text, err)
		}
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: got %v", err)
	}
	if conn, err := net.Dial("tcp", s.addr); err == nil {
		conn.Close()
		t.Error("it still accepts")
	}
}

func TestShutdown_GivesUp(t *testing.T) {
	t.Parallel()
	a := make(asking)
	server := serverOf(a.handle)
	base, cancel := context.WithCancel(context.Background())
	server.BaseContext = func(net.Listener) context.Context { return base }
	s := serve(t, server)
	conn, _ := dial(t, s.addr)
	r := a.begin(conn, post("a"))
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := s.front.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	cancel()
	testenv.Receive(t, "the end with the server's context", r.Context().Done())
	if err := s.front.Close(); err != nil {
		t.Errorf("Close: got %v", err)
	}
	if text, err := io.ReadAll(conn); len(text) > 0 {
		t.Errorf("got %q, %v, want the connection closed", text, err)
	}
	close(r.reply)
}
