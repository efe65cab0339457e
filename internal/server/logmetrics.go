package server

import (
	"database/sql"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"freshet/internal/changelog"
	"freshet/internal/verifier"
)

// Instance is what the metrics of an instance are read from at each scrape.
type Instance struct {
	// Log is the change log's.
	Log func() changelog.Stats
	// Verifier compares samples with PostgreSQL.
	Verifier func() verifier.Stats
	// CacheAvailable tells whether Redis is in use.
	CacheAvailable func() bool
	// Database and Redis are the pools.
	Database func() sql.DBStats
	Redis    func() *redis.PoolStats
}

// instanceMetrics reads an Instance at each scrape.
type instanceMetrics struct {
	Instance
	plain []plainMetric
	lag   *prometheus.Desc
	late  *prometheus.Desc
	name  *prometheus.Desc
}

// plainMetric is a metric without labels.
type plainMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*scrape) (value float64, known bool)
}

// scrape is one reading of everything.
type scrape struct {
	log      changelog.Stats
	verifier verifier.Stats
	breaker  bool
	database sql.DBStats
	redis    *redis.PoolStats
}

// RegisterInstance adds an instance's metrics: give the same registry to the Server. A registry takes them once.
func RegisterInstance(registry *prometheus.Registry, i Instance) error {
	m := &instanceMetrics{Instance: i}
	m.lag = prometheus.NewDesc("freshet_log_lag_positions",
		"Positions of the change log not yet applied, by instance; the sequencer tells those of all.", []string{"instance"}, nil)
	m.late = prometheus.NewDesc("freshet_log_lag_seconds",
		"For how long the change log has had something that an instance has not applied, by instance; sequencer only.",
		[]string{"instance"}, nil)
	m.name = prometheus.NewDesc("freshet_log_sequencer", "1 for the instance last heard as sequencer.", []string{"instance"}, nil)
	m.plain = append(logMetrics(), poolMetrics()...)
	return register(registry, m)
}

func readGauge(name, help string, read func(*scrape) (float64, bool)) plainMetric {
	return plainMetric{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, read}
}

func readCounter(name, help string, read func(*scrape) (float64, bool)) plainMetric {
	return plainMetric{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, read}
}

func logMetrics() []plainMetric {
	office := func(read func(*changelog.Office) float64) func(*scrape) (float64, bool) {
		return func(s *scrape) (float64, bool) {
			if s.log.Office == nil {
				return 0, false
			}
			return read(s.log.Office), true
		}
	}
	return []plainMetric{
		readGauge("freshet_log_position", "How far this instance has applied the change log.",
			func(s *scrape) (float64, bool) { return float64(s.log.Position.At), true }),
		readGauge("freshet_log_granted", "1 while this instance may answer from caches.",
			func(s *scrape) (float64, bool) { return truth(s.log.Granted), true }),
		readGauge("freshet_log_silence_seconds", "Since the sequencer was last heard.",
			func(s *scrape) (float64, bool) { return s.log.Silence.Seconds(), true }),
		readCounter("freshet_log_waits_total", "Writes that waited for the instances to see their change.",
			func(s *scrape) (float64, bool) { return float64(s.log.Waited), true }),
		readCounter("freshet_log_waits_lapsed_total", "Of these, those answered only because every older grant had ended.",
			func(s *scrape) (float64, bool) { return float64(s.log.Lapsed), true }),
		readGauge("freshet_log_outbox_rows", "Changes committed and not yet in the log, counted up to 100,000; sequencer only.",
			office(func(o *changelog.Office) float64 { return float64(o.OutboxRows) })),
		readGauge("freshet_log_oldest_transaction_seconds",
			"Age of the oldest open transaction, which keeps moved changes from being cleaned up; sequencer only.",
			office(func(o *changelog.Office) float64 { return o.OldestTransaction.Seconds() })),
		readGauge("freshet_log_grants", "Instances that may hold a grant to answer from caches; sequencer only.",
			office(func(o *changelog.Office) float64 { return float64(len(o.Instances)) })),
		readGauge("freshet_log_head", "Last position of the change log; sequencer only.",
			office(func(o *changelog.Office) float64 { return float64(o.Head.At) })),
	}
}

func poolMetrics() []plainMetric {
	return []plainMetric{
		readCounter("freshet_verified_total", "Recent changes whose cached value was compared with PostgreSQL.",
			func(s *scrape) (float64, bool) { return float64(s.verifier.Verified), true }),
		readCounter("freshet_inconsistent_total", "Of these, those that differed for longer than a change takes to come through.",
			func(s *scrape) (float64, bool) { return float64(s.verifier.Inconsistent), true }),
		readGauge("freshet_cache_available", "0 while the circuit breaker keeps Redis out of use.",
			func(s *scrape) (float64, bool) { return truth(s.breaker), true }),
		readGauge("freshet_sql_connections_in_use", "Connections to PostgreSQL in use by the store.",
			func(s *scrape) (float64, bool) { return float64(s.database.InUse), true }),
		readGauge("freshet_sql_connections_idle", "Connections to PostgreSQL that the store keeps idle.",
			func(s *scrape) (float64, bool) { return float64(s.database.Idle), true }),
		readCounter("freshet_sql_connection_waits_total", "Statements that waited for a connection to PostgreSQL.",
			func(s *scrape) (float64, bool) { return float64(s.database.WaitCount), true }),
		readGauge("freshet_redis_connections", "Connections to Redis.",
			func(s *scrape) (float64, bool) { return float64(s.redis.TotalConns), true }),
		readCounter("freshet_redis_pool_timeouts_total", "Commands that got no connection to Redis in time.",
			func(s *scrape) (float64, bool) { return float64(s.redis.Timeouts), true }),
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (m *instanceMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range m.plain {
		ch <- one.desc
	}
	ch <- m.lag
	ch <- m.late
	ch <- m.name
}

// Collect implements prometheus.Collector.
func (m *instanceMetrics) Collect(ch chan<- prometheus.Metric) {
	s := &scrape{log: m.Log(), verifier: m.Verifier(), breaker: m.CacheAvailable(), database: m.Database(), redis: m.Redis()}
	for _, one := range m.plain {
		if value, known := one.read(s); known {
			ch <- prometheus.MustNewConstMetric(one.desc, one.kind, value)
		}
	}
	if s.log.Sequencer != "" {
		ch <- prometheus.MustNewConstMetric(m.name, prometheus.GaugeValue, 1, s.log.Sequencer)
	}
	if s.log.Office == nil {
		ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, float64(s.log.Lag), "self")
		return
	}
	for name, lag := range s.log.Office.Instances {
		ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, float64(lag.Positions), name)
		ch <- prometheus.MustNewConstMetric(m.late, prometheus.GaugeValue, lag.For.Seconds(), name)
	}
}
