// Package history records what clients wrote to versioned keys and what they read, and judges whether the reads were fresh.
//
// Each write of a key puts a higher version in its value. Times are those of one monotonic clock: an operation is known
// to have happened between its two, and nothing more is assumed.
package history

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Never is when a write was answered that was not: it may take effect at any later time, or not at all.
const Never time.Duration = math.MaxInt64

// Level is what is promised of a key.
type Level int

// The levels. Foreign keys are fresh ones that are written by SQL from elsewhere: nobody waits for the caches.
const (
	Fresh Level = iota
	Foreign
	TTL
)

// Write is one change of a key. A foreign one is answered by its COMMIT.
type Write struct {
	Version           int
	Invoked, Answered time.Duration
}

// Read is one value that an instance gave.
type Read struct {
	Version    int
	Begin, End time.Duration
	Instance   int
	// Marked says that the instance itself called the answer stale, because its source had failed. That promises nothing.
	Marked bool
}

// Key is a register with its history. It is safe for concurrent use. Its writer must be one at a time, and must not write
// again after a write that was never answered if that one could take effect after its successor.
type Key struct {
	Name  string
	Level Level
	// Bound is the TTL of a key of that level.
	Bound time.Duration

	invoked atomic.Int64

	mu     sync.Mutex
	floor  int // the highest version that was answered before the writes
	roof   int // the highest that was invoked before them
	writes []Write
	reads  []Read
}

// NewKey makes a key whose value is of the given version now.
func NewKey(name string, level Level, version int) *Key {
	k := &Key{Name: name, Level: level, floor: version, roof: version}
	k.invoked.Store(int64(version))
	return k
}

// Invoke says that a write of this version is about to be made.
func (k *Key) Invoke(version int) { k.invoked.Store(int64(version)) }

// Invoked is the highest version that anyone can have read.
func (k *Key) Invoked() int { return int(k.invoked.Load()) }

// Wrote notes a write that has ended, one way or the other.
func (k *Key) Wrote(w Write) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes = append(k.writes, w)
}

// Read notes a read that has ended.
func (k *Key) Read(r Read) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads = append(k.reads, r)
}

// Take returns the history so far and begins a new one. Nothing may be under way on the key.
func (k *Key) Take() *Segment {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &Segment{Name: k.Name, Level: k.Level, Bound: k.Bound, Floor: k.floor, Roof: k.roof, Writes: k.writes, Reads: k.reads}
	k.reads = nil
	if k.Level == TTL {
		s.Writes = append([]Write(nil), k.writes...) // what they replaced may be seen for a while yet
		return s
	}
	k.writes = nil
	for _, w := range s.Writes {
		k.roof = max(k.roof, w.Version)
		if w.Answered != Never {
			k.floor = max(k.floor, w.Version)
		}
	}
	return s
}
