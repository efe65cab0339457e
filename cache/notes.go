package cache

import (
	"context"
	"sync"
	"time"
)

// notes are what a result depends on that is made of several reads: the tags of all, and when the first of them expires.
// Reads with a context that has notes add to them; the methods of nil do nothing.
type notes struct {
	reader <-chan struct{} // closed when nobody waits for the result any more

	mu      sync.Mutex
	all     map[string]struct{}
	until   time.Time // zero before the first read
	spoiled bool      // the result must not be kept
}

type notesKey struct{}

// withNotes returns a context for reads that goes on when ctx ends.
func withNotes(ctx context.Context) (context.Context, *notes) {
	n := &notes{reader: ctx.Done(), all: make(map[string]struct{})}
	return context.WithValue(context.WithoutCancel(ctx), notesKey{}, n), n
}

func notesOf(ctx context.Context) *notes {
	n, _ := ctx.Value(notesKey{}).(*notes)
	return n
}

// readerOf is closed when what is read under ctx has reached whoever asked, or is not wanted any more.
func readerOf(ctx context.Context) <-chan struct{} {
	if n := notesOf(ctx); n != nil {
		return n.reader
	}
	return ctx.Done()
}

// Restrict lets the result that is being made live for maxAge at most, counted from now; 0 keeps it out of every cache.
// Resolvers call it whose values have an end of their own. Outside of a result's making it does nothing.
func Restrict(ctx context.Context, maxAge time.Duration) {
	n := notesOf(ctx)
	if maxAge <= 0 {
		n.spoil()
		return
	}
	n.expire(time.Now().Add(maxAge))
}

func (n *notes) entry(e *entry) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for tag := range e.tags.all() {
		if _, known := n.all[string(tag)]; !known {
			n.all[string(tag)] = struct{}{}
		}
	}
	n.until = earlier(n.until, e.expires)
}

func (n *notes) tags(tags []string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, tag := range tags {
		n.all[tag] = struct{}{}
	}
}

func (n *notes) expire(until time.Time) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until = earlier(n.until, until)
}

func (n *notes) spoil() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spoiled = true
}

// earlier takes a zero time for none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
