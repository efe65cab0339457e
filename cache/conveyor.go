package cache

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lanes is how many round trips of a process are under way at a time.
const lanes = 2

// queue adds commands to a round trip.
type queue = func(redis.Pipeliner)

// conveyor carries commands to Redis. While all lanes are busy, callers gather for the next round trip: a crowd costs a
// few round trips, not one each, and needs few connections.
type conveyor struct {
	mu      sync.Mutex
	running int
	waiting map[time.Duration]*carriage // by budget
}

// carriage is a round trip that has not begun. The first who waits for it makes it, once lane is closed; ok is settled once
// done is closed.
type carriage struct {
	queues []queue
	lane   chan struct{}
	done   chan struct{}
	ok     bool
}

// carry has send make a round trip with the commands that add adds, perhaps together with those of others, and reports
// whether it came back. It waits for a lane and for the trip, a budget each at most. It can't be left earlier: what add
// refers to is the caller's.
func (v *conveyor) carry(add queue, budget time.Duration, send func([]queue, time.Duration) bool) bool {
	v.mu.Lock()
	if v.running < lanes {
		v.running++
		v.mu.Unlock()
		defer v.next()
		return send([]queue{add}, budget)
	}
	one := v.waiting[budget]
	first := one == nil
	if first {
		one = &carriage{lane: make(chan struct{}), done: make(chan struct{})}
		if v.waiting == nil {
			v.waiting = make(map[time.Duration]*carriage)
		}
		v.waiting[budget] = one
	}
	one.queues = append(one.queues, add)
	v.mu.Unlock()
	if !first {
		<-one.done
		return one.ok
	}
	<-one.lane
	defer v.next()
	defer close(one.done)
	one.ok = send(one.queues, budget)
	return one.ok
}

// next gives the lane to those who wait, or frees it.
func (v *conveyor) next() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for budget, one := range v.waiting {
		delete(v.waiting, budget)
		close(one.lane)
		return
	}
	v.running--
}
