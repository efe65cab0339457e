package main

import (
	"testing"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// No request fails while Redis is away, and Redis is used before and after.
func testOutage(t *testing.T, r *rig.Rig) {
	m, err := newOutageRun(t.Context(), r, outagePlan{
		rate: 100, viewers: 20,
		warmup: 200 * time.Millisecond, before: 200 * time.Millisecond, without: 500 * time.Millisecond, after: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.client.close()
	for _, f := range faults(r) {
		got, err := m.run(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if got.Failed > 0 {
			t.Errorf("Redis %s: got %d of %d requests failed, as in %v, want 0", f.name, got.Failed, got.Requests, got.err)
		}
		if got.HitsBefore == 0 {
			t.Errorf("Redis %s: got no hits before, want some", f.name)
		}
		if got.Back == 0 {
			t.Errorf("Redis %s: got no use of it afterwards, want some", f.name)
		}
	}
}
