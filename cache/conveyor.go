package cache

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lanes is how many round trips of a conveyor are under way at a time.
const lanes = 2

// queue adds commands to a round trip.
type queue = func(redis.Pipeliner)

// conveyor carries commands to Redis. While all lanes are busy, callers gather for the next round trip: a crowd costs a
// few round trips, not one each, and needs few connections. Those who look have one and those who store another, so that
// no reader waits for what is stored behind another's back.
type conveyor struct {
	budget time.Duration // of a round trip
	send   func([]queue, time.Duration) bool

	mu      sync.Mutex
	running int
	next    *carriage // nil: nobody waits
}

// carriage is a round trip that has not begun. The first who waits for it makes it, once lane is closed; ok is settled once
// done is closed.
type carriage struct {
	queues []queue
	lane   chan struct{}
	done   chan struct{}
	ok     bool
}

// carry makes a round trip with the commands that add adds, perhaps together with those of others, and reports whether it
// came back. It waits for a lane and for the trip, a budget each at most. It can't be left earlier: what add refers to is
// the caller's.
func (v *conveyor) carry(add queue) bool {
	v.mu.Lock()
	if v.running < lanes {
		v.running++
		v.mu.Unlock()
		defer v.leave()
		return v.send([]queue{add}, v.budget)
	}
	one, first := v.next, v.next == nil
	if first {
		one = &carriage{lane: make(chan struct{}), done: make(chan struct{})}
		v.next = one
	}
	one.queues = append(one.queues, add)
	v.mu.Unlock()
	if !first {
		<-one.done
		return one.ok
	}
	<-one.lane
	defer v.leave()
	defer close(one.done)
	one.ok = v.send(one.queues, v.budget)
	return one.ok
}

// leave gives the lane to those who wait, or frees it.
func (v *conveyor) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.next == nil {
		v.running--
		return
	}
	close(v.next.lane)
	v.next = nil
}
