package deploy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool is a program that `make tools` installs.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if path := filepath.Join(dir, name); exec.Command(path, "-v").Run() == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: run make tools", name)
	return ""
}

// checkNginx has nginx read a configuration, with its files in a directory of the test's.
func checkNginx(t *testing.T, dir string) func(text string) error {
	binary := tool(t, "nginx")
	return func(text string) error {
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		if out, err := exec.Command(binary, "-t", "-q", "-e", "/dev/stderr", "-p", dir, "-c", file).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
}

// local leads the balancer to servers of the test's own, on a port of its own.
func local(t *testing.T, dir, port, one, two string) string {
	t.Helper()
	text := read(t, "nginx.conf")
	for old, with := range map[string]string{
		"listen 80;": "listen 127.0.0.1:" + port + ";", "/dev/stderr warn;": "/dev/stderr notice;", "freshet-1:8080": one, "freshet-2:8080": two, "worker_processes auto;": "worker_processes 1;\ndaemon off;\nmaster_process off;",
	} {
		text = replaced(t, text, old, with)
	}
	return strings.ReplaceAll(text, "/tmp/", dir+"/")
}

func TestNginx_Configuration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listener, port := listen(t)
	defer listener.Close()
	wantValid(t, local(t, dir, port, gone, gone), checkNginx(t, dir),
		[2]string{"least_conn;", "least_con;"},
		[2]string{"keepalive 64;", "keepalive many;"},
		[2]string{"proxy_pass http://freshet;", "proxy_pass http://freshed;"},
		[2]string{"server_tokens off;", "server_tokens off"},
	)
}

// gone is where nothing listens: an instance that has stopped.
const gone = "127.0.0.1:1"

// What instances get, and what strangers don't.
func TestNginx_Balances(t *testing.T) {
	t.Parallel()
	var seen http.Header
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		io.WriteString(w, "fresh "+r.URL.Path)
	}))
	defer alive.Close()
	base := balance(t, strings.TrimPrefix(alive.URL, "http://"), gone)
	for range 4 {
		req, _ := http.NewRequest("POST", base+"/graphql", strings.NewReader("{}"))
		req.Header.Set("X-Forwarded-For", "1.2.3.4")
		req.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		if status, body := answer(t, req); status != 200 || body != "fresh /graphql" {
			t.Errorf("POST with one instance gone: got %d %q, want the other's answer", status, body)
		}
		if seen.Get("X-Forwarded-For") != "127.0.0.1" || seen.Get("Traceparent") != "" || seen.Get("X-Request-Id") == "" {
			t.Errorf("headers: got %v, want the client's address, an id, and no trace of a stranger's", seen)
		}
	}
	for _, path := range []string{"/metrics", "/livez", "/readyz", "/", "/graphql/x", "//metrics"} {
		req, _ := http.NewRequest("GET", base+path, nil)
		if status, body := answer(t, req); status != 404 {
			t.Errorf("%s: got %d %q, want 404", path, status, body)
		}
	}
}

// balance runs nginx in front of two addresses, on a port that is free.
func balance(t *testing.T, one, two string) (url string) {
	t.Helper()
	for {
		listener, port := listen(t)
		listener.Close()
		dir := t.TempDir()
		if err := checkNginx(t, dir)(local(t, dir, port, one, two)); err != nil {
			t.Fatal(err)
		}
		said, serves := startNginx(t, dir)
		if serves {
			return "http://127.0.0.1:" + port
		}
		if !strings.Contains(said, "Address already in use") { // by another process, since
			t.Fatalf("nginx ended: %s", said)
		}
	}
}

// startNginx returns when nginx serves, or has ended. It serves once it says how it waits for events.
func startNginx(t *testing.T, dir string) (said string, serves bool) {
	t.Helper()
	cmd := exec.Command(tool(t, "nginx"), "-e", "/dev/stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(stderr); lines.Scan(); said += lines.Text() + "\n" {
		if strings.Contains(lines.Text(), " event method") {
			read := make(chan struct{})
			go func() {
				defer close(read)
				io.Copy(t.Output(), stderr)
			}()
			t.Cleanup(func() {
				cmd.Process.Kill()
				<-read
			})
			return said, true
		}
	}
	return said, false
}

func listen(t *testing.T) (listener net.Listener, port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return listener, port
}

func answer(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
