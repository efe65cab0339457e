package freshness

import (
	"slices"
	"time"
)

const (
	window = 250 * time.Millisecond
	// calm is how many windows in a row must be normal.
	calm = 4
	// slack is what a busy machine may add to an ordinary time.
	slack = 20 * time.Millisecond
)

// normal is how long after mended it took until, for a second, nothing failed, and reads and mutations took about as long
// as before it broke. -1 if that was not seen.
func (l *load) normal(broken, mended time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	ordinary := map[bool]time.Duration{}
	for _, write := range []bool{false, true} {
		ordinary[write] = 3*median(l.events, 0, broken, write) + slack
	}
	last := time.Duration(0)
	for _, e := range l.events {
		last = max(last, e.end)
	}
	good := 0
	for from := mended; from+window <= last; from += window {
		if !well(l.events, from, ordinary) {
			good = 0
			continue
		}
		if good++; good == calm {
			return from - (calm-1)*window - mended
		}
	}
	return -1
}

// well looks at the requests that began after the fault and ended in a window: those caught by the fault itself are not
// its aftermath.
func well(events []event, from time.Duration, ordinary map[bool]time.Duration) bool {
	seen := false
	for _, e := range events {
		if e.end < from || e.end >= from+window {
			continue
		}
		if seen = true; e.failed {
			return false
		}
	}
	return seen && median(events, from, from+window, false) <= ordinary[false] && median(events, from, from+window, true) <= ordinary[true]
}

// median of how long requests took that ended within a time; 0 without any.
func median(events []event, from, to time.Duration, write bool) time.Duration {
	var took []time.Duration
	for _, e := range events {
		if e.write == write && !e.failed && e.end >= from && e.end < to {
			took = append(took, e.took)
		}
	}
	slices.Sort(took)
	return quantile(took, 0.5)
}
