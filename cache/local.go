package cache

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// local is the tier in this process's memory: values as their readers use them, with what their freshness rests on. It
// is bounded in bytes; which entries stay is otter's choice (W-TinyLFU).
type local = otter.Cache[string, *held]

// held is an entry in memory. Its hashes are prepared once, so that a hit allocates nothing.
type held struct {
	entry
	value  any // of the kind's type, unless absent
	hashes []uint64
	proved atomic.Uint64
	weight uint32
}

func newLocal(bytes int64) *local {
	if bytes <= 0 {
		return nil
	}
	return otter.Must(&otter.Options[string, *held]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(name string, h *held) uint32 { return h.weight },
	})
}

// overhead is about what an entry takes beyond its texts: structs, the decoded value's pointers, otter's node.
const overhead = 400

// keepLocal holds a value that was read from Redis as raw. Forgets is how often the kind had been forgotten before that
// read began: what was read before a Forget must not be held after it.
func (k *Kind[K, V]) keepLocal(name string, e entry, value V, size int, forgets uint64) {
	if k.cache.local == nil {
		return
	}
	h := &held{entry: e, value: value, weight: uint32(2*size + len(name) + overhead)}
	h.payload, h.tags = nil, bytes.Clone(e.tags) // both refer to the whole of what Redis sent
	h.hashes = k.hashes(&e, nil)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forgets == forgets {
		k.cache.local.Set(name, h)
	}
}

// dropLocal removes an entry from this process's memory, and reports whether there was one.
func (c *Cache) dropLocal(name string) (held bool) {
	if c.local != nil {
		_, held = c.local.Invalidate(name)
	}
	return held
}

// look is the moment at which a read looks at entries: once for all that it finds in one place.
type look struct {
	moment
	now time.Time
}

func (c *Cache) look() look { return look{c.Freshness.moment(), c.Now()} }

// near looks a key up in memory.
func (k *Kind[K, V]) near(name string, at look) (h *held, value V, why Reason) {
	if k.cache.local == nil {
		return nil, value, absent
	}
	h, ok := k.cache.local.GetIfPresent(name)
	if !ok || h.shape != k.shape {
		return nil, value, absent
	}
	if why := k.check(&h.entry, h.hashes, &h.proved, at); why != "" {
		return h, value, why
	}
	if !h.absent {
		value = h.value.(V)
	}
	return h, value, ""
}

// check says why an entry can't be used, if it can't. Proved is the entry's own, or nil for one that is looked at once.
func (k *Kind[K, V]) check(e *entry, hashes []uint64, proved *atomic.Uint64, at look) Reason {
	if k.Tags == nil {
		return at.checkExpiry(e)
	}
	return at.check(e, hashes, proved)
}

func (l look) check(e *entry, hashes []uint64, proved *atomic.Uint64) Reason {
	fresh, why := false, ""
	if proved == nil {
		fresh, why = l.fresh(e.asOf, hashes)
	} else {
		fresh, why = l.freshSince(e.asOf, hashes, proved)
	}
	if !fresh {
		return staleReason(why)
	}
	return l.checkExpiry(e)
}

func (l look) checkExpiry(e *entry) Reason {
	if !l.now.Before(e.expires) {
		return expired
	}
	return ""
}

// rescuable tells whether an entry that can't be used for this reason may still be served, marked stale, when the source
// fails: what has expired, for the kind's grace, and what was fresh when contact with the log was lost. What the log has
// made stale is never served.
func (k *Kind[K, V]) rescuable(e *entry, why Reason) bool {
	return !k.Proved && (why == "" || why == expired || why == staleGrant) && k.cache.Now().Before(e.expires.Add(k.Grace))
}

// due tells whether a hit should have the entry refreshed before it expires. The probability rises towards the end, the
// sooner the longer the load takes, so that of many readers about one does it: XFetch, with beta 1, of "Optimal
// Probabilistic Cache Stampede Prevention" (Vattani, Chierichetti, Lowenstein, VLDB 2015).
func (c *Cache) due(e *entry, now time.Time) bool {
	left := e.expires.Sub(now)
	const most = 20 // -ln(rand) is above that once in half a billion times
	return left < most*e.load && left < time.Duration(c.exponential()*float64(e.load))
}
