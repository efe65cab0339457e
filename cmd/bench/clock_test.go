package main

import (
	"testing"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// A day on, what the cache holds has expired; at the machine's time it has not.
func TestStepClock(t *testing.T) {
	t.Parallel()
	r := openRigWith(t, rig.Options{Steered: true})
	server, err := r.Start(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	viewers, err := r.Viewers(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	client := newClient()
	defer client.close()
	if err := client.awaitHits(t.Context(), server, viewers[0]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ahead   time.Duration
		expired bool
	}{{0, false}, {24 * time.Hour, true}} {
		if err := server.StepClock(t.Context(), c.ahead); err != nil {
			t.Fatal(err)
		}
		expired := func() float64 {
			counters, err := server.Counters(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return counters.Sum("freshet_cache_misses_total", "kind", "profile", "reason", "expired")
		}
		before := expired()
		if _, err := client.ask(t.Context(), server, viewers[0].Token, profileOperation(viewers[0].ID)); err != nil {
			t.Fatal(err)
		}
		if got := expired() > before; got != c.expired {
			t.Errorf("%s ahead: got an expired profile: %v, want %v", c.ahead, got, c.expired)
		}
	}
}
