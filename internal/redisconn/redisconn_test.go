package redisconn

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"freshet/internal/devenv"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) {
	logging.Disable() // faults are made on purpose
	testenv.Main(m)
}

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

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// onTLS is a single server that is reached with TLS too, by a user with few rights, and its URL without any options.
func onTLS(t *testing.T, tls devenv.RedisTLS, user testenv.User) (address string) {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	r := testenv.Redis(t, map[string]string{
		"tls-port": port, "tls-ca-cert-file": tls.CA, "tls-cert-file": tls.Cert, "tls-key-file": tls.Key,
		"user": user.Name + " on >" + user.Password + " " + strings.Join(user.Rules, " "),
	})
	admin := open(t, r.URL)
	if err := admin.ConfigSet(t.Context(), "port", "0").Err(); err != nil {
		t.Fatal(err)
	}
	return "rediss://" + user.Name + ":" + user.Password + "@127.0.0.1:" + port
}

// Each form is reached with TLS, an authority of one's own, a client's certificate, user and password, and not without any
// of them.
func TestOpen_TLSOnEachForm(t *testing.T) {
	t.Parallel()
	ours, other := testenv.NewAuthority(t), testenv.NewAuthority(t)
	server, client := ours.Issue(t, "server"), ours.Issue(t, "client")
	user := testenv.User{Name: "app", Password: "s3cret", Rules: []string{"~freshet:*", "+@all"}}
	for form, start := range map[string]func(*testing.T) (address, query string, masters int){
		"single": func(t *testing.T) (string, string, int) { return onTLS(t, server, user), "?", 1 },
		"cluster": func(t *testing.T) (string, string, int) {
			address, _, _ := strings.Cut(testenv.SecureCluster(t, server, user).URL, "?")
			return address, "?", 3
		},
		"sentinel": func(t *testing.T) (string, string, int) {
			address, _, _ := strings.Cut(testenv.SecureSentinel(t, server, user).URL, "?")
			return address, "?master_name=freshet&sentinel_username=app&sentinel_password=s3cret&", 1
		},
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			address, query, masters := start(t)
			ca, pair := "ca="+server.CA, "&cert="+client.Cert+"&key="+client.Key
			good := open(t, address+query+ca+pair)
			for i := range 20 {
				if err := good.Set(t.Context(), fmt.Sprintf("freshet:%d", i), i, time.Minute).Err(); err != nil {
					t.Errorf("SET: got %v", err)
				}
			}
			wantMasters(t, good, masters)
			if err := good.Set(t.Context(), "other:1", 1, time.Minute).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
				t.Errorf("SET of another's key: got %v, want NOPERM", err)
			}
			for name, wrong := range map[string]string{
				"without a client's certificate": address + query + ca,
				"with another authority":         address + query + "ca=" + other.Path("ca.pem") + pair,
				"with the system's authorities":  address + query + pair[1:],
				"with a server's other name":     address + query + ca + pair + "&server_name=redis.example",
				"without TLS":                    strings.Replace(address, "rediss", "redis", 1) + strings.TrimRight(query, "?&"),
				"with a wrong password":          strings.Replace(address, "s3cret", "wrong", 1) + query + ca + pair,
				"as another user":                strings.Replace(address, "app:", "default:", 1) + query + ca + pair,
			} {
				if err := open(t, wrong).Get(t.Context(), "freshet:1").Err(); err == nil || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("GET %s: got %v, want an error without the password", name, err)
				}
			}
		})
	}
}
