package main

import (
	"testing"
	"time"

	"freshet/cmd/bench/internal/costs"
	"freshet/cmd/bench/internal/rig"
)

// The costs are measured, and nothing is left behind.
func testCosts(t *testing.T, r *rig.Rig) {
	bed, err := costs.Open(t.Context(), r.Env.Postgres.URL, r.Redis)
	if err != nil {
		t.Fatal(err)
	}
	mutations, err := bed.Mutations(t.Context(), 10)
	if err != nil || mutations.Without.P50 <= 0 || mutations.With.P99 < mutations.With.P50 {
		t.Errorf("mutations: got %+v, %v, want times", mutations, err)
	}
	updates, err := bed.Updates(t.Context(), 1, time.Millisecond)
	if err != nil || updates.Without <= 0 || updates.With <= 0 || updates.Share <= 0 {
		t.Errorf("updates: got %+v, %v, want rates", updates, err)
	}
	rate, disk, err := bed.Backlog(t.Context(), 10_000)
	if err != nil || rate <= 0 || disk <= 0 {
		t.Errorf("backlog: got %v a second and %d bytes, %v, want some", rate, disk, err)
	}
	if err := bed.Close(); err != nil {
		t.Fatal(err)
	}
	var left int
	err = r.DB.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'bench'::regnamespace AND relkind = 'r')
		+ (SELECT count(*) FROM pg_proc WHERE proname = 'tag_costs')`).Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("tables and functions left: got %d, %v, want none", left, err)
	}
	if got := costs.MeasureMemory(10); got.CheckOne <= 0 || got.CheckForty <= 0 {
		t.Errorf("checks: got %+v, want times", got)
	}
}
