//go:build soak

package main

import (
	"testing"

	"freshet/cmd/bench/internal/rig"
)

// TestSoak_Freshness injects all faults of each form of Redis, and runs its negative controls. The clocks that differ need Linux
// and root.
func TestSoak_Freshness(t *testing.T) {
	for form, controls := range map[rig.Form]int{rig.Single: 5, rig.Sentinel: 3, rig.Cluster: 3} {
		t.Run(string(form), func(t *testing.T) {
			r := openRig(t, rig.Options{Steered: true, Form: form})
			wantFresh(t, freshnessOptions(r, settings{short: true, rig: rig.Options{Progress: t.Output()}}))
			wantStale(t, r, 5000, controls)
		})
	}
}
