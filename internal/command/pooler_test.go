package command

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/testenv"
)

// pooled starts a PgBouncer in transaction mode, with few connections, and returns the database's address behind it.
func pooled(t *testing.T, database string) string {
	t.Helper()
	direct, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().(*net.TCPAddr)
	free.Close()
	dir := t.TempDir()
	password, _ := direct.User.Password()
	user := "" // PgBouncer refuses to run as root
	if os.Getuid() == 0 {
		user = "user = nobody\n"
	}
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
%slisten_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s/users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
`, direct.Hostname(), direct.Port(), user, address.Port, dir)
	for name, text := range map[string]string{"users": fmt.Sprintf("%q %q\n", direct.User.Username(), password), "config": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		binary = "/usr/sbin/pgbouncer" // which Debian leaves out of users' PATH
	}
	cmd := exec.Command(binary, filepath.Join(dir, "config"))
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal("run make tools: ", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", address.String()); err == nil {
			conn.Close()
			through := *direct
			through.Host = address.String()
			return through.String()
		}
	}
	t.Fatal("PgBouncer did not start")
	return ""
}

// Behind a pooler in transaction mode, with the change log going past it, all is as without: more connections than the
// pooler has, reads, writes that show on every instance, rollbacks.
func TestPooler_InTransactionMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	through := pooled(t, w.database)
	behind := func(o *ServeOptions) { o.DatabaseURL, o.LogDatabaseURL = through, w.database }
	a, b := w.startWith(behind), w.startWith(behind)
	var all sync.WaitGroup
	tokens := make([]string, 8)
	for n := range tokens {
		all.Go(func() { tokens[n], _ = a.person(fmt.Sprintf("person%d", n)) })
	}
	all.Wait()
	for n, token := range tokens {
		all.Go(func() {
			for i := range 5 {
				name := fmt.Sprintf("Name %d of %d", i, n)
				a.must(token, `mutation($n: String!) { updateProfile(input: {name: $n}) { profile { name } userErrors { message } } }`,
					map[string]any{"n": name}, nil)
				for _, at := range []*api{a, b} {
					at.wantAt(token, "viewer.profile.name", name, `{ viewer { profile { name } } }`, nil)
				}
			}
			a.must(token, feedQuery, nil, nil)
		})
	}
	all.Wait()
	if lapsed := a.instance.node.Stats().Lapsed; lapsed > 0 {
		t.Errorf("writes answered only when grants had ended: got %d, want none", lapsed)
	}
}

func TestPooler_LogOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), testenv.Database(t)
	o := w.options()
	o.LogDatabaseURL = other
	i, err := newInstance(t.Context(), o)
	if err == nil {
		i.close()
	}
	if err == nil || !strings.Contains(err.Error(), "another database") {
		t.Errorf("got %v, want a refusal", err)
	}
}
