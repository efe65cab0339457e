// Package e2e_test tests a running server with a real browser and with real GraphQL clients.
package e2e_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"freshet/internal/devenv"
	"freshet/internal/playground"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// hangs is how long one step may take before it counts as a hang. It judges no speed.
const hangs = 5 * time.Minute

// site is a running Freshet with demo data.
type site struct {
	origin   string
	token    string // of the demo account
	page     string // the playground's token: of the demo account, with the developers' scope
	admin    string // the administrator's token
	database string // its address, with the password
	redis    string // its address, with the password
	data     string // directory
	program  string // freshet itself, for commands beside the one that serves
}

// TestSite uses one Freshet and one Chromium for all that follows. Its parts share the demo account and the caches as an
// app's users do: each one takes into account that others read and write beside it.
func TestSite(t *testing.T) {
	t.Parallel()
	at := startSite(t)
	t.Run("Tour", func(t *testing.T) { followTour(t, at) }) // alone, for its boxes say what nobody else has asked or changed
	browser := startBrowser(t)
	for name, test := range map[string]func(*testing.T, context.Context, site){
		"Clients":          useClients,
		"Playground":       usePlayground,
		"CachePanel":       useCachePanel,
		"Looks":            holdLooks,
		"Keyboard":         useKeyboard,
		"Overview":         useOverview,
		"OverviewOfServer": overviewOfServer,
		"TabNotesFaults":   tabNotesFaults,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, browser, at)
		})
	}
}

// startSite runs freshet dev, as a developer does, over an empty data directory. It ends with the test.
func startSite(t *testing.T) site {
	t.Helper()
	program, data := testenv.Program(t), testenv.DataDir(t)
	said := &output{waitsFor: playground.Path, found: make(chan struct{})}
	server := exec.Command(program, "dev", "--addr", "127.0.0.1:0", "--data", data, "--request-timeout", hangs.String())
	server.Stdout, server.Stderr = said, said
	if err := server.Start(); err != nil {
		t.Fatalf("start freshet dev: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Wait() // its output tells why
		said.end()
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("freshet dev ended with %v and said:\n%s", server.ProcessState, said)
		}
	})
	testenv.Receive(t, "address of the playground, from freshet dev", said.found)
	info, err := devenv.ReadInfo(data)
	if err != nil {
		t.Fatalf("learn the server's address: %v", err)
	}
	return site{
		origin: info.URL, token: info.Token, page: info.PlaygroundToken, admin: info.AdminToken,
		database: info.DatabaseURL, redis: info.RedisURL, data: data, program: program,
	}
}

// output keeps the output of a program. It closes found when the text that it waits for has come, or none will.
type output struct {
	waitsFor string
	found    chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	done bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	if bytes.Contains(o.text.Bytes(), []byte(o.waitsFor)) {
		o.close()
	}
	return len(p), nil
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.close()
}

// close runs with o.mu locked.
func (o *output) close() {
	if !o.done {
		o.done = true
		close(o.found)
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
