package cache

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

type pipeliner = redis.Pipeliner

// read is one call of Many on its way: found grows, left shrinks.
type read[K comparable, V any] struct {
	kind   *Kind[K, V]
	found  map[K]V
	left   []K
	names  map[K]string
	strict *strictness // nil: an ordinary read
	early  []K         // hits whose entries are to be refreshed
	notes  *notes
	why    *details // nil: nobody asks
	batch  Batch
}

func newRead[K comparable, V any](ctx context.Context, k *Kind[K, V], keys []K) *read[K, V] {
	r := &read[K, V]{
		kind:   k,
		notes:  notesOf(ctx),
		strict: strictnessOf(ctx),
		why:    detailsOf(ctx),
		found:  make(map[K]V, len(keys)),
		left:   make([]K, 0, len(keys)),
		names:  make(map[K]string, len(keys)),
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
	if r.strict != nil && (r.strict.source || r.kind.Tags == nil) {
		return r.around(ctx) // without tags, nothing proves that an entry has the writer's own change
	}
	if at := r.kind.cache.look(); at.granted || r.kind.Tags == nil {
		r.near(at)
	}
	if len(r.left) > 0 && r.strict != nil && r.strict.hurried.Load() {
		return r.around(ctx)
	}
	err := r.far(ctx)
	if err != nil && ctx.Err() == nil && r.strict == nil && r.rescue(ctx) {
		err = nil
	}
	if len(r.early) > 0 {
		r.kind.refresh(r.early, r.names)
	}
	return err
}

// near answers from this process's memory.
func (r *read[K, V]) near(at look) {
	left := r.left[:0]
	for _, key := range r.left {
		h, value, why := r.kind.near(r.names[key], at)
		if why != "" {
			left = append(left, key)
			if h != nil {
				r.why.miss(key, r.names[key], why, &h.entry, r.kind.cache.Freshness)
			}
			continue
		}
		r.batch.LocalHits++
		r.why.hit(key, r.names[key], "memory", &h.entry)
		r.hit(key, &h.entry, value, at)
	}
	r.left = left
}

func (r *read[K, V]) hit(key K, e *entry, value V, at look) {
	if !e.absent {
		r.found[key] = value
	}
	r.notes.entry(e)
	if r.kind.cache.due(e, at.now) {
		r.early = append(r.early, key)
		r.batch.Early++
	}
}

// far answers from Redis, then fetches what nobody in this process is fetching yet, then waits for what others fetch
// and looks again: their values themselves may be older than a write that was answered before this read began, what they
// stored is checked like any entry.
func (r *read[K, V]) far(ctx context.Context) error {
	const rounds = 4 // a key that is invalidated again and again is read from the source after that
	for round := 0; round < rounds && len(r.left) > 0 && r.reachable(round == 0); round++ {
		claimed, f := r.kind.flights.claim(r.left), newFetch(r.kind, r.names)
		f.awaited = claimed.own.awaited
		if !r.lookup(ctx, f, &claimed, round == 0) {
			r.abandon(f, claimed.mine)
			break
		}
		wanted := f.wanted()
		r.kind.flights.leave(claimed.mine, wanted)
		r.left = slices.Concat(wanted, claimed.theirs)
		if err := r.fetch(ctx, f, wanted); err != nil {
			return err // what was not fetched is still left
		}
		r.left = claimed.theirs
		if failed, err := r.await(ctx, claimed.waits); err != nil {
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

// await waits for flights, and reports whether one failed, or takes too long for a strict read.
func (r *read[K, V]) await(ctx context.Context, waits []*flight) (failed bool, err error) {
	if len(waits) == 0 {
		return false, nil
	}
	began := time.Now()
	defer func() { r.waited(r.left, time.Since(began)) }()
	if r.strict == nil {
		return await(ctx, waits)
	}
	bounded, cancel := context.WithTimeout(ctx, prompt)
	defer cancel()
	failed, err = await(bounded, waits)
	return failed || err != nil, ctx.Err()
}

// waited notes keys that others were loading.
func (r *read[K, V]) waited(keys []K, took time.Duration) {
	r.batch.Waited += len(keys)
	r.batch.WaitTook += took
	for _, key := range keys {
		r.why.wait(key, r.names[key])
	}
}

// reachable tells whether Redis may be asked, and notes why not.
func (r *read[K, V]) reachable(first bool) bool {
	why := unavailable
	if granted := r.kind.granted(); !granted {
		why = staleGrant
	} else if r.kind.cache.Available() {
		return true
	}
	r.unseen(why, first)
	return false
}

// unseen notes that Redis has told nothing of the keys left.
func (r *read[K, V]) unseen(why Reason, first bool) {
	if first {
		r.batch.miss(unavailable, len(r.left))
	}
	for _, key := range r.left {
		r.why.miss(key, r.names[key], why, nil, nil)
	}
}

// lookup takes what Redis has of the keys left, in one round trip. What it lacks of mine goes to f, with the locks that were
// had in the same trip; what it has of theirs is waited for no more. It is false if Redis can't be asked or trusted.
func (r *read[K, V]) lookup(ctx context.Context, f *fetch[K, V], c *claim[K], first bool) bool {
	forgets := r.kind.forgotten()
	sights := r.see(ctx, f.token, c.mine, c.theirs)
	if sights == nil {
		r.unseen(unavailable, first)
		f.todo = c.mine
		// A round trip that failed alone is no reason for everybody to go to the source: one of this process tries again.
		return r.strict == nil && r.kind.granted() && r.kind.cache.Available()
	}
	at := r.kind.cache.look()
	var left []K
	var waits []*flight
	for i, key := range slices.Concat(c.mine, c.theirs) {
		why := r.take(key, sights[i], forgets, at)
		if first {
			r.firstSight(key, why)
		}
		switch {
		case why == "":
		case i < len(c.mine):
			f.want(key, sights[i].lock)
		default:
			left, waits = append(left, key), append(waits, c.waits[i-len(c.mine)])
		}
	}
	c.theirs, c.waits = left, waits
	return true
}

// see is Cache.see, with a note of the round trip.
func (r *read[K, V]) see(ctx context.Context, token string, mine, theirs []K) []sight {
	r.batch.RoundTrips++
	began := time.Now()
	sights := r.kind.cache.see(ctx, token, namesOf(r.names, mine), namesOf(r.names, theirs))
	if r.why != nil {
		r.batch.Trips = append(r.batch.Trips, trip(began))
	}
	return sights
}

func (r *read[K, V]) firstSight(key K, why Reason) {
	if why != "" {
		r.batch.miss(why, 1)
		return
	}
	r.batch.Hits++
	r.why.forgive(r.names[key])
}

// abandon gives up keys that were claimed, and locks that a round trip which seemed to fail may have taken.
func (r *read[K, V]) abandon(f *fetch[K, V], mine []K) {
	if len(mine) == 0 {
		return
	}
	r.kind.flights.land(mine, true)
	f.giveBack(mine)
}

// take uses what was seen of a key, or says why it can't.
func (r *read[K, V]) take(key K, seen sight, forgets uint64, at look) Reason {
	if seen.why != "" {
		r.why.miss(key, r.names[key], seen.why, nil, nil)
		return seen.why
	}
	r.batch.Bytes += len(seen.raw)
	e, why := r.kind.open(r.names[key], seen.raw, at)
	var value V
	if why == "" {
		value, why = r.kind.decode(&e)
	}
	if why != "" {
		r.why.miss(key, r.names[key], why, &e, r.kind.cache.Freshness)
		return why
	}
	r.why.hit(key, r.names[key], "redis", &e)
	r.hit(key, &e, value, at)
	r.kind.keepLocal(r.names[key], e, value, len(seen.raw), forgets)
	return ""
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
	r.batch.Statements = append(r.batch.Statements, done.statements.all...)
	now := r.kind.cache.Now()
	r.keep(r.left, done.values, now.Add(min(r.kind.TTL, r.kind.AbsentTTL)-done.took), !done.granted)
	r.left = nil
	return nil
}

// keep takes values that were loaded, or that another has loaded meanwhile. The first of them expires at until; unproved
// says that some have no as-of.
func (r *read[K, V]) keep(keys []K, values map[K]V, until time.Time, unproved bool) {
	for _, key := range keys {
		value, found := values[key]
		if found {
			r.found[key] = value
		}
		if r.notes == nil && r.why == nil {
			continue
		}
		var tags []string
		if r.kind.Tags != nil {
			tags = r.kind.Tags(key, value, found)
		}
		r.notes.tags(tags)
		r.why.loaded(key, r.names[key], until, tags, found)
	}
	r.notes.expire(until)
	if unproved && r.kind.Tags != nil {
		r.notes.spoil()
	}
}

// fetch has keys, which this read has claimed, brought in on a goroutine of their own, so that others who wait for them
// get them even if ctx ends.
func (r *read[K, V]) fetch(ctx context.Context, f *fetch[K, V], keys []K) error {
	if len(keys) == 0 {
		return nil
	}
	start := time.Now()
	f.strict, f.explained, f.reader = r.strict != nil, r.why != nil, readerOf(ctx)
	done := make(chan error, 1)
	r.kind.cache.work.Go(func() {
		deepen(false)
		err := f.run()
		r.kind.flights.land(keys, err != nil)
		done <- err
	})
	err := r.arrive(ctx, f.loadedAll, done)
	if ctx.Err() != nil {
		return ctx.Err() // it goes on, and its fields are not settled
	}
	if r.batch.Loaded += f.loaded; f.loaded > 0 {
		r.batch.LoadTook += time.Since(start) - f.waitTook
	}
	r.waited(f.waited, f.waitTook)
	r.batch.RoundTrips += f.roundTrips
	r.batch.Statements = append(r.batch.Statements, f.statements...)
	r.batch.Trips = append(r.batch.Trips, f.trips...)
	if err != nil {
		return err
	}
	r.keep(keys, f.values, f.until, f.unproved)
	for key, e := range f.others {
		r.why.hit(key, r.names[key], "redis", &e)
	}
	return nil
}

// arrive waits until a fetch has everything. What is then stored is in nobody's way, but for a writer's: what it reads
// back goes through to Redis before it is answered, unless that takes longer than one should wait for Redis.
func (r *read[K, V]) arrive(ctx context.Context, loadedAll <-chan struct{}, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-loadedAll:
	}
	if r.strict == nil {
		return nil
	}
	budget := time.NewTimer(r.kind.cache.ReadBudget)
	defer budget.Stop()
	select {
	case err := <-done:
		return err
	case <-budget.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
