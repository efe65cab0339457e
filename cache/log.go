package cache

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Position is a place in the change log: every change committed at or before it has been seen. Positions compare within
// one epoch only. The zero Position is before everything, and nothing read as of it is fresh.
type Position struct{ Epoch, At uint64 }

// Log is what one instance knows of the change log: for each tag the position of its last change, how far the log has
// been applied, and until when this instance may answer from a cache (its grant). The readers' methods (Tags, AsOf,
// Fresh, Position, Now) never block and never allocate, but for the result of Tags; all methods are safe for concurrent
// use. A new Log has no grant, so nothing is fresh until a change log feeds it.
//
// Memory is constant, 8 MiB, however long the log: tags live in sets of seven, one cache line each, and where a set is
// full the tag that changed longest ago gives way and leaves its position as the set's floor. A tag that is not found
// counts as changed at that floor, so forgetting makes entries stale and never fresh.
type Log struct {
	clock func() time.Duration
	seed  maphash.Seed
	mu    sync.Mutex // held by the methods that change the view
	views uint64     // made so far
	view  atomic.Pointer[view]
}

// view is the log since one floor of one epoch. Another epoch is another view, so a reader that loaded one sees nothing
// half replaced. Positions inside are counted from base. Serial tells views of one Log apart; 0 is the one without a log.
type view struct {
	epoch, base uint64
	serial      uint64
	applied     atomic.Uint64
	until       atomic.Int64 // end of the grant on the Log's clock
	sets        []tagSet
}

// tagSet holds words of 24 bits of a tag's hash and 40 bits of its last position.
type tagSet struct {
	words [7]atomic.Uint64
	floor atomic.Uint64
}

const (
	setCount     = 1 << 17
	positionBits = 40
	positionMask = 1<<positionBits - 1
)

// NewLog returns an empty Log. Clock counts from any fixed moment and must go on while the machine is suspended; nil
// takes the system's clock of that kind.
func NewLog(clock func() time.Duration) *Log {
	if clock == nil {
		clock = bootTime
	}
	l := &Log{clock: clock, seed: maphash.MakeSeed()}
	l.view.Store(&view{})
	return l
}

// Now is the clock by which grants end.
func (l *Log) Now() time.Duration { return l.clock() }

// Tags prepares an entry's tags for Fresh. A tag is "type:rest"; the result holds the hash of each, and those of the
// wildcards that cover them: "type:*", once for each type, and "*". The hashes mean nothing to another Log.
func (l *Log) Tags(names []string) []uint64 { return l.hashes(pack(names), nil) }

// hashes is Tags for tags as they are stored; it appends to into.
func (l *Log) hashes(tags packed, into []uint64) []uint64 {
	hashes := append(into, maphash.String(l.seed, "*"))
	var buffer [64]byte
	var last []byte
	for name := range tags.all() {
		hashes = append(hashes, maphash.Bytes(l.seed, name))
		kind, _, _ := bytes.Cut(name, []byte{':'})
		if bytes.Equal(kind, last) {
			continue
		}
		last = kind
		wildcard := maphash.Bytes(l.seed, append(append(buffer[:0], kind...), ":*"...))
		if !slices.Contains(hashes, wildcard) {
			hashes = append(hashes, wildcard)
		}
	}
	return hashes
}

// AsOf is the position that an entry may carry if its value is read from PostgreSQL after this call; sampled later, it
// could claim a change that the value lacks. Without a grant it is false, and caches are to be left alone.
func (l *Log) AsOf() (Position, bool) {
	v := l.view.Load()
	return v.position(), v.granted(l.clock())
}

// Position is how far the log has been applied, with or without a grant.
func (l *Log) Position() Position { return l.view.Load().position() }

// Fresh reports whether a value read as of asOf is still what PostgreSQL holds, for a read that began before this call.
// Otherwise why is the reason: "epoch", "floor" (nothing is known of so long ago) or "tag" (it was, or may have been,
// changed), or, if only contact with the log is lost, "grant".
func (l *Log) Fresh(asOf Position, tags []uint64) (ok bool, why string) {
	return l.moment().fresh(asOf, tags)
}

// moment is a look at the grant. It serves every check of a read that began before it: a reader of many entries looks at
// the clock, which is a system call, once.
type moment struct {
	view    *view
	granted bool
}

