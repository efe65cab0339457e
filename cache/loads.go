package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// loads reads keys from the source under a limit. While the limit is reached, callers gather in batches that have not
// begun; who comes while a batch runs never joins it. Joining a running load is what breaks freshness:
//
//	A: load of k begins, reads the old row
//	W: commits k, answers
//	B: reads k, after the answer; joined to A's load it would get the old row
type loads[K comparable, V any] struct {
	read  func(context.Context, []K) (map[K]V, error)
	begin func() (Position, bool) // samples the as-of before a read begins
	ctx   context.Context
	work  *sync.WaitGroup

	limit   int           // loads at a time
	most    int           // keys a load
	timeout time.Duration // of one load

	mu      sync.Mutex
	running int
	queue   []*load[K, V] // not begun; the last one takes more keys
}

// load is one read of several keys. Its fields are settled once done is closed.
type load[K comparable, V any] struct {
	keys    map[K]struct{}
	callers int
	done    chan struct{}

	explained  bool
	statements statements

	values  map[K]V
	asOf    Position
	granted bool // asOf may be used
	took    time.Duration
	err     error
}

// panicError is a loader's panic. It fails the caller whose load it was, alone.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("loader panicked: %v\n%s", p.value, p.stack) }

// do reads the keys, perhaps together with those of others, in a load that begins after this call, and returns how many
// of them nobody else had asked that load for. The load goes on for the others if ctx ends.
func (l *loads[K, V]) do(ctx context.Context, keys []K) (batch *load[K, V], own int, err error) {
	batch, own, free := l.join(keys, explains(ctx))
	switch {
	case free && ctx.Done() == l.ctx.Done(): // a caller that may wait as long as the load itself
		l.runNext()
	case free:
		l.work.Go(l.drain)
	}
	batch, err = l.wait(ctx, batch)
	var panicked *panicError
	if errors.As(err, &panicked) && batch.callers > 1 && ctx.Err() == nil {
		// Whose key it was cannot be told: each caller finds out with its own keys.
		alone := l.newLoad()
		alone.add(keys)
		l.run(alone)
		return alone, len(keys), alone.err
	}
	return batch, own, err
}

func (l *loads[K, V]) wait(ctx context.Context, batch *load[K, V]) (*load[K, V], error) {
	select {
	case <-batch.done:
		return batch, batch.err
	case <-ctx.Done():
		return batch, ctx.Err()
	}
}

// join adds keys to a load that has not begun; free says that the caller must have it begun.
func (l *loads[K, V]) join(keys []K, explained bool) (batch *load[K, V], own int, free bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.queue); n == 0 || len(l.queue[n-1].keys)+len(keys) > l.most {
		l.queue = append(l.queue, l.newLoad())
	}
	batch = l.queue[len(l.queue)-1]
	own = batch.add(keys)
	batch.explained = batch.explained || explained
	if free = l.running < l.limit; free {
		l.running++
	}
	return batch, own, free
}

func (l *loads[K, V]) newLoad() *load[K, V] {
	return &load[K, V]{keys: make(map[K]struct{}), done: make(chan struct{})}
}

func (b *load[K, V]) add(keys []K) (own int) {
	before := len(b.keys)
	b.callers++
	for _, key := range keys {
		b.keys[key] = struct{}{}
	}
	return len(b.keys) - before
}

// drain runs what is queued, one load after the other, until nothing is.
func (l *loads[K, V]) drain() {
	for batch := l.next(); batch != nil; batch = l.next() {
		l.run(batch)
	}
}

// runNext runs one load, and leaves what is queued by then to a goroutine.
func (l *loads[K, V]) runNext() {
	batch := l.next()
	if batch == nil {
		return
	}
	l.run(batch)
	if batch = l.next(); batch != nil {
		l.work.Go(func() {
			l.run(batch)
			l.drain()
		})
	}
}

// next is what is to be run now; nil ends the caller's turn.
func (l *loads[K, V]) next() *load[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.running--
		return nil
	}
	batch := l.queue[0]
	l.queue = l.queue[1:]
	return batch
}

func (l *loads[K, V]) run(b *load[K, V]) {
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	defer close(b.done)
	defer func() {
		if value := recover(); value != nil {
			b.err = &panicError{value, debug.Stack()}
		}
	}()
	keys := make([]K, 0, len(b.keys))
	for key := range b.keys {
		keys = append(keys, key)
	}
	if b.explained {
		ctx = context.WithValue(ctx, statementsKey{}, &b.statements)
	}
	b.asOf, b.granted = l.begin()
	start := time.Now()
	b.values, b.err = l.read(ctx, keys)
	b.took = time.Since(start)
}

// deepen makes room on the stack of a new goroutine for a load: a database driver goes deep, and a stack that grows by doubling
// is copied each time. After CockroachDB's growStack.
//
//go:noinline
func deepen(never bool) {
	if never { // or the room would be cleared
		var room [12 << 10]byte
		runtime.KeepAlive(&room)
	}
}
