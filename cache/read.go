package cache

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

type pipeliner = redis.Pipeliner

// read is one call of Many on its way: found grows, left shrinks.
type read[K comparable, V any] struct {
	kind  *Kind[K, V]
	found map[K]V
	left  []K
	names map[K]string
	early []K // hits whose entries are to be refreshed
	batch Batch
}

type strictKey struct{}

// Strict returns a context for reads that fail rather than be answered with what can't be proved fresh: what a writer
// reads back must not be older than its write.
func Strict(ctx context.Context) context.Context { return context.WithValue(ctx, strictKey{}, true) }

func newRead[K comparable, V any](k *Kind[K, V], keys []K) *read[K, V] {
	r := &read[K, V]{
		kind:  k,
		found: make(map[K]V, len(keys)),
		left:  make([]K, 0, len(keys)),
		names: make(map[K]string, len(keys)),
	}
	for _, key := range keys {
		if _, again := r.names[key]; !again {
			r.names[key] = k.name(key)
			r.left = append(r.left, key)
		}
	}
	r.batch = Batch{Kind: k.Name, Keys: len(r.left)}
	return r
}

func (r *read[K, V]) run(ctx context.Context) error {
	if r.kind.granted() {
		r.near()
	}
	err := r.far(ctx)
	if err != nil && ctx.Err() == nil && ctx.Value(strictKey{}) == nil && r.rescue(ctx) {
		err = nil
	}
	if len(r.early) > 0 {
		r.kind.refresh(r.early, r.names)
	}
	return err
}

// near answers from this process's memory.
func (r *read[K, V]) near() {
	left := r.left[:0]
	for _, key := range r.left {
		h, value, why := r.kind.near(r.names[key])
		if why != "" {
			left = append(left, key)
			continue
		}
		r.batch.LocalHits++
		r.hit(key, &h.entry, value)
	}
	r.left = left
}

func (r *read[K, V]) hit(key K, e *entry, value V) {
	if !e.absent {
		r.found[key] = value
	}
	if r.kind.due(e) {
		r.early = append(r.early, key)
		r.batch.Early++
	}
}

// far answers from Redis, then fetches what nobody in this process is fetching yet, then waits for what others fetch
// and looks again: their values themselves may be older than a write that was answered before this read began, what they
// stored is checked like any entry.
func (r *read[K, V]) far(ctx context.Context) error {
	const rounds = 4 // a key that is invalidated again and again is read from the source after that
	for round := range rounds {
		if len(r.left) == 0 {
			return nil
		}
		if !r.lookup(ctx, round == 0) {
			break
		}
		mine, theirs, waits := r.kind.claim(r.left)
		if len(mine) > 0 {
			if err := r.fetch(ctx, mine); err != nil {
				return err // what was not fetched is still left
			}
		}
		r.left = theirs
		if failed, err := await(ctx, waits); err != nil {
			return err
		} else if failed {
			break
		}
	}
	if len(r.left) == 0 {
		return nil
	}
	return r.around(ctx)
}

// lookup takes what Redis has of the keys left, in one round trip; false if Redis can't be asked or trusted.
func (r *read[K, V]) lookup(ctx context.Context, first bool) bool {
	forgets := r.kind.forgotten()
	replies, ok := r.get(ctx, r.kind.granted())
	if !ok {
		if first {
			r.batch.miss(unavailable, len(r.left))
		}
		// A round trip that failed alone is no reason for everybody to go to the source: one of this process tries again.
		return r.kind.granted() && r.kind.cache.Available()
	}
	left := r.left[:0]
	for i, key := range r.left {
		why := r.take(key, replies[i], forgets)
		switch {
		case why != "":
			left = append(left, key)
			if first {
				r.batch.miss(why, 1)
			}
		case first:
			r.batch.Hits++
		}
	}
	r.left = left
	return true
}

// get asks Redis for the keys left.
func (r *read[K, V]) get(ctx context.Context, allowed bool) ([]*redis.StringCmd, bool) {
	if !allowed || !r.kind.cache.Available() {
		return nil, false
	}
	left := r.left // which may be another when a round trip begins that this reader no longer waits for
	replies := make([]*redis.StringCmd, len(left))
	r.batch.RoundTrips++
	ok := r.kind.cache.pipe(ctx, r.kind.cache.ReadBudget, func(p pipeliner) {
		for i, key := range left {
			replies[i] = p.Get(ctx, r.names[key])
		}
	})
	return replies, ok
}

