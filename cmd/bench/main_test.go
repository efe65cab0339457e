package main

import (
	"context"
	"testing"

	"freshet/cmd/bench/internal/rig"
	"freshet/internal/seed"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// openRig has a PostgreSQL with the small data and a Redis of its own.
func openRig(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := rig.Open(t.Context(), rig.Options{Dir: testenv.DataDir(t), Size: seed.Small})
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
