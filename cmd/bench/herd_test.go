package main

import (
	"fmt"
	"testing"

	"freshet/cmd/bench/internal/rig"
	"freshet/internal/testenv"
)

// Nothing stays in the servers' memory, so that each herd finds its key cold. A server that is kept waiting by a busy machine for
// longer than its time for a look into Redis loads by itself, as it is meant to: another herd is sent then.
func testHerd(t *testing.T, r *rig.Rig) {
	m, err := newHerdRun(t.Context(), r, 150, "--memory", "-1", "--result-memory", "-1")
	if err != nil {
		t.Fatal(err)
	}
	defer m.client.close()
	for _, p := range preys(m.viewers) {
		name := fmt.Sprintf("a herd of %d on %d servers for a %s in %s makes one load", m.requests, herdServers, p.kind, p.slow)
		testenv.Eventually(t, name, func() bool {
			got, err := m.run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if got.Failed > 0 {
				t.Errorf("%s: got %d requests failed, as in %v, want 0", name, got.Failed, got.err)
			}
			if got.Loads != 1 {
				t.Logf("%s: got %.0f", name, got.Loads)
			}
			return got.Loads == 1
		})
	}
}
