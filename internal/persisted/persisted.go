// Package persisted keeps the operations that builds of apps ship with, known by their ids.
//
// A Registry publishes them to PostgreSQL, by build; a Library holds those of active builds in an instance's memory,
// compiled, and counts their use. Automatic keeps the texts that clients register on their own, by hash.
package persisted

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"freshet/internal/operation"
)

// Options configure a Library. DB and Compiler are needed.
type Options struct {
	DB *bun.DB
	// Compiler is that of the schema that is served.
	Compiler *operation.Compiler
	// Poll is the time between looks at PostgreSQL, in case a notice of the change log got lost. Default 5 s.
	Poll time.Duration
	// Flush is the time between writes of what was counted. Default 10 s.
	Flush time.Duration
	// Log is told of reloads, and once of each operation that can't be served. Default: slog.Default().
	Log *slog.Logger
	// Now tells when an operation was seen. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Poll == 0 {
		o.Poll = 5 * time.Second
	}
	if o.Flush == 0 {
		o.Flush = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Library holds the operations of active builds. It is safe for concurrent use; looking up and counting never block and
// never allocate. Before Load it is empty.
type Library struct {
	Options
	shelf atomic.Pointer[shelf]
	wake  chan struct{} // has an element if something was changed since the last load began

	mu       sync.Mutex // held by loads and flushes
	doubtful bool       // the last load failed
	counters map[use]*atomic.Int64
}

// New makes an empty Library.
func New(o Options) *Library {
	l := &Library{Options: o.withDefaults(), wake: make(chan struct{}, 1), counters: make(map[use]*atomic.Int64)}
	l.shelf.Store(&shelf{})
	return l
}

// budget bounds a statement in the background, so that a connection that hangs does not end reloading for good.
const budget = 30 * time.Second

// Run loads again whenever the operations have changed, and writes what was counted, until ctx ends; then it writes once
// more. While PostgreSQL is away the Library stays as it is, and goes on counting.
func (l *Library) Run(ctx context.Context) {
	poll, flush := time.NewTicker(l.Poll), time.NewTicker(l.Flush)
	defer poll.Stop()
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			l.work(context.WithoutCancel(ctx), "write counts", l.flush)
			return
		case <-l.wake:
			l.work(ctx, "load", l.Load)
		case <-poll.C:
			l.work(ctx, "look for changes", l.look)
		case <-flush.C:
			l.work(ctx, "write counts", l.flush)
		}
	}
}

func (l *Library) work(ctx context.Context, what string, do func(context.Context) error) {
	bounded, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if err := do(bounded); err != nil && ctx.Err() == nil {
		l.Log.Warn("persisted: could not "+what, "error", err)
	}
}

// Changed takes the tags of changes that the change log has applied, and has Run load again if they concern persisted
// operations. It does not block.
func (l *Library) Changed(tags []string) {
	for _, tag := range tags {
		if tag == "*" || strings.HasPrefix(tag, "persisted_") {
			select {
			case l.wake <- struct{}{}:
			default: // a load that has not begun will see this change too
			}
			return
		}
	}
}

// look loads again if PostgreSQL holds something else than the shelf was made of, or if that is not known.
func (l *Library) look(ctx context.Context) error {
	edition, err := readEdition(ctx, l.DB)
	if err != nil {
		return err
	}
	l.mu.Lock()
	doubtful := l.doubtful
	l.mu.Unlock()
	if edition == l.shelf.Load().edition && !doubtful {
		return nil
	}
	return l.Load(ctx)
}
