package main

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"freshet/cmd/bench/internal/rig"
	"freshet/internal/seed"
	"freshet/internal/testenv"
)

// toxiproxy leaves goroutines of a connection behind if that ends while both sides of it are busy.
func TestMain(m *testing.M) {
	logging.Disable() // servers are taken away on purpose
	testenv.Main(m, "github.com/Shopify/toxiproxy/v2.(*ToxicLink).read", "github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run")
}

// TestMeasurements has each measurement prove that it works, in a short form. They share one rig, one after the other: the
// program is built and the database seeded once.
func TestMeasurements(t *testing.T) {
	r := openRig(t, rig.Options{Steered: true})
	for name, test := range map[string]func(*testing.T, *rig.Rig){
		"aggregates": testAggregates,
		"clock":      testClock,
		"controls":   testControls,
		"costs":      testCosts,
		"freshness":  testFreshness,
		"herd":       testHerd,
		"outage":     testOutage,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, r)
			if err := r.StopServers(); err != nil {
				t.Error(err)
			}
		})
	}
}

// openRig has a PostgreSQL with the small data and a Redis of its own. No request to its servers runs out of time.
func openRig(t *testing.T, o rig.Options) *rig.Rig {
	t.Helper()
	o.Dir, o.Size, o.Args = testenv.DataDir(t), seed.Small, []string{"--request-timeout", rig.Hang.String()}
	r, err := rig.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return r
}
