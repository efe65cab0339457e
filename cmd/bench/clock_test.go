package main

import (
	"testing"
	"time"

	"freshet/cmd/bench/internal/rig"
	"freshet/internal/testenv"
)

// At the machine's time nothing that the cache holds has expired. A day on, it has.
func testClock(t *testing.T, r *rig.Rig) {
	viewers, err := r.Viewers(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	server, err := r.Start(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	client := newClient()
	defer client.close()
	// askAt sets the clock and asks for a profile. It returns how many expired ones were found so far.
	askAt := func(ahead time.Duration) float64 {
		if err := server.StepClock(t.Context(), ahead); err != nil {
			t.Fatal(err)
		}
		if _, err := client.ask(t.Context(), server, viewers[0].Token, profileOperation(viewers[0].ID)); err != nil {
			t.Fatal(err)
		}
		counters, err := server.Counters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return counters.Sum("freshet_cache_misses_total", "kind", "profile", "reason", "expired")
	}
	if err := client.awaitHits(t.Context(), server, viewers[0]); err != nil {
		t.Fatal(err)
	}
	if got := askAt(0); got != 0 {
		t.Errorf("expired profiles at the machine's time: got %g, want 0", got)
	}
	ahead := time.Duration(0)
	testenv.Eventually(t, "an expired profile, with the clock a day ahead", func() bool {
		ahead += 24 * time.Hour // of the last time, when a profile was stored if there was none
		return askAt(ahead) > 0
	})
}
