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
	work    *sync.WaitGroup
	mu      sync.Mutex
	running int
	waiting map[time.Duration]*carriage // by budget
}

// carriage is a round trip that has not begun. Ok is settled once done is closed.
type carriage struct {
	queues []queue
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
		defer v.next(send)
		return send([]queue{add}, budget)
	}
	next := v.waiting[budget]
	if next == nil {
		next = &carriage{done: make(chan struct{})}
		if v.waiting == nil {
			v.waiting = make(map[time.Duration]*carriage)
		}
		v.waiting[budget] = next
	}
	next.queues = append(next.queues, add)
	v.mu.Unlock()
	<-next.done
	return next.ok
}

// next lets those who wait go, or frees the lane.
func (v *conveyor) next(send func([]queue, time.Duration) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for budget, next := range v.waiting {
		delete(v.waiting, budget)
		v.work.Go(func() {
			defer v.next(send)
			defer close(next.done)
			next.ok = send(next.queues, budget)
		})
		return
	}
	v.running--
}
