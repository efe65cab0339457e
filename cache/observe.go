package cache

import (
	"context"
	"time"
)

// Observer is told of what readers and loads do: of each batch once it has ended, on the reader's goroutine. It must be
// quick and safe for concurrent use.
type Observer interface {
	Observe(ctx context.Context, b Batch)
	// Stored is called for each entry of a kind on its way to Redis, with its size in bytes.
	Stored(kind string, size int)
}

// Batch is what one read of several keys of a kind came to.
type Batch struct {
	Kind string
	// Keys is how many different keys were asked for. Each is a hit or was missed at least once.
	Keys int
	// LocalHits were answered from this process's memory and Hits from Redis, at first sight, known absences included.
	LocalHits, Hits int
	// Misses counts the others by reason; nil if there were none.
	Misses map[Reason]int
	// Loaded is how many keys this batch had read from the source, those apart that another batch had asked the same load
	// for; LoadTook is how long it took, with waiting for one's turn, but not for others' loads.
	Loaded   int
	LoadTook time.Duration
	// Waited is how many keys others were already loading, in this process or in another one, for whose loads this reader
	// waited, in all for WaitTook; a key counts each time.
	Waited   int
	WaitTook time.Duration
	// Stale is how many keys were answered with what had expired, or can't be proved fresh, because the source failed.
	Stale int
	// Early is how many hits had their entry refreshed in the background before it expires.
	Early int
	// RoundTrips to Redis that the reader waited for; Bytes came with them.
	RoundTrips int
	Bytes      int
	// Details of each key, Statements that loads asked of the source and the Trips to Redis before it was asked, for
	// readers under Explain.
	Details    []Detail
	Statements []Statement
	Trips      []Statement
	// Took is the whole of it.
	Took time.Duration
	// Err is why the read failed, if it did. Faults of the cache are not failures.
	Err error
}

// Reason is why a key was not answered from the cache.
type Reason string

// The reasons.
const (
	absent      Reason = "absent"
	expired     Reason = "expired"
	foreign     Reason = "foreign"     // corrupt, of another format, or another key's
	unavailable Reason = "unavailable" // Redis was out of use
	staleTag    Reason = "stale_tag"   // changed since
	staleFloor  Reason = "stale_floor" // older than what the log is known of
	staleEpoch  Reason = "stale_epoch" // of another history of the database
	staleGrant  Reason = "stale_grant" // contact with the log is lost
	leased      Reason = "lease"       // another was loading it: of a Detail only, a batch counts the reason before
)

// staleReason names what Log.Fresh says.
func staleReason(why string) Reason {
	switch why {
	case "tag":
		return staleTag
	case "floor":
		return staleFloor
	case "epoch":
		return staleEpoch
	default:
		return staleGrant
	}
}

func (b *Batch) miss(why Reason, n int) {
	if n == 0 {
		return
	}
	if b.Misses == nil {
		b.Misses = make(map[Reason]int)
	}
	b.Misses[why] += n
}

type nobody struct{}

func (nobody) Observe(context.Context, Batch) {}
func (nobody) Stored(string, int)             {}
