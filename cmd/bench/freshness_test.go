package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"freshet/cmd/bench/internal/freshness"
	"freshet/cmd/bench/internal/rig"
)

// shorter is enough to see a fault's mechanism at work, not to measure it.
func shorter(t *testing.T, r *rig.Rig, only ...string) freshness.Options {
	const moment = 100 * time.Millisecond
	return freshness.Options{
		Rig: r, WarmUp: moment, Before: moment, During: 4 * moment, After: moment, Reads: 500, Actors: 100, Only: only, Progress: t.Output(),
	}
}

func testFreshness(t *testing.T, r *rig.Rig) {
	found := wantFresh(t, shorter(t, r, "none", "FLUSHALL", "Redis killed", "sequencer killed", "multi-row transaction"))
	checkDocument(t, freshness.Report{Faults: found})
}

// wantFresh injects faults, and wants nothing stale to be read in each.
func wantFresh(t *testing.T, o freshness.Options) []freshness.Fault {
	t.Helper()
	found, err := freshness.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Fault)
		if f.StaleFresh != 0 {
			t.Errorf("%s: got %d stale reads of %d, want none: %v", f.Fault, f.StaleFresh, f.Reads, f.Evidence)
		}
		if f.Reads < o.Reads || f.Writes == 0 {
			t.Errorf("%s: got %d reads and %d writes, want %d and some", f.Fault, f.Reads, f.Writes, o.Reads)
		}
		if f.OfRedis() && f.Errors != 0 {
			t.Errorf("%s: got %d requests failed, want none: %v", f.Fault, f.Errors, f.Evidence["anError"])
		}
	}
	if got, want := strings.Join(names, ", "), strings.Join(o.Only, ", "); want != "" && got != want {
		t.Errorf("faults: got %s, want %s", got, want)
	}
	return found
}

// An unknown fault is refused, and so is one of another form of Redis: a run that injects nothing finds nothing.
func TestFreshness_RefusesFaultsOfOtherForms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"no such fault", "slots that move"} {
		_, err := freshness.Run(t.Context(), shorter(t, &rig.Rig{Form: rig.Sentinel}, "none", name))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("run with %q over Sentinel: got %v, want it refused", name, err)
		}
	}
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

func testControls(t *testing.T, r *rig.Rig) { wantStale(t, r, 1, 5) }

// wantStale runs the negative controls of the Rig's form of Redis.
func wantStale(t *testing.T, r *rig.Rig, reads, controls int) {
	t.Helper()
	found, err := freshness.Controls(t.Context(), r, reads)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != controls {
		t.Errorf("controls: got %v, want %d", found, controls)
	}
	for _, c := range found {
		t.Logf("%s: %d of %d reads stale", c.Name, c.Stale, c.Reads)
		if c.Stale == 0 {
			t.Errorf("%s: got no stale reads of %d, want some", c.Name, c.Reads)
		}
	}
}
