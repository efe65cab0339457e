package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Pieces counts what porcupine said of a history.
type Pieces struct {
	OK, Illegal, Unknown int
}

// state of the register: reads return anything from settled to committed. A write moves both, one after the other,
// between its invocation and its answer; in between old and new may be seen in any order.
type state struct{ settled, committed int }

type action int

const (
	read action = iota
	commit
	settle
)

type input struct {
	do      action
	version int
}

func model(initial state) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(before, in, _ any) (bool, any) {
			s, i := before.(state), in.(input)
			switch i.do {
			case commit:
				s.committed = max(s.committed, i.version)
				return true, s
			case settle:
				s.settled = max(s.settled, i.version)
				return i.version <= s.committed, s
			default:
				return s.settled <= i.version && i.version <= s.committed, s
			}
		},
		Hash: func(s any) uint64 { return uint64(s.(state).settled)<<32 | uint64(s.(state).committed) },
	}
}

// Porcupine has porcupine look at a Fresh key's history, piece by piece, each at least so many operations long and for at most
// patience; 0 is without a limit. The pieces are cut where nothing is under way, so that nothing is lost between them.
func (s *Segment) Porcupine(length int, patience time.Duration) (p Pieces) {
	all := s.operations()
	initial := state{s.Floor, max(s.Floor, s.Roof)}
	start := 0
	var end int64
	for i := range all {
		if i-start >= length && all[i].Call > end {
			initial = p.check(all[start:i], initial, patience)
			start = i
		}
		end = max(end, all[i].Return)
	}
	if start < len(all) {
		p.check(all[start:], initial, patience)
	}
	return p
}

// check judges a piece and returns the state after it.
func (p *Pieces) check(piece []porcupine.Operation, initial state, patience time.Duration) state {
	switch porcupine.CheckOperationsTimeout(model(initial), piece, patience) {
	case porcupine.Ok:
		p.OK++
	case porcupine.Illegal:
		p.Illegal++
	default:
		p.Unknown++
	}
	for _, op := range piece {
		switch in := op.Input.(input); in.do {
		case settle:
			initial.settled = max(initial.settled, in.version)
		case commit:
			initial.committed = max(initial.committed, in.version)
		}
	}
	return initial
}

// operations in the order of their calls. One that was never answered ends with the history: it takes effect by then, or
// nobody sees that it does not.
func (s *Segment) operations() []porcupine.Operation {
	var end time.Duration
	for _, r := range s.Reads {
		end = max(end, r.End)
	}
	var all []porcupine.Operation
	add := func(in input, begin, end time.Duration) {
		all = append(all, porcupine.Operation{Input: in, Call: int64(begin), Return: int64(end)})
	}
	for _, r := range s.unmarked() {
		add(input{read, r.Version}, r.Begin, r.End)
	}
	for _, w := range s.Writes {
		if w.Answered == Never {
			add(input{commit, w.Version}, w.Invoked, max(end, w.Invoked)+1)
			continue
		}
		add(input{commit, w.Version}, w.Invoked, w.Answered)
		add(input{settle, w.Version}, w.Invoked, w.Answered)
	}
	slices.SortFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return all
}
