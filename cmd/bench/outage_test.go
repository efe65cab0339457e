package main

import (
	"testing"
	"time"
)

// What this tests is the promise: no request fails, and Redis is in use again within two seconds.
func TestOutage_NoRequestFails(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	m, err := newOutageRun(t.Context(), r, outagePlan{
		rate: 100, viewers: 20,
		warmup: 500 * time.Millisecond, before: 500 * time.Millisecond, without: time.Second, after: 2500 * time.Millisecond,
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
		if got.Back == 0 || got.Back > 2000 {
			t.Errorf("Redis %s: used again after: got %.0f ms, want at most 2000 (0 is never)", f.name, got.Back)
		}
	}
}
