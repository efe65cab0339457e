package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Segment is a stretch of a key's history that begins and ends with nothing under way.
type Segment struct {
	Name   string
	Level  Level
	Bound  time.Duration
	Floor  int // the highest version answered before
	Roof   int // the highest invoked before
	Writes []Write
	Reads  []Read
}

// Verdict is what a segment's reads amount to.
type Verdict struct {
	// Stale reads began after the answer of a write and returned an older version, or, of a TTL key, did so for longer
	// than that. A Foreign key has none: see Staleness.
	Stale int
	// Marked reads would be stale had the instance not said so itself. They count for nothing else.
	Marked int
	// Inversions are reads that returned an older version than another that had ended before they began.
	Inversions int
	// Impossible reads returned what nobody had begun to write by then.
	Impossible int
	// Staleness is, for each write of a Foreign key that every instance was seen to show, how long that took.
	Staleness []time.Duration
	// Latest describes the write of a Foreign key that took longest of these.
	Latest string
	// Example describes the first stale or impossible read.
	Example string
}

// Check judges every read. It takes n log n.
func (s *Segment) Check() (v Verdict) {
	switch s.Level {
	case Fresh:
		s.stale(&v, 0)
	case TTL:
		s.stale(&v, s.Bound)
	}
	s.impossible(&v)
	unmarked := *s
	unmarked.Reads = s.unmarked()
	v.Inversions = unmarked.inversions()
	if s.Level == Foreign {
		v.Staleness, v.Latest = unmarked.staleness()
	}
	return v
}

func (s *Segment) unmarked() []Read {
	return slices.DeleteFunc(slices.Clone(s.Reads), func(r Read) bool { return r.Marked })
}

// answered are the writes that were, in that order, each with the highest version answered by then.
func (s *Segment) answered() []Write {
	done := slices.DeleteFunc(slices.Clone(s.Writes), func(w Write) bool { return w.Answered == Never })
	slices.SortFunc(done, func(a, b Write) int { return cmp.Compare(a.Answered, b.Answered) })
	for i := range done {
		if i > 0 {
			done[i].Version = max(done[i].Version, done[i-1].Version)
		}
	}
	return done
}

func (s *Segment) stale(v *Verdict, allowed time.Duration) {
	done := s.answered()
	for _, r := range s.Reads {
		need := s.Floor
		n, _ := slices.BinarySearchFunc(done, r.Begin-allowed, func(w Write, at time.Duration) int {
			return cmp.Compare(w.Answered, at)
		})
		if n > 0 {
			need = max(need, done[n-1].Version)
		}
		if allowed > 0 && n == 0 {
			continue // what was answered before the first write may be cached yet
		}
		if r.Version >= need {
			continue
		}
		if r.Marked {
			v.Marked++
			continue
		}
		if v.Stale++; v.Example == "" {
			v.Example = fmt.Sprintf("%s: version %d read on instance %d from %s to %s, when %d was answered", s.Name,
				r.Version, r.Instance, r.Begin, r.End, need)
			if n > 0 {
				v.Example += fmt.Sprintf(" at %s", done[n-1].Answered)
			}
		}
	}
}

func (s *Segment) impossible(v *Verdict) {
	if s.Level == TTL {
		return // a write that was not answered is no version of its own there
	}
	begun := slices.Clone(s.Writes)
	slices.SortFunc(begun, func(a, b Write) int { return cmp.Compare(a.Invoked, b.Invoked) })
	for i := range begun {
		begun[i].Version = max(begun[i].Version, begun[max(i-1, 0)].Version)
	}
	for _, r := range s.Reads {
		n, _ := slices.BinarySearchFunc(begun, r.End+1, func(w Write, at time.Duration) int { return cmp.Compare(w.Invoked, at) })
		most := max(s.Floor, s.Roof)
		if n > 0 {
			most = max(most, begun[n-1].Version)
		}
		if r.Version <= most {
			continue
		}
		if v.Impossible++; v.Example == "" {
			v.Example = fmt.Sprintf("%s: version %d read on instance %d from %s to %s, before it was written", s.Name,
				r.Version, r.Instance, r.Begin, r.End)
		}
	}
}

func (s *Segment) inversions() (n int) {
	byBegin, byEnd := slices.Clone(s.Reads), slices.Clone(s.Reads)
	slices.SortFunc(byBegin, func(a, b Read) int { return cmp.Compare(a.Begin, b.Begin) })
	slices.SortFunc(byEnd, func(a, b Read) int { return cmp.Compare(a.End, b.End) })
	newest, ended := -1, 0
	for _, r := range byBegin {
		for ; byEnd[ended].End < r.Begin; ended++ {
			newest = max(newest, byEnd[ended].Version)
		}
		if r.Version < newest {
			n++
		}
	}
	return n
}

// shown is when an instance showed a write for good: when its first read of it had ended, or when the last that still
// showed something older had begun, whichever came later.
type shown struct {
	at    time.Duration
	first Read          // of it
	older time.Duration // when the last read of something older began; 0 if none did
}

// staleness is the time from each COMMIT until the slowest instance showed the change, and a description of the longest.
func (s *Segment) staleness() (took []time.Duration, latest string) {
	writes := s.answered()
	slowest := make([]shown, len(writes))
	unseen := make([]bool, len(writes))
	for _, reads := range s.byInstance() {
		last := lastOlder(writes, reads)
		next := 0
		for _, r := range reads { // by their end
			for ; next < len(writes) && writes[next].Version <= r.Version; next++ {
				if at := max(r.End, last[next]); at > slowest[next].at {
					slowest[next] = shown{at, r, last[next]}
				}
			}
		}
		for ; next < len(writes); next++ {
			unseen[next] = true
		}
	}
	most := time.Duration(0)
	for i, w := range writes {
		if unseen[i] || slowest[i].at == 0 {
			continue
		}
		late := max(0, slowest[i].at-w.Answered)
		took = append(took, late)
		if late > most {
			most, latest = late, s.describe(w, slowest[i])
		}
	}
	return took, latest
}

func (s *Segment) describe(w Write, late shown) string {
	text := fmt.Sprintf("%s: version %d, committed at %s, was first shown by instance %d from %s to %s", s.Name, w.Version,
		w.Answered, late.first.Instance+1, late.first.Begin, late.first.End)
	if late.older > w.Answered {
		text += fmt.Sprintf("; something older was last asked for at %s", late.older)
	}
	return text
}

func (s *Segment) byInstance() map[int][]Read {
	instances := make(map[int][]Read)
	for _, r := range s.Reads {
		instances[r.Instance] = append(instances[r.Instance], r)
	}
	for _, reads := range instances {
		slices.SortFunc(reads, func(a, b Read) int { return cmp.Compare(a.End, b.End) })
	}
	return instances
}

// lastOlder is, for each write, when the last read began that did not show it, if that was after its answer.
func lastOlder(writes []Write, reads []Read) []time.Duration {
	last := make([]time.Duration, len(writes))
	for _, r := range reads {
		n, _ := slices.BinarySearchFunc(writes, r.Begin, func(w Write, at time.Duration) int { return cmp.Compare(w.Answered, at) })
		for i := n - 1; i >= 0 && writes[i].Version > r.Version; i-- {
			last[i] = max(last[i], r.Begin)
		}
	}
	return last
}
