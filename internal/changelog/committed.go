package changelog

import (
	"context"
	"fmt"
	"time"

	"freshet/cache"
)

// Committed waits until no instance can serve what the caller's transaction has replaced. Call it after COMMIT has
// returned, and before the answer is read back and given. It takes about as long as a move of the outbox and two messages
// through Redis, and in any fault at most the life of a grant; what is then read back under a Strict ctx goes straight to
// the source, since the answer is late already. The error is that of ctx: the change is committed, and
// others may still see the state before it for the rest of that time.
func (n *Node) Committed(ctx context.Context) error {
	n.waited.Add(1)
	// A grant that does not cover the change was asked for before COMMIT, so after this time none lives.
	deadline := time.NewTimer(n.patience())
	defer deadline.Stop()
	w := writer{ask: n.tail.nudged()}
	for {
		done, news := n.tail.covers(&w)
		if done {
			return nil
		}
		select {
		case <-news:
		case <-deadline.C:
			n.lapsed.Add(1)
			cache.Hurry(ctx)
			return nil
		case <-ctx.Done():
			return fmt.Errorf("changelog: wait for the instances to see a change: %w", ctx.Err())
		}
	}
}

// writer waits first for the answer to its ask, which says where in the log its change is at the latest, then for that
// position to be settled.
type writer struct {
	ask uint64
	at  cache.Position // zero before the answer
}

// nudged makes the next ask a nudge, and returns its number: that ask is composed after this call.
func (t *tail) nudged() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nudge = true
	t.send1()
	return t.asked + 1
}

// covers reports whether a writer need wait no longer, or else when to look again.
func (t *tail) covers(w *writer) (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.at == (cache.Position{}) && t.answered >= w.ask {
		w.at = t.drained
	}
	known := w.at != cache.Position{}
	return known && t.settled.Epoch == w.at.Epoch && t.settled.At >= w.at.At, t.news
}
