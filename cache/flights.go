package cache

import (
	"context"
	"sync"
)

// flight is work on a key that others may wait for.
type flight struct {
	awaited chan struct{} // closed once another waits
	done    chan struct{}
	failed  bool // settled once done is closed
}

// flights are those under way in this process. The zero value has none.
type flights[K comparable] struct {
	mu  sync.Mutex
	all map[K]*flight
}

// claim are keys divided into those that the caller must now work on, until it lands them, and those that a flight is under
// way for, one of waits for each of theirs.
type claim[K comparable] struct {
	mine, theirs []K
	own          *flight // of mine
	waits        []*flight
}

func (f *flights[K]) claim(keys []K) (c claim[K]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = make(map[K]*flight)
	}
	c.own = &flight{awaited: make(chan struct{}), done: make(chan struct{})}
	for _, key := range keys {
		if other := f.all[key]; other != nil && other != c.own {
			c.theirs, c.waits = append(c.theirs, key), append(c.waits, other)
			other.joined()
			continue
		}
		f.all[key] = c.own
		c.mine = append(c.mine, key)
	}
	return c
}

// joined notes, under the lock of its flights, that another waits.
func (f *flight) joined() {
	select {
	case <-f.awaited:
	default:
		close(f.awaited)
	}
}

// leave gives up those of the keys that were claimed together which are not wanted any more, and ends their flight if none is.
func (f *flights[K]) leave(claimed, wanted []K) {
	if len(claimed) == len(wanted) {
		return
	}
	if len(wanted) == 0 {
		f.land(claimed, false)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	own := f.all[wanted[0]]
	for _, key := range claimed {
		delete(f.all, key)
	}
	for _, key := range wanted {
		f.all[key] = own
	}
}

// land ends the flight of keys that were claimed together.
func (f *flights[K]) land(keys []K, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := f.all[keys[0]]
	for _, key := range keys {
		delete(f.all, key)
	}
	own.failed = failed
	close(own.done)
}

// await waits for flights to end and reports whether one failed.
func await(ctx context.Context, waits []*flight) (failed bool, err error) {
	for _, other := range waits {
		select {
		case <-other.done:
			failed = failed || other.failed
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return failed, nil
}