// take uses what Redis replied for a key, or says why it can't.
func (r *read[K, V]) take(key K, reply *redis.StringCmd, forgets uint64) Reason {
	raw, err := reply.Bytes()
	if err != nil {
		return absent
	}
	e, why := r.kind.open(r.names[key], raw)
	if why != "" {
		return why
	}
	value, why := r.kind.decode(&e)
	if why != "" {
		return why
	}
	r.hit(key, &e, value)
	r.kind.keepLocal(r.names[key], e, value, len(raw), forgets)
	return ""
}

// rescue answers what is left, now that the source has failed, from entries that have expired or can't be proved fresh
// any more. It reports whether it could for all of them.
func (r *read[K, V]) rescue(ctx context.Context) bool {
	left := r.left[:0]
	for _, key := range r.left {
		h, _, why := r.kind.near(r.names[key])
		if h == nil || !r.kind.rescuable(&h.entry, why) {
			left = append(left, key)
			continue
		}
		if !h.absent {
			r.found[key] = h.value.(V)
		}
		r.batch.Stale++
	}
	r.left = left
	if len(left) == 0 {
		return true
	}
	replies, ok := r.get(ctx, true)
	for i, key := range left {
		if !ok || !r.rescueOne(key, replies[i]) {
			return false
		}
	}
	return true
}

func (r *read[K, V]) rescueOne(key K, reply *redis.StringCmd) bool {
	raw, err := reply.Bytes()
	if err != nil {
		return false
	}
	e, why := r.kind.open(r.names[key], raw)
	if !r.kind.rescuable(&e, why) {
		return false
	}
	value, why := r.kind.decode(&e)
	if why != "" {
		return false
	}
	if !e.absent {
		r.found[key] = value
	}
	r.batch.Stale++
	return true
}

// around reads what is left from the source and leaves Redis alone.
func (r *read[K, V]) around(ctx context.Context) error {
	start := time.Now()
	done, own, err := r.kind.loads.do(ctx, r.left)
	r.batch.Loaded += own
	r.batch.LoadTook += time.Since(start)
	if err != nil {
		return err
	}
	r.keep(r.left, done.values)
	r.left = nil
	return nil
}

func (r *read[K, V]) keep(keys []K, values map[K]V) {
	for _, key := range keys {
		if value, found := values[key]; found {
			r.found[key] = value
		}
	}
}

// fetch has keys, which this read has claimed, brought in on a goroutine of their own, so that others who wait for them
// get them even if ctx ends.
func (r *read[K, V]) fetch(ctx context.Context, keys []K) error {
	start := time.Now()
	f := newFetch(r.kind, keys, r.names)
	done := make(chan struct{})
	r.kind.cache.work.Go(func() {
		defer close(done)
		f.err = f.run()
		r.kind.land(keys, f.err != nil)
	})
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.batch.Loaded += f.loaded
	r.batch.LoadTook += time.Since(start)
	r.batch.RoundTrips += f.roundTrips
	if f.err != nil {
		return f.err
	}
	r.keep(keys, f.values)
	return nil
}

// flight is a fetch that others may wait for.
type flight struct {
	done   chan struct{}
	failed bool
}

// claim divides keys into those that the caller must now fetch, and those that a fetch is under way for.
func (k *Kind[K, V]) claim(keys []K) (mine, theirs []K, waits []*flight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	own := &flight{done: make(chan struct{})}
	for _, key := range keys {
		if other := k.flights[key]; other != nil && other != own {
			theirs, waits = append(theirs, key), append(waits, other)
			continue
		}
		k.flights[key] = own
		mine = append(mine, key)
	}
	return mine, theirs, waits
}

// land ends the flight of keys that were claimed together.
func (k *Kind[K, V]) land(keys []K, failed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	own := k.flights[keys[0]]
	for _, key := range keys {
		delete(k.flights, key)
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

// refresh has entries that are about to expire loaded again in the background, by whichever process gets their locks.
// Until then the old ones are served: they are fresh by the log.
func (k *Kind[K, V]) refresh(keys []K, names map[K]string) {
	mine, _, _ := k.claim(keys)
	if len(mine) == 0 {
		return
	}
	f := newFetch(k, mine, names)
	f.early = true
	k.cache.work.Go(func() {
		err := f.run()
		k.land(mine, err != nil)
		for _, key := range mine {
			k.cache.dropLocal(names[key]) // or the old entry would be due again and again
		}
	})
}
