package server

import "github.com/prometheus/client_golang/prometheus"

// replicaMetrics reads the store's counts at a scrape.
type replicaMetrics struct {
	reads func() map[string]int64
	desc  *prometheus.Desc
}

// RegisterReplica adds the metric of reads that were meant for a replica, which reads counts by what became of them: "used",
// or why the primary had them. Give the same registry to the Server. A registry takes it once.
func RegisterReplica(registry *prometheus.Registry, reads func() map[string]int64) error {
	return register(registry, replicaMetrics{reads, prometheus.NewDesc("freshet_replica_reads_total",
		"Loads that were meant for the replica, by who answered (replica, primary) and why.", []string{"by", "reason"}, nil)})
}

// Describe implements prometheus.Collector.
func (m replicaMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

// Collect implements prometheus.Collector.
func (m replicaMetrics) Collect(ch chan<- prometheus.Metric) {
	for reason, n := range m.reads() {
		by := "primary"
		if reason == "used" {
			by = "replica"
		}
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(n), by, reason)
	}
}
