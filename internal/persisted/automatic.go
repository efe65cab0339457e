package persisted

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"

	"freshet/internal/manifest"
)

// AutomaticOptions configure an Automatic. Only Redis has no default.
type AutomaticOptions struct {
	// Redis holds the texts. Its client must have ContextTimeoutEnabled, or the budget below is not kept.
	Redis redis.UniversalClient
	// Service begins every key. Default "freshet".
	Service string
	// Available tells whether Redis is worth a try, such as cache.Cache.Available, which knows when it is out of use.
	// Default: always.
	Available func() bool
	// Budget bounds each round trip. Default 50 ms.
	Budget time.Duration
	// LocalBytes bounds the texts in this process's memory, roughly. Default 8 MiB.
	LocalBytes int
	// BurstBytes and BytesPerSecond bound the texts that this process registers, so that a client that makes up texts does
	// not fill Redis. What is over them is executed and not kept. Default 4 MiB, and 64 KiB each second.
	BurstBytes, BytesPerSecond int
	// Log is told of texts that are not what their key says. Default: slog.Default().
	Log *slog.Logger
	// Now tells when a text is due for renewal. Default time.Now.
	Now func() time.Time
}

const (
	// LongestAutomatic is the length of a text in bytes up to which it is kept.
	LongestAutomatic = 32 << 10
	// automaticTTL is how long a text stays after it was last used; renewals are automaticRenewal apart at least.
	automaticTTL     = 7 * 24 * time.Hour
	automaticRenewal = 24 * time.Hour
	automaticRetry   = time.Minute
)

// Automatic keeps the texts of automatic persisted queries (APQ), by their SHA-256: in this process's memory, and in Redis
// for all instances, for a week after the last use. It is safe for concurrent use.
type Automatic struct {
	o     AutomaticOptions
	local *otter.Cache[string, *registered]

	mu     sync.Mutex // of the allowance
	left   float64    // bytes that may be registered now
	leftAt time.Time
}

// registered is a text in memory.
type registered struct {
	text    string
	renewed atomic.Int64 // Unix s, at the latest
}

// NewAutomatic makes an Automatic. It does not connect. The caller closes it.
func NewAutomatic(o AutomaticOptions) *Automatic {
	if o.Service == "" {
		o.Service = "freshet"
	}
	if o.Available == nil {
		o.Available = func() bool { return true }
	}
	if o.Budget == 0 {
		o.Budget = 50 * time.Millisecond
	}
	if o.LocalBytes == 0 {
		o.LocalBytes = 8 << 20
	}
	if o.BurstBytes == 0 {
		o.BurstBytes = 4 << 20
	}
	if o.BytesPerSecond == 0 {
		o.BytesPerSecond = 64 << 10
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	const overhead = 200 // of an entry, beside its texts
	return &Automatic{o: o, left: float64(o.BurstBytes), leftAt: o.Now(), local: otter.Must(&otter.Options[string, *registered]{
		MaximumWeight: uint64(o.LocalBytes),
		Weigher:       func(hash string, r *registered) uint32 { return uint32(len(hash) + len(r.text) + overhead) },
	})}
}

// Close ends what runs in the background.
func (a *Automatic) Close() { a.local.StopAllGoroutines() }

// AutomaticHash is the form of a hash by which texts are kept: lower-case hexadecimal without urql's prefix "sha256:".
// It is false for what is no SHA-256.
func AutomaticHash(hash string) (string, bool) {
	hash = manifest.NormalID(hash)
	return hash, manifest.IsSHA256(hash)
}

// Get finds the text that has this hash. An error is a miss too: Redis could not be asked within the budget. Hash is as
// AutomaticHash returns it, and anything else a miss.
func (a *Automatic) Get(ctx context.Context, hash string) (text string, found bool, err error) {
	if r, ok := a.local.GetIfPresent(hash); ok {
		err := a.renew(ctx, hash, r)
		return r.text, true, err
	}
	if normal, ok := AutomaticHash(hash); !ok || normal != hash || !a.o.Available() {
		return "", false, nil
	}
	bounded, cancel := context.WithTimeout(ctx, a.o.Budget)
	defer cancel()
	pipe := a.o.Redis.Pipeline()
	value, ttl := pipe.Get(bounded, a.key(hash)), pipe.PTTL(bounded, a.key(hash))
	_, err = pipe.Exec(bounded)
	if errors.Is(value.Err(), redis.Nil) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("persisted: read APQ %s: %w", hash, err)
	}
	// Whoever can write to Redis must not be able to put another operation in the place of a known one.
	if text = value.Val(); len(text) > LongestAutomatic || sha256Hex(text) != hash {
		a.o.Log.Warn("persisted: a text in Redis is not the one that its key says", "key", a.key(hash))
		return "", false, nil
	}
	r := &registered{text: text}
	r.renewed.Store(a.o.Now().Add(ttl.Val() - automaticTTL).Unix())
	a.local.Set(hash, r)
	return text, true, a.renew(ctx, hash, r)
}

// Put keeps a text that was found valid. It does nothing if the text is too long, is not the hash's, or is over what this
// process may register now.
func (a *Automatic) Put(ctx context.Context, hash, text string) error {
	if len(text) > LongestAutomatic || sha256Hex(text) != hash {
		return nil
	}
	if r, ok := a.local.GetIfPresent(hash); ok {
		return a.renew(ctx, hash, r)
	}
	if !a.allowed(len(text)) {
		return nil
	}
	r := &registered{text: strings.Clone(text)} // the text may be a part of a large request
	a.local.Set(hash, r)
	return a.renew(ctx, hash, r)
}

// renew writes the text to Redis if that was not done lately: Redis may have lost it, or its time may be running out. One
// user at a time does it, and after a fault none for a while.
func (a *Automatic) renew(ctx context.Context, hash string, r *registered) error {
	now, last := a.o.Now(), r.renewed.Load()
	if now.Sub(time.Unix(last, 0)) < automaticRenewal || !a.o.Available() || !r.renewed.CompareAndSwap(last, now.Unix()) {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, a.o.Budget)
	defer cancel()
	if err := a.o.Redis.Set(bounded, a.key(hash), r.text, automaticTTL).Err(); err != nil {
		r.renewed.Store(now.Add(automaticRetry - automaticRenewal).Unix())
		return fmt.Errorf("persisted: write APQ %s: %w", hash, err)
	}
	return nil
}

// allowed takes bytes from the allowance, which grows with time up to the burst.
func (a *Automatic) allowed(bytes int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Now()
	a.left = min(float64(a.o.BurstBytes), a.left+now.Sub(a.leftAt).Seconds()*float64(a.o.BytesPerSecond))
	a.leftAt = now
	if a.left < float64(bytes) {
		return false
	}
	a.left -= float64(bytes)
	return true
}

func (a *Automatic) key(hash string) string { return a.o.Service + ":apq:" + hash }
