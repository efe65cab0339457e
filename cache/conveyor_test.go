package cache

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A crowd that comes while all lanes are busy makes one round trip together.
func TestConveyor_CrowdTravelsTogether(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var trips, carried atomic.Int64
	send := func(queues []queue, _ time.Duration) bool {
		trips.Add(1)
		carried.Add(int64(len(queues)))
		<-release
		return true
	}
	v := conveyor{budget: time.Second, send: send}
	nothing := func(redis.Pipeliner) {}
	var callers sync.WaitGroup
	for range lanes {
		callers.Go(func() { v.carry(nothing) })
	}
	for trips.Load() < lanes {
	}
	const crowd = 300
	for range crowd {
		callers.Go(func() {
			if !v.carry(nothing) {
				t.Error("carried together: got false, want true")
			}
		})
	}
	for waiting := 0; waiting < crowd; {
		v.mu.Lock()
		if v.next != nil {
			waiting = len(v.next.queues)
		}
		v.mu.Unlock()
	}
	close(release)
	callers.Wait()
	if trips.Load() != lanes+1 || carried.Load() != lanes+crowd {
		t.Errorf("got %d trips for %d callers, want %d for %d", trips.Load(), carried.Load(), lanes+1, lanes+crowd)
	}
	if v.running != 0 || v.next != nil {
		t.Errorf("afterwards: got %d lanes busy and some waiting: %t, want none", v.running, v.next != nil)
	}
}

// Faults of round trips that were under way together count once: a pause of this process fails them all.
func TestBreaker_FaultsTogetherCountOnce(t *testing.T) {
	t.Parallel()
	var b breaker
	began := time.Now()
	for range 10 * tolerance {
		if b.failed(began) {
			t.Fatal("faults that began together: got an open breaker, want one fault")
		}
	}
	for range tolerance - 2 {
		if b.failed(time.Now()) {
			t.Fatal("too early: got an open breaker")
		}
	}
	if !b.failed(time.Now()) {
		t.Errorf("after %d faults one after the other: got a closed breaker, want it open", tolerance)
	}
}
