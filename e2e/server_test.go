package e2e_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"freshet/internal/devenv"
	"freshet/internal/playground"
)

// site is a running Freshet with demo data.
type site struct {
	origin   string
	token    string // of the demo account
	page     string // the playground's token: of the demo account, with the developers' scope
	admin    string // the administrator's token
	database string // its address, with the password
	data     string // directory
	program  string // freshet itself, for commands beside the one that serves
}

// startSite builds the program and runs its dev command, as a developer does, over an empty data directory. It ends with
// the test.
func startSite(t *testing.T) site {
	t.Helper()
	directory := openDirectory(t)
	program := filepath.Join(directory, "freshet")
	if said, err := exec.Command("go", "build", "-o", program, "freshet").CombinedOutput(); err != nil {
		t.Fatalf("build freshet: %v\n%s", err, said)
	}
	data := filepath.Join(directory, "data")
	said := &output{waitsFor: playground.Path, found: make(chan struct{})}
	server := exec.Command(program, "dev", "--addr", "127.0.0.1:0", "--data", data)
	server.Stdout, server.Stderr = said, said
	if err := server.Start(); err != nil {
		t.Fatalf("start freshet dev: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Wait() // what it said tells why
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("freshet dev ended with %v and said:\n%s", server.ProcessState, said)
		}
	})
	select {
	case <-said.found:
	case <-ended:
		t.Fatal("got an end of freshet dev, want it to serve")
	case <-time.After(2 * time.Minute):
		t.Fatal("got no address of the playground from freshet dev, want one")
	}
	info, err := devenv.ReadInfo(data)
	if err != nil {
		t.Fatalf("learn the server's address: %v", err)
	}
	return site{
		origin: info.URL, token: info.Token, page: info.PlaygroundToken, admin: info.AdminToken, database: info.DatabaseURL, data: data, program: program,
	}
}

// openDirectory is a temporary one, which the account that PostgreSQL runs under may pass through, as t.TempDir's parent
// does not let it.
func openDirectory(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "freshet-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	if err := os.Chmod(directory, 0o711); err != nil {
		t.Fatal(err)
	}
	return directory
}

// output keeps what a program says, and closes found when it has said the one thing that is waited for.
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
	if !o.done && bytes.Contains(o.text.Bytes(), []byte(o.waitsFor)) {
		o.done = true
		close(o.found)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
