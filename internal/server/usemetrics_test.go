package server

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels stay few, however many builds are in use, and no counter falls.
func TestUseMetrics_AreBounded(t *testing.T) {
	t.Parallel()
	m := newUseMetrics()
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	read := func() (counts map[string]float64, sum float64) {
		counts = make(map[string]float64)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				counts[fmt.Sprint(metric.GetLabel())] = metric.GetCounter().GetValue()
				sum += metric.GetCounter().GetValue()
			}
		}
		return counts, sum
	}
	for i := range mostUses + 50 {
		for range i + 1 {
			m.count(use{"ios", fmt.Sprint(i), "Feed"}, outcomeOK)
		}
	}
	m.count(use{}, outcomeRefused)
	before, sum := read()
	if want := mostUses + 2; len(before) != want { // other's ok and other's refused
		t.Errorf("labels: got %d, want %d", len(before), want)
	}
	total := float64((mostUses+50)*(mostUses+51)/2 + 1)
	if sum != total {
		t.Errorf("sum: got %v, want %v", sum, total)
	}
	for range 1000 {
		m.count(use{"ios", "0", "Feed"}, outcomeOK) // the least used is now the most used, too late for labels
	}
	after, sum := read()
	if len(after) != len(before) || sum != total+1000 {
		t.Errorf("later: got %d labels, sum %v, want %d, %v", len(after), sum, len(before), total+1000)
	}
	for labels, value := range before {
		if after[labels] < value {
			t.Errorf("%s: fell from %v to %v", labels, value, after[labels])
		}
	}
}
