package testenv

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Pooler starts a PgBouncer before a database, for this test alone, and returns the database's address behind it. Settings
// are lines of its section [pgbouncer] that add to these or replace them: transaction mode, and three sessions.
func Pooler(t testing.TB, database string, settings map[string]string) string {
	t.Helper()
	direct, err := url.Parse(database)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("testenv:", err)
	}
	address := free.Addr().(*net.TCPAddr)
	free.Close()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		binary = "/usr/sbin/pgbouncer" // which Debian leaves out of users' PATH
	}
	cmd := exec.Command(binary, poolerFiles(t, direct, address, settings))
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal("testenv: run make tools: ", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	const patience = 20 * time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", address.String()); err == nil {
			conn.Close()
			through := *direct
			through.Host = address.String()
			return through.String()
		}
	}
	t.Fatal("testenv: PgBouncer did not start")
	return ""
}

// poolerFiles writes a configuration, and returns its path.
func poolerFiles(t testing.TB, direct *url.URL, address *net.TCPAddr, settings map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	password, _ := direct.User.Password()
	all := map[string]string{
		"listen_addr": "127.0.0.1", "listen_port": fmt.Sprint(address.Port), "unix_socket_dir": "", "auth_type": "trust",
		"auth_file": filepath.Join(dir, "users"), "pool_mode": "transaction", "default_pool_size": "3", "max_client_conn": "200",
	}
	if os.Getuid() == 0 { // PgBouncer refuses to run as root
		all["user"] = "nobody"
	}
	maps.Copy(all, settings)
	config := fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\n", direct.Hostname(), direct.Port())
	for name, value := range all {
		config += name + " = " + value + "\n"
	}
	for name, text := range map[string]string{"users": fmt.Sprintf("%q %q\n", direct.User.Username(), password), "config": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal("testenv:", err)
		}
	}
	return filepath.Join(dir, "config")
}
