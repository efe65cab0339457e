package command

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/redisconn"
	"freshet/internal/server"
	"freshet/internal/testenv"
)

// metrics is the text of /metrics.
func (a *api) metrics() string {
	a.t.Helper()
	resp, err := http.Get(strings.TrimSuffix(a.url, "/graphql") + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(text)
}

// Operations are counted by build only as an operator has published them: what a client calls itself is no label.
func TestMetrics_OperationsByBuild(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	_, id := a.person("ann")
	text := `query Ann($id: ID! = "` + id + `") { profile(id: $id) { handle } }`
	a.ship("ios", "1.0", sha(text), text)
	body := `{"documentId":"` + sha(text) + `"}`
	a.eventually(200, "", body)
	for range 3 {
		a.send("", body, "Apollographql-Client-Name: ios", "Apollographql-Client-Version: 1.0")
	}
	a.send("", body, "Apollographql-Client-Name: ios", "Apollographql-Client-Version: free-text")
	a.send("", `{"query":"query FreeName { __typename }"}`, "Apollographql-Client-Name: free-text", "Apollographql-Client-Version: 1.0")
	got := a.metrics()
	for _, want := range []string{
		`freshet_persisted_operations_total{app="ios",build="1.0",operation="Ann",outcome="hit"} 3`,
		`freshet_persisted_operations_total{app="ios",build="other",operation="Ann",outcome="ok"} 1`,
		`freshet_persisted_operations_total{app="ios",build="other",operation="Ann",outcome="hit"} 1`,
		`freshet_persisted_operations_total{app="other",build="other",operation="other",outcome="ok"} 1`,
		`freshet_results_total{outcome="hit"} `, `freshet_results_total{outcome="made"} `,
		`freshet_cache_entry_bytes_count{kind="operation"} `,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("/metrics: got no %s", want)
		}
	}
	for _, not := range []string{"free-text", "FreeName"} {
		if strings.Contains(got, not) {
			t.Errorf("/metrics: got %q in it, want nothing that a client chose", not)
		}
	}
}

// Refusals are counted by limiter, and by nothing that a client chooses.
func TestMetrics_OfLimits(t *testing.T) {
	t.Parallel()
	a := newWorld(t).startWith(func(o *ServeOptions) {
		o.Guards.Viewer, o.Guards.Address = Rate{PerSecond: 1, Burst: 20}, Rate{PerSecond: 1, Burst: 300}
	})
	token, _ := a.person("ann")
	testenv.Eventually(t, "an attempt to sign in comes too early", func() bool {
		a.ask("", `mutation { signIn(input: {handle: "ann", password: "wrong"}) { userErrors { code } } }`, nil, nil)
		return a.instance.auth.TooEarly() > 0
	})
	if early := a.sum("freshet_limited_total", "limiter", "sign-in"); early != 1 {
		t.Errorf("attempts to sign in too early: got %v, want 1", early)
	}
	for _, who := range []struct{ limiter, token string }{{"viewer", token}, {"address", ""}} {
		refused := 0.0
		for i := 0; refused == 0 && i < 1000; i++ {
			refused = float64(len(a.ask(who.token, `{ __typename }`, nil, nil).Errors))
		}
		if got := a.sum("freshet_limited_total", "limiter", who.limiter); got != 1 || refused != 1 {
			t.Errorf("refused by %s: got %v counted after %v, want 1", who.limiter, got, refused)
		}
	}
	text := a.metrics()
	for _, want := range []string{
		`freshet_limit_keys{limiter="address"} 1`, `freshet_limit_keys{limiter="viewer"} 1`, `freshet_limit_unsettled_total{limiter="viewer"} `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics: got no %s", want)
		}
	}
	if strings.Contains(text, "127.0.0.1") {
		t.Error("/metrics: got an address in it")
	}
}

func TestMetrics_OfRedis(t *testing.T) {
	t.Parallel()
	server1 := testenv.Redis(t, map[string]string{"maxmemory": "64mb"})
	client, err := redisconn.Open(server1.URL, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Get(t.Context(), "nothing")
	values := func() map[string]float64 {
		registry := prometheus.NewRegistry()
		if err := server.RegisterRedis(registry, client); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]float64)
		for _, family := range families {
			one := family.GetMetric()[0]
			values[family.GetName()] = one.GetCounter().GetValue() + one.GetGauge().GetValue()
		}
		return values
	}
	var got map[string]float64
	testenv.Eventually(t, "Redis answers in the time of a scrape", func() bool {
		got = values()
		return len(got) > 0
	})
	for name, want := range map[string]float64{
		"freshet_redis_keyspace_misses_total": 1, "freshet_redis_memory_max_bytes": 64 << 20, "freshet_redis_evicted_keys_total": 0,
	} {
		if value, there := got[name]; value != want || !there {
			t.Errorf("%s: got %v (there: %v), want %v", name, value, there, want)
		}
	}
	if got["freshet_redis_memory_used_bytes"] == 0 || got["freshet_redis_clients"] == 0 {
		t.Errorf("got %v, want memory in use and clients", got)
	}
	if err := server1.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := values(); len(got) != 0 {
		t.Errorf("without Redis: got %v, want nothing", got)
	}
}
