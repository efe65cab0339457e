package server

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/persisted"
)

// mostUses bounds the labels of one scrape: operations of builds, each with its outcomes.
const mostUses = 200

// use is an operation of a build. Only what an operator has published has one of its own; all else is the zero value.
type use struct{ app, build, operation string }

func otherUse() use { return use{"other", "other", "other"} }

// useOf never has text of a client's that no operator has published.
func useOf(entry *persisted.Entry, app, build string) use {
	if entry == nil {
		return use{}
	}
	if !entry.In(app, build) {
		build = "other"
	}
	return use{entry.App, build, entry.Label()}
}

// useMetrics counts operations by build. The most used get labels of their own, and keep them; what the others count is
// summed up. A use that gets its labels late has counted as other before, so that no counter ever falls.
type useMetrics struct {
	desc *prometheus.Desc
	uses memo[use, *useCounts]

	mu    sync.Mutex // held by scrapes
	named map[use]bool
}

// useCounts are by outcome. Early is what was counted as other.
type useCounts struct {
	hit, ok, errors, refused atomic.Int64
	early                    [4]int64 // a scrape's
}

func newUseMetrics() *useMetrics {
	m := &useMetrics{named: make(map[use]bool), desc: prometheus.NewDesc("freshet_persisted_operations_total",
		"GraphQL requests by operation and build, as published, and outcome: hit (a kept result), ok, errors, refused; the most used have labels of their own.",
		[]string{"app", "build", "operation", "outcome"}, nil)}
	m.uses.make = func(use) *useCounts { return new(useCounts) }
	return m
}

func (m *useMetrics) count(of use, outcome string) {
	counts := m.uses.get(of)
	switch outcome {
	case resultHit:
		counts.hit.Add(1)
	case outcomeOK:
		counts.ok.Add(1)
	case outcomeErrors:
		counts.errors.Add(1)
	default:
		counts.refused.Add(1)
	}
}

func (c *useCounts) read() [4]int64 {
	return [4]int64{c.hit.Load(), c.ok.Load(), c.errors.Load(), c.refused.Load()}
}

// Describe implements prometheus.Collector.
func (m *useMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

// Collect implements prometheus.Collector.
func (m *useMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.uses.all.Load()
	if all == nil {
		return
	}
	m.name(*all)
	var others [4]int64
	for of, counts := range *all {
		now := counts.read()
		if !m.named[of] {
			counts.early = now
		} else {
			m.send(ch, of, minus(now, counts.early))
		}
		for i, n := range counts.early {
			others[i] += n
		}
	}
	m.send(ch, otherUse(), others)
}

// name gives labels to the most used that have none, while there is room.
func (m *useMetrics) name(all map[use]*useCounts) {
	type ranked struct {
		of    use
		total int64
	}
	var waiting []ranked
	for of, counts := range all {
		if now := counts.read(); of != (use{}) && !m.named[of] {
			waiting = append(waiting, ranked{of, now[0] + now[1] + now[2] + now[3]})
		}
	}
	slices.SortFunc(waiting, func(a, b ranked) int { return cmp.Compare(b.total, a.total) })
	for _, one := range waiting[:min(len(waiting), mostUses-len(m.named))] {
		m.named[one.of] = true
	}
}

func minus(a, b [4]int64) [4]int64 {
	return [4]int64{a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]}
}

func (m *useMetrics) send(ch chan<- prometheus.Metric, of use, counts [4]int64) {
	for i, outcome := range [4]string{resultHit, outcomeOK, outcomeErrors, outcomeRefused} {
		if counts[i] > 0 {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(counts[i]),
				of.app, of.build, of.operation, outcome)
		}
	}
}
