package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"freshet/cmd/bench/internal/freshness"
)

// shorter is enough to see a fault's mechanism at work, not to measure it.
func shorter(t *testing.T, only ...string) freshness.Options {
	return freshness.Options{
		Rig: openRig(t), Before: time.Second / 2, During: 1500 * time.Millisecond, After: time.Second, Reads: 500, Actors: 200, Only: only,
		Progress: t.Output(),
	}
}

func TestFreshness_Faults(t *testing.T) {
	t.Parallel()
	// Those whose proof does not depend on luck within a second and a half.
	only := []string{"none", "FLUSHALL", "Redis killed", "sequencer killed", "multi-row transaction"}
	found, err := freshness.Run(t.Context(), shorter(t, only...))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Fault)
		if f.StaleFresh != 0 {
			t.Errorf("%s: got %d stale reads of %d, want none: %v", f.Fault, f.StaleFresh, f.Reads, f.Evidence)
		}
		if f.Reads < 500 || f.Writes == 0 {
			t.Errorf("%s: got %d reads and %d writes, want 500 and some", f.Fault, f.Reads, f.Writes)
		}
	}
	if got, want := strings.Join(names, ", "), strings.Join(only, ", "); got != want {
		t.Errorf("faults: got %s, want %s", got, want)
	}
	checkDocument(t, freshness.Report{Faults: found})
}

// checkDocument compares the names in the JSON form with those that readers of it know.
func checkDocument(t *testing.T, r freshness.Report) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Faults []map[string]any
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("fault reads writes hits staleFresh foreignMs inversions errors dbReadShare answerMs evidence") {
		if _, ok := document.Faults[0][name]; !ok {
			t.Errorf("the document's first fault lacks %q: got %s", name, text)
		}
	}
}

func TestFreshness_NegativeControls(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	found, err := freshness.Controls(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 4 {
		t.Errorf("controls: got %v, want four", found)
	}
	for _, c := range found {
		t.Logf("%s: %d of %d reads stale", c.Name, c.Stale, c.Reads)
		if c.Stale == 0 {
			t.Errorf("%s: got no stale reads of %d, want some", c.Name, c.Reads)
		}
	}
}
