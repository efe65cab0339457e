package inspect

import (
	"strings"
	"testing"
)

func TestPrint_NamesTheLease(t *testing.T) {
	t.Parallel()
	stored, change := true, &Change{"post:17", 5}
	report := &Report{
		Operation: Operation{Type: "query", Result: "miss", Reason: "lease", Stored: &stored, Key: &Key{Name: "k", Miss: "lease", First: "absent"}},
		Policy:    Policy{Scope: "PUBLIC"},
		Reads: []Read{{Kind: "post", WaitMs: 12.3, Keys: []Key{
			{Name: "post:17", Tier: "redis", Miss: "lease", First: "stale_tag", StaleBy: change},
			{Name: "post:18", Tier: "redis"},
		}}},
	}
	var said strings.Builder
	if err := report.Print(&said); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"miss: lease after absent; kept", "1 redis (lease after stale_tag, post:17 changed at position 5), 1 redis",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", said.String(), want)
		}
	}
}
