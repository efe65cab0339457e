package main

import (
	"fmt"
	"testing"
)

func TestHerd_LoadsOnce(t *testing.T) {
	t.Parallel()
	m, err := newHerdRun(t.Context(), openRig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.client.close()
	for _, p := range preys(m.viewers) {
		t.Run(fmt.Sprintf("%s in %s", p.kind, p.slow), func(t *testing.T) {
			got, err := m.run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if got.Failed > 0 {
				t.Errorf("failed: got %d of %d requests, as in %v, want 0", got.Failed, got.Requests, got.err)
			}
			if got.Loads != 1 {
				t.Errorf("loads for %d requests on %d servers: got %.0f, want 1", got.Requests, herdServers, got.Loads)
			}
		})
	}
}
