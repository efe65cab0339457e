package cache

import (
	"context"
	"sync/atomic"
	"time"
)

type strictKey struct{}

// strictness is that of the reads of one writer.
type strictness struct {
	hurried atomic.Bool
	source  bool // alone
}

// Strict returns a context for reads that fail rather than be answered with what can't be proved fresh, such as what a
// writer reads back: that must not be older than the write. What promises its TTL alone comes from the source. The writer
// has waited for the caches already, so a strict read waits little for others: those who load what it needs may have died.
func Strict(ctx context.Context) context.Context {
	return context.WithValue(ctx, strictKey{}, new(strictness))
}

// Hurry has the reads under a Strict context leave Redis alone: their writer has waited for as long as an answer may take.
// Under another context it does nothing.
func Hurry(ctx context.Context) {
	if s := strictnessOf(ctx); s != nil {
		s.hurried.Store(true)
	}
}

// Bypass returns a context for reads that come from the source alone and leave nothing in the caches, such as what cached
// answers are compared with.
func Bypass(ctx context.Context) context.Context {
	return context.WithValue(ctx, strictKey{}, &strictness{source: true})
}

func strictnessOf(ctx context.Context) *strictness {
	s, _ := ctx.Value(strictKey{}).(*strictness)
	return s
}

// prompt is how long such reads wait for what another loads.
const prompt = 50 * time.Millisecond
