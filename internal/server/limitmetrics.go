package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/ratelimit"
)

// limitMetrics reads the limiters at a scrape. Its labels are their names: no client has one.
type limitMetrics struct {
	limiters                 map[string]*ratelimit.Limiter
	signIns                  func() int64
	refused, unsettled, keys *prometheus.Desc
}

// RegisterLimits adds metrics of limits, and of attempts to sign in that came too early, which signIns counts: give the
// same registry to the Server. A registry takes them once.
func RegisterLimits(registry *prometheus.Registry, l Limits, signIns func() int64) error {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"limiter"}, nil)
	}
	return register(registry, &limitMetrics{
		limiters: map[string]*ratelimit.Limiter{"address": l.Address, "viewer": l.Viewer}, signIns: signIns,
		refused: desc("freshet_limited_total", "Requests refused as too many or too much, by what set the limit: address, viewer, sign-in."),
		unsettled: desc("freshet_limit_unsettled_total",
			"Times that Redis did not take what a key has spent; until it does, each instance limits alone."),
		keys: desc("freshet_limit_keys", "Addresses and viewers that this instance remembers as owing something."),
	})
}

// Describe implements prometheus.Collector.
func (m *limitMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.refused
	ch <- m.unsettled
	ch <- m.keys
}

// Collect implements prometheus.Collector.
func (m *limitMetrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(desc *prometheus.Desc, n int64, name string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), name)
	}
	for name, limiter := range m.limiters {
		s := limiter.Stats()
		counter(m.refused, s.Refused, name)
		counter(m.unsettled, s.Unsettled, name)
		ch <- prometheus.MustNewConstMetric(m.keys, prometheus.GaugeValue, float64(s.Keys), name)
	}
	counter(m.refused, m.signIns(), "sign-in")
}
