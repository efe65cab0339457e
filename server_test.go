package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func nothing(string) (string, bool) { return "", false }

// environment is a lookup in a map.
func environment(vars map[string]string) lookup {
	return func(name string) (string, bool) { value, ok := vars[name]; return value, ok }
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), append([]string{"freshet"}, args...), nothing, &out, &out); err != nil {
		t.Fatalf("freshet %s: %v", strings.Join(args, " "), err)
	}
	return out.String()
}

func TestHelp_ShowsEveryFlagWithItsVariable(t *testing.T) {
	t.Parallel()
	for command, flags := range map[string][]string{
		"serve": {
			"--database-url", "DATABASE_URL", "--redis-url", "REDIS_URL", "--addr", "FRESHET_ADDR", `default: ":8080"`,
			"--playground", "--introspection", "--origin", "--body-limit", "--request-timeout", "--drain-timeout", "--log-level",
		},
		"dev":  {"--data", "FRESHET_DATA", "--seed", "FRESHET_SEED", "--reset", "--addr"},
		"seed": {"--database-url", "--seed"},

		"persisted":         {"publish", "list", "show", "activate", "retire", "check"},
		"explain":           {"FILE", "--as", "--variables", "--json", "--data"},
		"persisted publish": {"FILE", "--app", "--build", "--activate", "--json", "DATABASE_URL"},
		"persisted retire":  {"--app", "--build", "--yes", "7 days"},
		"persisted check":   {"--schema", "--json", "exit code 1"},
	} {
		help := output(t, append(strings.Fields(command), "-h")...)
		for _, flag := range flags {
			if !strings.Contains(help, flag) {
				t.Errorf("freshet %s -h: got no %s in:\n%s", command, flag, help)
			}
		}
	}
	top := output(t, "-h")
	for _, command := range []string{"serve", "dev", "migrate", "seed", "persisted", "policy", "version"} {
		if !strings.Contains(top, command) {
			t.Errorf("freshet -h: got no %s in:\n%s", command, top)
		}
	}
}

func TestRun_RefusesWhatItCantRead(t *testing.T) {
	t.Parallel()
	secret := "s3cret-pass"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serve"}, "database-url"},
		{[]string{"serve", "--nothing"}, "see freshet serve -h"},
		{[]string{"nothing"}, "there is no command"},
		{[]string{"migrate", "nothing"}, "there is no command"},
		{[]string{"dev", "medium"}, "takes no arguments"},
		{[]string{"dev", "--seed", "huge"}, "huge"},
		{[]string{"persisted", "publish", "--database-url", "x", "--app", "ios", "--build", "1"}, "got 0 arguments"},
		{[]string{"persisted", "list", "--database-url", "x", "more"}, "takes no arguments"},
		{[]string{"persisted", "publish", "--database-url", "x", "--build", "1", "file"}, "app"},
		{[]string{"persisted", "check", "--database-url", "x"}, "schema"},
		{[]string{"dev", "--log-level", "loud"}, "loud"},
		{[]string{"serve", "--database-url", "postgres://u:" + secret + "@127.0.0.1:1/x?bogus=%zz", "--redis-url", "redis://x"}, "database URL"},
		{[]string{"serve", "--database-url", "postgres://u:" + secret + "@127.0.0.1:1/x", "--redis-url", "http://:" + secret + "@x"}, "Redis URL"},
		{[]string{"serve", "--database-url", "postgres://u:" + secret + "@127.0.0.1:1/x", "--redis-url", "redis://127.0.0.1:1"}, "PostgreSQL can't be reached"},
		{[]string{"migrate", "up", "--database-url", "postgres://u:" + secret + "@127.0.0.1:1/x"}, "PostgreSQL can't be reached"},
	} {
		var said bytes.Buffer
		err := run(t.Context(), append([]string{"freshet"}, c.args...), nothing, &said, &said)
		if err != nil && (strings.Contains(err.Error(), "\n") || said.Len() > 0) {
			t.Errorf("freshet %s: got %v and %q, want one sentence", c.args[0], err, &said)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("freshet %s: got %v, want an error with %q and no password", c.args[0], err, c.want)
		}
	}
}

func TestPolicy_PrintsTheEffectiveTable(t *testing.T) {
	t.Parallel()
	for _, want := range []string{"Query.feed", "1 min", "PRIVATE", "follows:{$viewer.id}"} {
		if got := output(t, "policy"); !strings.Contains(got, want) {
			t.Errorf("freshet policy: got no %q in:\n%s", want, got)
		}
	}
}

// serve takes everything from the environment, asks for the migrations first, answers, and stops without an error.
func TestServe_FromEnvironmentToShutdown(t *testing.T) {
	t.Parallel()
	database := testenv.EmptyDatabase(t)
	vars := map[string]string{
		"DATABASE_URL": database, "REDIS_URL": testenv.SharedRedis(t), "FRESHET_ADDR": "127.0.0.1:0", "FRESHET_SERVICE": "serve-test",
	}
	err := run(t.Context(), []string{"freshet", "serve"}, environment(vars), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "migrate up") {
		t.Fatalf("serve on an empty database: got %v, want to be told to migrate", err)
	}
	if err := run(t.Context(), []string{"freshet", "migrate", "up"}, environment(vars), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	logs, log := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"freshet", "serve"}, environment(vars), io.Discard, log)
		log.Close()
	}()
	base := "http://" + servingAddr(t, logs)
	resp, err := http.Get(base + "/graphql?query=" + url.QueryEscape(`{ profileByHandle(handle: "nobody") { id } }`))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if got, want := string(body), `{"data":{"profileByHandle":null}}`; got != want {
		t.Errorf("a query by GET: got %s, want %s", got, want)
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 200, "/playground": 404} {
		// A server that is short of processor time may say that it is not ready, for once.
		testenv.Eventually(t, fmt.Sprintf("GET %s: status %d", path, want), func() bool {
			resp, err := http.Get(base + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode == want
		})
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := testenv.Receive(t, "serve ends", ended); err != nil {
		t.Errorf("serve, told to stop: got %v, want nil", err)
	}
}

// servingAddr reads the log until the server says where it listens, and goes on reading so that it never blocks.
func servingAddr(t *testing.T, logs io.Reader) string {
	t.Helper()
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			go io.Copy(io.Discard, logs)
			return line.Addr
		}
	}
	t.Fatal("the server never said where it listens")
	return ""
}
