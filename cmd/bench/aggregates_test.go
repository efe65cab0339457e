package main

import (
	"testing"

	"freshet/cmd/bench/internal/rig"
)

// Each is answered over the small data, and cold reads make statements.
func testAggregates(t *testing.T, r *rig.Rig) {
	c := newClient()
	defer c.close()
	server, err := r.Start(t.Context(), "aggregates", "--memory", "-1", "--result-memory", "-1")
	if err != nil {
		t.Fatal(err)
	}
	names, operations := aggregateOperations()
	for i, op := range operations {
		body, err := c.ask(t.Context(), server, "", op)
		if err == nil {
			err = check(body)
		}
		if err != nil {
			t.Errorf("%s: got %v, want an answer with data", names[i], err)
		}
	}
	got, err := measureAggregate(t.Context(), r, func() error {
		_, err := c.ask(t.Context(), server, "", operations[0])
		return err
	}, server)
	if err != nil || got.SQL <= 0 || got.Warm <= 0 || got.Worst < got.Cold {
		t.Errorf("got %+v, %v, want times, with SQL when cold", got, err)
	}
}
