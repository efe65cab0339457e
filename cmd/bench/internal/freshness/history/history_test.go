package history_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"freshet/cmd/bench/internal/freshness/history"
)

const (
	ms      = time.Millisecond
	noLimit = 0 // of the time that porcupine takes
)

func segment(level history.Level, writes []history.Write, reads ...history.Read) *history.Segment {
	return &history.Segment{Name: "k", Level: level, Bound: 30 * ms, Writes: writes, Reads: reads}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	one := []history.Write{{Version: 1, Invoked: 10 * ms, Answered: 20 * ms}}
	lost := []history.Write{{Version: 1, Invoked: 10 * ms, Answered: history.Never}}
	for name, c := range map[string]struct {
		of                                  *history.Segment
		stale, marked, inverted, impossible int
		illegal                             bool // to porcupine
	}{
		"old before":            {of: segment(history.Fresh, one, history.Read{Begin: 1 * ms, End: 2 * ms})},
		"old during":            {of: segment(history.Fresh, one, history.Read{Begin: 12 * ms, End: 30 * ms})},
		"new during":            {of: segment(history.Fresh, one, history.Read{Version: 1, Begin: 12 * ms, End: 13 * ms})},
		"old at the answer":     {of: segment(history.Fresh, one, history.Read{Begin: 20 * ms, End: 21 * ms})},
		"old after":             {of: segment(history.Fresh, one, history.Read{Begin: 21 * ms, End: 22 * ms}), stale: 1, illegal: true},
		"old after, and marked": {of: segment(history.Fresh, one, history.Read{Begin: 21 * ms, End: 22 * ms, Marked: true}), marked: 1},
		"new before":            {of: segment(history.Fresh, one, history.Read{Version: 1, Begin: 1 * ms, End: 2 * ms}), impossible: 1, illegal: true},
		"lost and old":          {of: segment(history.Fresh, lost, history.Read{Begin: 90 * ms, End: 91 * ms})},
		"lost and new":          {of: segment(history.Fresh, lost, history.Read{Version: 1, Begin: 90 * ms, End: 91 * ms})},
		"lost and before":       {of: segment(history.Fresh, lost, history.Read{Version: 1, Begin: 1 * ms, End: 2 * ms}), impossible: 1, illegal: true},
		"below the floor":       {of: &history.Segment{Floor: 3, Reads: []history.Read{{Version: 2, Begin: 1 * ms, End: 2 * ms}}}, stale: 1, illegal: true},
		"within its TTL":        {of: segment(history.TTL, one, history.Read{Begin: 49 * ms, End: 50 * ms})},
		"older than its TTL":    {of: segment(history.TTL, one, history.Read{Begin: 51 * ms, End: 52 * ms}), stale: 1},
		"old again while under": {of: segment(history.Fresh, one, history.Read{Version: 1, Begin: 12 * ms, End: 13 * ms}, history.Read{Begin: 14 * ms, End: 15 * ms}), inverted: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.of.Check()
			if got.Stale != c.stale || got.Marked != c.marked || got.Inversions != c.inverted || got.Impossible != c.impossible {
				t.Errorf("got %+v, want %d stale, %d marked, %d inversions, %d impossible", got, c.stale, c.marked, c.inverted, c.impossible)
			}
			if c.of.Level != history.Fresh {
				return
			}
			if p := c.of.Porcupine(10, noLimit); (p.Illegal > 0) != c.illegal || p.Unknown > 0 {
				t.Errorf("porcupine: got %+v, want illegal %t", p, c.illegal)
			}
		})
	}
}

func TestCheck_ForeignStaleness(t *testing.T) {
	t.Parallel()
	got := segment(history.Foreign, []history.Write{
		{Version: 1, Invoked: 9 * ms, Answered: 10 * ms}, {Version: 2, Invoked: 49 * ms, Answered: 50 * ms}, {Version: 3, Invoked: 98 * ms, Answered: 99 * ms},
	},
		history.Read{Version: 1, Begin: 9 * ms, End: 12 * ms},
		history.Read{Begin: 11 * ms, End: 12 * ms, Instance: 1},
		history.Read{Version: 1, Begin: 17 * ms, End: 18 * ms, Instance: 1},
		history.Read{Begin: 20 * ms, End: 21 * ms}, // back again
		history.Read{Version: 2, Begin: 51 * ms, End: 52 * ms},
		history.Read{Version: 2, Begin: 52 * ms, End: 53 * ms, Instance: 1},
		history.Read{Version: 3, Begin: 100 * ms, End: 101 * ms}, // and the other instance did not say
	).Check().Staleness
	if want := []time.Duration{10 * ms, 3 * ms}; !slices.Equal(got, want) {
		t.Errorf("staleness: got %v, want %v", got, want)
	}
}

// The two judges were written apart, one for each read and one for the whole history: they must agree.
func TestCheck_AgreesWithPorcupine(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	bad := 0
	for range 300 {
		s := &history.Segment{}
		at := time.Duration(0)
		for version := 1; version <= 5; version++ {
			w := history.Write{Version: version, Invoked: at + time.Duration(random.IntN(20)), Answered: history.Never}
			if version < 5 {
				w.Answered = w.Invoked + time.Duration(random.IntN(20))
				at = w.Answered + 1
			}
			s.Writes = append(s.Writes, w)
		}
		for range 25 {
			begin := time.Duration(random.IntN(int(at) + 30))
			r := history.Read{Begin: begin, End: begin + time.Duration(random.IntN(15))}
			for _, w := range s.Writes {
				if w.Answered < r.Begin || w.Invoked <= r.End && random.IntN(2) == 0 && r.Version == w.Version-1 {
					r.Version = w.Version
				}
			}
			if random.IntN(60) == 0 {
				r.Version = random.IntN(6)
			}
			s.Reads = append(s.Reads, r)
		}
		v, p := s.Check(), s.Porcupine(8, noLimit)
		if wrong := v.Stale+v.Impossible > 0; wrong != (p.Illegal > 0) {
			t.Fatalf("got %+v, porcupine %+v of %+v", v, p, s)
		} else if wrong {
			bad++
		}
	}
	if bad < 30 || bad > 270 {
		t.Errorf("broken histories: got %d of 300, want many of both", bad)
	}
}
