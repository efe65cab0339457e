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

// openRig has a PostgreSQL with the small data and a Redis of its own.
func openRig(t *testing.T) *rig.Rig { return openRigWith(t, rig.Options{}) }

func openRigWith(t *testing.T, o rig.Options) *rig.Rig {
	t.Helper()
	o.Dir, o.Size = testenv.DataDir(t), seed.Small
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
