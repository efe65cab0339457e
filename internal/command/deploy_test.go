package command

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// watched are the names of metrics in a file of rules or dashboards.
func watched(text string) []string {
	found := regexp.MustCompile(`\bfreshet_[a-z_]+`).FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

// exported tells whether a registry has a metric, also if nothing was counted yet: then another of its name is refused.
func exported(registry *prometheus.Registry, families map[string]*dto.MetricFamily, name string) bool {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if of, ok := families[strings.TrimSuffix(name, suffix)]; ok && strings.HasSuffix(name, suffix) {
			return of.GetType() == dto.MetricType_HISTOGRAM
		}
	}
	if _, ok := families[name]; ok {
		return true
	}
	probe := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "A probe."})
	if registry.Register(probe) != nil {
		return true
	}
	registry.Unregister(probe)
	return false
}

// Rules and dashboards name no metric that a running server does not export.
func TestDeploy_MetricsAreExported(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	token, id := a.person("ann")
	a.must(token, `query($id: ID!) { profile(id: $id) { name } viewer { settings { theme } } }`, map[string]any{"id": id}, nil)
	gathered, err := a.instance.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := make(map[string]*dto.MetricFamily)
	for _, family := range gathered {
		families[family.GetName()] = family
	}
	for _, file := range []string{"prometheus/rules.yml", "grafana/dashboards/freshet.json"} {
		text, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		names := watched(string(text))
		if len(names) < 15 {
			t.Errorf("%s: got %d metrics, want more", file, len(names))
		}
		for _, name := range names {
			if !exported(a.instance.registry, families, name) {
				t.Errorf("%s names %s, which no server exports", file, name)
			}
		}
	}
	for _, wrong := range []string{"freshet_cache_hit_total", "freshet_results_total_bucket", "freshet_sql_duration_seconds_total"} {
		if exported(a.instance.registry, families, wrong) {
			t.Errorf("%s: got exported, want not", wrong)
		}
	}
}

// The dashboard is one that Grafana can load: each panel has its place, and queries.
func TestDeploy_Dashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/grafana/dashboards/freshet.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID, Title    string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.UID == "" || dashboard.Title == "" || dashboard.SchemaVersion < 36 || len(dashboard.Panels) < 10 {
		t.Errorf("got %+v, want a dashboard", dashboard)
	}
	ids, cells := make(map[int]bool), make(map[[2]int]string)
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.Title == "" || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %d %q: want an id of its own, a title and queries", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Errorf("panel %q: lies on %q at %d, %d", panel.Title, other, x, y)
				}
				cells[[2]int{x, y}] = panel.Title
			}
		}
	}
}
