package cache

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// tolerance is how many faults in a row put Redis out of use. One fault is often a connection that a restart of Redis
// closed; without a limit, each request during an outage would wait for its whole budget.
const tolerance = 5

// breaker counts faults in a row.
type breaker struct {
	faults atomic.Int32
	last   atomic.Int64 // when the last fault was counted, Unix ns
	open   atomic.Bool
}

// failed counts a fault of a round trip that began at a moment, and reports whether there are too many by now. Round trips
// that were under way together are one fault: a pause of this process fails them all at once.
func (b *breaker) failed(began time.Time) bool {
	last := b.last.Load()
	if began.UnixNano() < last || !b.last.CompareAndSwap(last, time.Now().UnixNano()) {
		return false
	}
	return b.faults.Add(1) >= tolerance
}

// trip opens the breaker, and reports whether it was closed.
func (b *breaker) trip() bool { return b.open.CompareAndSwap(false, true) }

func (b *breaker) succeeded() {
	if b.faults.Load() != 0 {
		b.faults.Store(0)
	}
}

func (b *breaker) close() {
	b.faults.Store(0)
	b.open.Store(false)
}

// isReply tells an answer of Redis, such as "no such key" or an error reply, from a failure to get one.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// answered tells whether Redis replied to a command, if only with an error.
func answered(err error) bool { return err == nil || isReply(err) }
