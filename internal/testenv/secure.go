package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
)

// Authority issues certificates for 127.0.0.1, for servers and clients alike, into a directory of the test's.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one, with a certificate of its own in the file ca.pem.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.Issue(t, "ca")
	return a
}

// Path of a file: NAME.pem is the certificate of a name, NAME.key its key.
func (a *Authority) Path(file string) string { return filepath.Join(a.dir, file) }

// Issue makes a certificate, valid for an hour, and returns its files with the authority's.
func (a *Authority) Issue(t testing.TB, name string) devenv.RedisTLS {
	t.Helper()
	const valid = time.Hour
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-valid), NotAfter: time.Now().Add(valid),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if a.cert == nil {
		form.IsCA, form.BasicConstraintsValid, form.KeyUsage = true, true, x509.KeyUsageCertSign
		a.cert, a.key = form, key
	}
	der, err := x509.CreateCertificate(rand.Reader, form, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	files := devenv.RedisTLS{CA: a.Path("ca.pem"), Cert: a.Path(name + ".pem"), Key: a.Path(name + ".key")}
	err = errors.Join(
		os.WriteFile(files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if err != nil {
		t.Fatal("testenv:", err)
	}
	return files
}

// User of a group's servers, with rules of Redis' ACL. Sentinels let it do everything.
type User struct {
	Name, Password string
	Rules          []string
}

// secured adds a user to a group and has the group's URL lead there. It then closes the ports without TLS, by which the
// servers were started; Sentinels have no way to.
func secured(t testing.TB, g *devenv.RedisGroup, user User) *devenv.RedisGroup {
	t.Helper()
	as := func(on *devenv.Redis, rules []string) {
		args := []any{"ACL", "SETUSER", user.Name, "on", ">" + user.Password}
		for _, rule := range rules {
			args = append(args, rule)
		}
		tell(t, g, on, args...)
	}
	for _, node := range g.Nodes {
		as(node, user.Rules)
		tell(t, g, node, "CONFIG", "SET", "port", "0")
	}
	for _, sentinel := range g.Sentinels {
		as(sentinel, []string{"allchannels", "+@all"})
	}
	password := url.QueryEscape(user.Password)
	g.URL = strings.NewReplacer("//default:"+g.Password+"@", "//"+user.Name+":"+password+"@",
		"sentinel_password="+g.Password, "sentinel_username="+user.Name+"&sentinel_password="+password).Replace(g.URL)
	return g
}

func tell(t testing.TB, g *devenv.RedisGroup, on *devenv.Redis, args ...any) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: on.Addr, Password: g.Password})
	defer c.Close()
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal("testenv:", err)
	}
}
