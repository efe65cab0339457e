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
	return freshness.Options{
		Rig: r, Before: time.Second / 2, During: 1500 * time.Millisecond, After: time.Second, Reads: 500, Actors: 200, Only: only,
		Progress: t.Output(),
	}
}

func TestFreshness_Faults(t *testing.T) {
	t.Parallel()
	// Those whose proof does not depend on luck within a second and a half.
	found := wantFresh(t, openRig(t), "none", "FLUSHALL", "Redis killed", "sequencer killed", "multi-row transaction")
	checkDocument(t, freshness.Report{Faults: found})
}

// A primary of a cluster is killed, and comes back as a replica. A cache that is naive about that is stale, and is seen to be.
func TestFreshness_Cluster(t *testing.T) {
	t.Parallel()
	r := openRigWith(t, rig.Options{Form: rig.Cluster})
	wantFresh(t, r, "primary killed")
	wantStale(t, r, 3)
}

// Sentinel is told to put a replica in the primary's place, which goes on for a while as if it were one.
func TestFreshness_Sentinel(t *testing.T) {
	t.Parallel()
	wantFresh(t, openRigWith(t, rig.Options{Form: rig.Sentinel}), "planned failover")
}

// wantFresh injects faults, and wants nothing stale to be read in each. Where Redis is a group, no request may fail either.
func wantFresh(t *testing.T, r *rig.Rig, only ...string) []freshness.Fault {
	t.Helper()
	found, err := freshness.Run(t.Context(), shorter(t, r, only...))
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
		if r.Form != rig.Single && f.Errors != 0 {
			t.Errorf("%s: got %d requests failed, want none: %v", f.Fault, f.Errors, f.Evidence["anError"])
		}
	}
	if got, want := strings.Join(names, ", "), strings.Join(only, ", "); got != want {
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

func TestFreshness_NegativeControls(t *testing.T) {
	t.Parallel()
	wantStale(t, openRig(t), 4)
}

// wantStale runs the negative controls of the Rig's form of Redis.
func wantStale(t *testing.T, r *rig.Rig, controls int) {
	t.Helper()
	found, err := freshness.Controls(t.Context(), r)
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
