package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v3"
)

// The baselines are handlers that do the least that a cache in their place would have to do: read the same POST, get
// the same bytes, write them. They run in a process of their own, as the server does.

// baselineCommand is this program as a server of baselines; measurements start it.
func baselineCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name: "baseline", Hidden: true, Usage: "serve the handlers that hits are compared with",
		Flags: []cli.Flag{&cli.StringFlag{Name: "redis", Required: true}},
		Action: func(ctx context.Context, c *cli.Command) error {
			return serveBaselines(ctx, c.String("redis"), stdout)
		},
	}
}

// serveBaselines serves /memory, /get and /pipelined until ctx ends. Each has the bytes that were last PUT there. At /cpu it
// tells the seconds of processor time that it has taken.
func serveBaselines(ctx context.Context, url string, stdout io.Writer) error {
	o, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	o.PoolSize = 64
	client := redis.NewClient(o)
	defer client.Close()
	pipelined, err := client.AutoPipeline()
	if err != nil {
		return err
	}
	defer pipelined.Close()
	mux := http.NewServeMux()
	mux.Handle("/get", &baseline{client: client, get: func(ctx context.Context, key string) ([]byte, error) { return client.Get(ctx, key).Bytes() }})
	mux.Handle("/pipelined", &baseline{client: client, get: func(ctx context.Context, key string) ([]byte, error) { return pipelined.Get(ctx, key).Bytes() }})
	mux.Handle("/memory", &baseline{})
	mux.HandleFunc("/cpu", func(w http.ResponseWriter, _ *http.Request) {
		var used syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, time.Duration(used.Utime.Nano()+used.Stime.Nano()).Seconds())
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, l.Addr())
	server := &http.Server{Handler: mux}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// baseline answers POST with what was PUT.
type baseline struct {
	client   *redis.Client
	get      func(ctx context.Context, key string) ([]byte, error) // nil: from memory
	body     []byte
	encoding string
}

const baselineKey = "bench:baseline:"

func (b *baseline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPut {
		b.body, b.encoding = sent, r.Header.Get("Content-Encoding")
		if b.get != nil {
			err = b.client.Set(r.Context(), baselineKey+r.URL.Path, sent, 0).Err()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		return
	}
	body := b.body
	if b.get != nil {
		if body, err = b.get(r.Context(), baselineKey+r.URL.Path); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if b.encoding != "" {
		h.Set("Content-Encoding", b.encoding)
	}
	w.Write(body)
}

// baselines is a running process of them.
type baselines struct {
	addr string
	stop func() error
}

func startBaselines(ctx context.Context, redisURL string) (*baselines, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, self, "baseline", "--redis", redisURL)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start the baselines: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	stop := func() error {
		cancel()
		_ = cmd.Wait() // killed, as intended
		return nil
	}
	if err != nil {
		return nil, fmt.Errorf("start the baselines: %w", err)
	}
	return &baselines{strings.TrimSpace(line), stop}, nil
}

// cpu is the processor time that they have taken, in seconds.
func (b *baselines) cpu(ctx context.Context) (seconds float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.addr+"/cpu", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = fmt.Fscan(response.Body, &seconds)
	return seconds, err
}

// put gives all baselines the bytes that they answer with.
func (b *baselines) put(ctx context.Context, body []byte, encoding string) error {
	for _, path := range []string{"/memory", "/get", "/pipelined"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+b.addr+path, strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		if encoding != "" {
			request.Header.Set("Content-Encoding", encoding)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("put %s: %s", path, response.Status)
		}
	}
	return nil
}
