package server

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"freshet/cache"
	"freshet/internal/changelog"
	"freshet/internal/verifier"
)

// What an operator sees of an instance, and of the log as a whole where the instance is sequencer.
func TestRegisterInstance_Metrics(t *testing.T) {
	t.Parallel()
	stats := changelog.Stats{
		Position: cache.Position{Epoch: 1, At: 40}, Granted: true, Lag: 2, Silence: 250 * time.Millisecond,
		Sequencer: "one", Waited: 9, Lapsed: 1,
	}
	want := map[string]float64{
		"freshet_log_position": 40, "freshet_log_granted": 1, "freshet_log_silence_seconds": 0.25,
		"freshet_log_sequencer one": 1, "freshet_log_waits_total": 9, "freshet_log_waits_lapsed_total": 1,
		"freshet_cache_available": 1, "freshet_log_lag_positions self": 2,
	}
	office := map[string]float64{
		"freshet_log_lag_positions one-x": 0, "freshet_log_lag_positions two-y": 7, "freshet_log_lag_seconds one-x": 0,
		"freshet_log_lag_seconds two-y": 1.5, "freshet_log_grants": 2, "freshet_log_head": 42, "freshet_log_outbox_rows": 3,
		"freshet_log_oldest_transaction_seconds": 60,
	}
	check := func(who string, want map[string]float64, without ...string) {
		got := readings(t, stats)
		for name, value := range want {
			if found, ok := got[name]; !ok || found != value {
				t.Errorf("%s: %s: got %v (there: %v), want %v", who, name, found, ok, value)
			}
		}
		for _, name := range without {
			if value, ok := got[name]; ok {
				t.Errorf("%s: %s: got %v, want nothing", who, name, value)
			}
		}
	}
	check("an instance", want, "freshet_log_head", "freshet_log_grants")
	stats.Office = &changelog.Office{
		Head: cache.Position{Epoch: 1, At: 42}, OutboxRows: 3, OldestTransaction: time.Minute,
		Instances: map[string]changelog.Lag{"one-x": {}, "two-y": {Positions: 7, For: 1500 * time.Millisecond}},
	}
	check("the sequencer", office, "freshet_log_lag_positions self")
}

// readings are the metrics by name and label.
func readings(t *testing.T, stats changelog.Stats) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	err := RegisterInstance(registry, Instance{
		Log: func() changelog.Stats { return stats }, Verifier: func() (s verifier.Stats) { return s },
		CacheAvailable: func() bool { return true }, Database: func() (s sql.DBStats) { return s },
		Redis: func() *redis.PoolStats { return &redis.PoolStats{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name = fmt.Sprint(name, " ", label.GetValue())
			}
			found[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return found
}