// moment comes before the looks at tags. The grant covers every change answered before this moment because those are in
// the sets by now; looked at after the tags, it could have been renewed by a change that the look at the tags had missed.
func (l *Log) moment() moment {
	v := l.view.Load()
	return moment{v, v.granted(l.clock())}
}

// fresh is Log.Fresh for a read that began before the moment.
func (m moment) fresh(asOf Position, tags []uint64) (ok bool, why string) {
	v := m.view
	if asOf.Epoch != v.epoch || v.epoch == 0 {
		return false, "epoch"
	}
	if asOf.At < v.base {
		return false, "floor"
	}
	at := asOf.At - v.base
	for _, tag := range tags {
		if v.lastChange(tag) > at {
			return false, "tag"
		}
	}
	if !m.granted {
		return false, "grant"
	}
	return true, ""
}

// freshSince is fresh for an entry that is looked at again and again. Proved says up to where it was found unchanged the
// last time: while the log stands there, nothing can have changed it. Concurrent use is fine, since whatever is noted
// holds.
func (m moment) freshSince(asOf Position, tags []uint64, proved *atomic.Uint64) (ok bool, why string) {
	mark := m.view.mark() // before the tags: all changes up to it are in the sets
	if m.granted && proved.Load() == mark {
		return true, ""
	}
	if ok, why = m.fresh(asOf, tags); ok {
		proved.Store(mark)
	}
	return ok, why
}

// Apply takes in the changes that follow after, one position each. What was applied before is skipped. It is false, and
// nothing changes, if the epoch is another or changes between are missing.
func (l *Log) Apply(after Position, names []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.view.Load()
	applied := v.applied.Load()
	if after.Epoch != v.epoch || after.At > applied {
		return false
	}
	end := after.At + uint64(len(names))
	if end <= applied {
		return true
	}
	if end-v.base > positionMask {
		v = l.begin(Position{Epoch: v.epoch, At: applied})
	}
	for i, name := range names[applied-after.At:] {
		v.change(maphash.String(l.seed, name), applied+uint64(i)+1-v.base)
	}
	v.applied.Store(end) // after the sets: whoever reads it must find the changes in them
	return true
}

// Grant lets Fresh say yes until the given moment of the Log's clock. It is false if the log has not been applied up to
// at. It never shortens a grant.
func (l *Log) Grant(at Position, until time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.view.Load()
	if at.Epoch != v.epoch || at.At > v.applied.Load() {
		return false
	}
	if int64(until) > v.until.Load() {
		v.until.Store(int64(until))
	}
	return true
}

// Revoke ends the grant at once.
func (l *Log) Revoke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view.Load().until.Store(0)
}

// Reset forgets everything: the log begins anew at floor, with nothing known of what was read before it, and without a
// grant.
func (l *Log) Reset(floor Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(floor)
}

// begin is called with mu held.
func (l *Log) begin(floor Position) *view {
	l.views++
	v := &view{epoch: floor.Epoch, base: floor.At, serial: l.views, sets: make([]tagSet, setCount)}
	v.applied.Store(floor.At)
	l.view.Store(v)
	return v
}

// mark is how far this view has been applied, in one word that no other view of the last 2^24 has.
func (v *view) mark() uint64 { return v.serial<<positionBits | (v.applied.Load()-v.base)&positionMask }

func (v *view) position() Position { return Position{Epoch: v.epoch, At: v.applied.Load()} }

func (v *view) granted(now time.Duration) bool { return int64(now) < v.until.Load() }

func (v *view) lastChange(tag uint64) uint64 {
	set := &v.sets[tag%setCount]
	for i := range set.words {
		if word := set.words[i].Load(); word>>positionBits == tag>>positionBits {
			return word & positionMask
		}
	}
	return set.floor.Load() // last: a tag that gave way during the search has raised it before
}

func (v *view) change(tag, at uint64) {
	set := &v.sets[tag%setCount]
	place := &set.words[0]
	for i := range set.words {
		word := set.words[i].Load()
		if word == 0 || word>>positionBits == tag>>positionBits {
			place = &set.words[i]
			break
		}
		if word&positionMask < place.Load()&positionMask {
			place = &set.words[i]
		}
	}
	if old := place.Load(); old>>positionBits != tag>>positionBits {
		set.floor.Store(old & positionMask)
	}
	place.Store(tag>>positionBits<<positionBits | at)
}
