package cache

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// A crowd that comes while all lanes are busy makes one round trip together.
func TestConveyor_CrowdTravelsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const crowd = 300
		release := make(chan struct{})
		var mu sync.Mutex
		var trips []int // callers of each
		v := conveyor{budget: time.Second, send: func(queues []queue, _ time.Duration) bool {
			mu.Lock()
			trips = append(trips, len(queues))
			mu.Unlock()
			<-release
			return true
		}}
		call := func() {
			if !v.carry(func(redis.Pipeliner) {}) {
				t.Error("carried: got false, want true")
			}
		}
		var callers sync.WaitGroup
		for range lanes {
			callers.Go(call)
		}
		synctest.Wait()
		for range crowd {
			callers.Go(call)
		}
		synctest.Wait()
		close(release)
		callers.Wait()
		if len(trips) != lanes+1 || trips[lanes] != crowd {
			t.Errorf("callers of each trip: got %v, want %d of one and one of %d", trips, lanes, crowd)
		}
		if v.running != 0 || v.next != nil {
			t.Errorf("afterwards: got %d lanes busy and some waiting: %t, want none", v.running, v.next != nil)
		}
	})
}

// Faults of round trips that were under way together count once: a pause of this process fails them all.
func TestBreaker_FaultsTogetherCountOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		failed := func() bool {
			time.Sleep(time.Nanosecond)
			return b.failed(time.Now())
		}
		began := time.Now()
		time.Sleep(time.Second)
		for range 10 * tolerance {
			if b.failed(began) {
				t.Fatal("faults that began together: got an open breaker, want one fault")
			}
		}
		for range tolerance - 2 {
			if failed() {
				t.Fatal("too early: got an open breaker")
			}
		}
		if !failed() {
			t.Errorf("after %d faults one after the other: got a closed breaker, want it open", tolerance)
		}
	})
}
