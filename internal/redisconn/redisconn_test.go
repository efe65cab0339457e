package redisconn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func open(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := Open(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func wantMasters(t *testing.T, client redis.UniversalClient, want int) {
	t.Helper()
	roles := []string{}
	err := Masters(t.Context(), client, func(ctx context.Context, node *redis.Client) error {
		role, err := node.Do(ctx, "ROLE").Slice()
		if err == nil {
			roles = append(roles, fmt.Sprint(role[0]))
		}
		return err
	})
	if err != nil || strings.Join(roles, " ") != strings.TrimSpace(strings.Repeat("master ", want)) {
		t.Errorf("roles: got %q, %v, want %d masters", roles, err, want)
	}
}

func TestOpen_ReachesEachForm(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		url     string
		masters int
	}{
		{testenv.SharedRedis(t), 1},
		{testenv.SharedSentinel(t).URL, 1},
		{testenv.SharedCluster(t).URL, 3},
	} {
		client := open(t, one.url)
		pipe := client.Pipeline()
		for i := range 20 {
			pipe.Set(t.Context(), fmt.Sprintf("open:%d", i), i, time.Minute)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Errorf("20 SETs: got %v", err)
		}
		wantMasters(t, client, one.masters)
	}
}

func TestOpen_User(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t, nil)
	admin := open(t, r.URL)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">s3cret/@?", "~freshet:*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	app := open(t, "redis://app:s3cret%2F%40%3F@"+r.Addr)
	if err := app.Set(t.Context(), "freshet:x", 1, 0).Err(); err != nil {
		t.Errorf("SET as app: got %v", err)
	}
	if err := app.Set(t.Context(), "other:x", 1, 0).Err(); err == nil {
		t.Error("SET of another's key as app: got no error, want NOPERM")
	}
	if err := open(t, "redis://app:wrong@"+r.Addr).Ping(t.Context()).Err(); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("PING with a wrong password: got %v, want an error that does not show it", err)
	}
}

// authority makes certificates in a directory: ca.pem, and NAME.pem with NAME.key.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.issue(t, "ca")
	return a
}

func (a *authority) issue(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if a.cert == nil {
		form.IsCA, form.BasicConstraintsValid, form.KeyUsage = true, true, x509.KeyUsageCertSign
		a.cert, a.key = form, key
	}
	der, err := x509.CreateCertificate(rand.Reader, form, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(a.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(a.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestOpen_TLS(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	for _, name := range []string{"server", "client"} {
		a.issue(t, name)
	}
	port := strconv.Itoa(freePort(t))
	r := testenv.Redis(t, map[string]string{
		"tls-port": port, "tls-ca-cert-file": a.path("ca.pem"), "tls-cert-file": a.path("server.pem"), "tls-key-file": a.path("server.key"),
	})
	base := "rediss://default:" + r.Password + "@127.0.0.1:" + port + "?ca="
	pair := "&cert=" + a.path("client.pem") + "&key=" + a.path("client.key")
	if err := open(t, base+a.path("ca.pem")+pair).Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING over TLS: got %v", err)
	}
	for name, url := range map[string]string{
		"without a client's certificate":  base + a.path("ca.pem"),
		"with another CA":                 base + stranger.path("ca.pem") + pair,
		"with a certificate for others":   base + a.path("ca.pem") + pair + "&server_name=redis.example",
		"without TLS, at the port of TLS": "redis://default:" + r.Password + "@127.0.0.1:" + port,
	} {
		if err := open(t, url).Ping(t.Context()).Err(); err == nil {
			t.Errorf("PING %s: got no error", name)
		}
	}
}

// A node that hangs costs a few round trips their time, and is then left alone until it answers.
func TestFuse_LeavesADeadNodeAlone(t *testing.T) {
	t.Parallel()
	const budget = 100 * time.Millisecond
	f := newFuse(func() {})
	calls, fault := 0, error(context.DeadlineExceeded)
	send := f.ProcessPipelineHook(func(context.Context, []redis.Cmder) error { calls++; return fault })
	for range 20 {
		if err := send(t.Context(), nil); err == nil {
			t.Fatal("a batch to a dead node: got no error")
		}
	}
	if calls != fuseFaults {
		t.Errorf("batches that reached the dead node: got %d, want %d", calls, fuseFaults)
	}
	fault = nil
	for begun := time.Now(); send(t.Context(), nil) != nil; {
		if time.Since(begun) > 10*budget {
			t.Fatal("the node is back: got none through")
		}
	}
	if err := send(t.Context(), nil); err != nil {
		t.Errorf("after the node is back: got %v", err)
	}
}

// A node that was away, and whose connections are all gone, is in use again.
func TestFuse_NodeComesBack(t *testing.T) {
	t.Parallel()
	g := testenv.Cluster(t, time.Minute)
	client := open(t, g.URL)
	node := g.Nodes[0]
	send := func() error {
		pipe := client.Pipeline()
		pipe.Set(t.Context(), "{06S}", 1, time.Minute) // slot 0
		_, err := pipe.Exec(t.Context())
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	node.Kill()
	for !errors.Is(send(), blown{}) {
		t.Log("not yet")
	}
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); send() != nil; {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("the node is back for 20 s: got %v", send())
		}
	}
}
