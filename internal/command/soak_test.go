//go:build soak

package command

import "testing"

const soakSteps = 1500

// The long form of TestProperty_KeptResultsEqualUncached, of another seed each time.
func TestSoak_KeptResultsEqualUncached(t *testing.T) {
	newProperty(t, 0, 1).wantNoDifference(soakSteps, false)
}

// The long form of TestProperty_CountsEqualWhileNoneMoves. Counts may be as old as their TTL, but none moves.
func TestSoak_CountsEqualWhileNoneMoves(t *testing.T) {
	p := newProperty(t, 0, 2)
	p.gen.byTTL = true
	p.wantNoDifference(soakSteps, true)
}
