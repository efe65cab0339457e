package persisted

import (
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"

	"freshet/internal/operation"
)

// Unlisted counts operations that no active build has, and logs each once, so that an operator can learn what a safelist
// would refuse before there is one. Its zero value logs to slog.Default(). It is safe for concurrent use.
type Unlisted struct {
	Log *slog.Logger

	requests atomic.Int64
	mu       sync.Mutex
	seen     map[[32]byte]bool
}

const (
	mostUnlisted    = 1000 // operations told apart; what comes after is counted only
	longestInTheLog = 100
)

// Saw is told of a request for an operation that is not listed, and what the client calls itself. The operation's text is
// not logged: it may have a password among its literals.
func (u *Unlisted) Saw(ctx context.Context, op *operation.Operation, app, build string) {
	u.requests.Add(1)
	first, full := u.add(op.Hash)
	if !first {
		return
	}
	log := u.Log
	if log == nil {
		log = slog.Default()
	}
	log.WarnContext(ctx, "persisted: an operation is not in any active build",
		"hash", hex.EncodeToString(op.Hash[:]), "operation", cut(op.Name), "type", string(op.Type),
		"app", cut(app), "build", cut(build))
	if full {
		log.WarnContext(ctx, "persisted: no more unlisted operations are logged until the next start", "operations", mostUnlisted)
	}
}

func (u *Unlisted) add(hash [32]byte) (first, full bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen[hash] || len(u.seen) >= mostUnlisted {
		return false, false
	}
	if u.seen == nil {
		u.seen = make(map[[32]byte]bool)
	}
	u.seen[hash] = true
	return true, len(u.seen) == mostUnlisted
}

// Counts are the requests so far, and the operations told apart, 1,000 at most.
func (u *Unlisted) Counts() (requests int64, operations int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests.Load(), len(u.seen)
}

func cut(text string) string {
	if len(text) > longestInTheLog {
		return text[:longestInTheLog] + "…"
	}
	return text
}
