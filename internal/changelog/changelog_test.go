package changelog

import (
	"testing"
)

func TestCommitted_NoInstanceServesWhatWasReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	instances := []*instance{c.start("a", nil), c.start("b", nil), c.start("c", nil)}
	c.granted(instances...)
	c.profile(1)
	if err := instances[0].Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		var readers []func() (bool, string)
		for _, i := range instances {
			readers = append(readers, i.reader(t, "profile:1"))
		}
		c.rename(1)
		if err := instances[n%3].Committed(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, fresh := range readers {
			if ok, why := fresh(); ok || why != "tag" {
				t.Fatalf("instance %d after change %d: got fresh %v %q, want false \"tag\"", i, n, ok, why)
			}
		}
	}
	var lapsed uint64
	for _, i := range instances {
		lapsed += i.Stats().Lapsed
	}
	if lapsed > 5 {
		t.Errorf("changes that waited for grants to end: got %d of 51, want nearly none", lapsed)
	}
}
