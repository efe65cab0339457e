package cache

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
)

// ResultsOptions says how finished results are named and kept. Name has no default.
type ResultsOptions struct {
	// Name is the entity in keys and in metrics.
	Name string
	// Version tells releases apart whose results differ for the same key: those of another are misses.
	Version string
	// LocalBytes bounds the tier in this process's memory, roughly. Default 64 MiB; negative: none.
	LocalBytes int64
	// MaxBytes is the largest result that is kept. Default 512 KiB.
	MaxBytes int
	// Open reads a stored body, once for each time that it comes from Redis or is made; false makes it a miss. What it
	// returns is the Value of the Result, and may refer to body. Default: the body itself.
	Open func(body []byte) (value any, ok bool)
}

// Results keeps finished results: bytes made of values of any number of kinds, and sent as they are stored. A result
// depends on all that was read while it was made, and expires with the first part of it. It is safe for concurrent use
// and lives as long as its Cache.
type Results struct {
	ResultsOptions
	cache   *Cache
	shape   uint64
	local   *otter.Cache[string, *Result] // nil: none
	flights flights[string]
}

// Result is a finished result. It is shared: nobody may change it.
type Result struct {
	entry
	// Value is what ResultsOptions.Open made of the body.
	Value  any
	hashes []uint64
	proved atomic.Uint64
	// Local tells that it came from this process's memory.
	Local bool
	// Early asks the reader to have it made anew in the background, with Refresh: it will expire soon.
	Early bool
}

// Filled is when it was made.
func (r *Result) Filled() time.Time { return r.filled }

// Expires is when it ends, at the latest.
func (r *Result) Expires() time.Time { return r.expires }

// Tags are the names of the changes that make it stale.
func (r *Result) Tags() []string {
	var tags []string
	for tag := range r.tags.all() {
		tags = append(tags, string(tag))
	}
	return tags
}

// NewResults adds results to a cache.
func NewResults(c *Cache, o ResultsOptions) *Results {
	if o.LocalBytes == 0 {
		o.LocalBytes = 64 << 20
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 512 << 10
	}
	if o.Open == nil {
		o.Open = func(body []byte) (any, bool) { return body, true }
	}
	r := &Results{ResultsOptions: o, cache: c, shape: xxhash.Sum64String("result " + o.Name + " " + o.Version)}
	if o.LocalBytes > 0 {
		r.local = otter.Must(&otter.Options[string, *Result]{
			MaximumWeight: uint64(o.LocalBytes),
			Weigher:       func(key string, one *Result) uint32 { return uint32(len(key) + one.size()) },
		})
	}
	c.results = append(c.results, r)
	return r
}

func (r *Result) size() int { return len(r.payload) + len(r.tags) + 8*len(r.hashes) + overhead }

// Get returns the result of a key if one is kept that nothing has changed since. It asks Redis at most once. A key is the
// caller's whole secret: two results that may not be mixed up have different keys.
func (r *Results) Get(ctx context.Context, key string) (*Result, bool) {
	b := Batch{Kind: r.Name, Keys: 1}
	at := r.cache.look()
	found, why := r.find(ctx, r.name(key), &b, at)
	switch {
	case why != "":
		b.miss(why, 1)
	case found.Local:
		b.LocalHits = 1
	default:
		b.Hits = 1
	}
	if why == "" && found.Early {
		b.Early = 1
	}
	if explains(ctx) {
		b.Details = []Detail{r.explain(ctx, key, found, why)}
	}
	b.Took = r.cache.Now().Sub(at.now)
	r.cache.Observer.Observe(ctx, b)
	return found, why == ""
}

func (r *Results) find(ctx context.Context, name string, b *Batch, at look) (*Result, Reason) {
	if !at.granted {
		return nil, staleGrant
	}
	found, near := r.near(name, at)
	if near == "" {
		return found, ""
	}
	var reply *redis.StringCmd
	b.RoundTrips++
	began := time.Now()
	ok := r.cache.pipe(ctx, &r.cache.looks, func(p pipeliner) { reply = p.Get(ctx, name) })
	if explains(ctx) {
		b.Trips = append(b.Trips, trip(began))
	}
	if !ok {
		return nil, unavailable
	}
	raw, why := stored(reply)
	if why == absent {
		return nil, near // Redis drops what has expired, this process's memory may still tell
	}
	if why != "" {
		return nil, why
	}
	b.Bytes += len(raw)
	return r.open(name, raw, at)
}

// explain says what Get found. For one that was stale it looks once more, which others need not pay for.
func (r *Results) explain(ctx context.Context, key string, found *Result, why Reason) Detail {
	d := Detail{Key: key, Name: r.name(key), Miss: why}
	switch {
	case why == "" && found.Local:
		d.answered("memory", &found.entry)
	case why == "":
		d.answered("redis", &found.entry)
	case why == staleTag:
		if e, ok := r.lookup(ctx, d.Name); ok {
			d.Tag, d.Changed = r.cache.Freshness.culprit(e.asOf, e.tags)
		}
	}
	return d
}

// lookup is the entry under name, whatever its state.
func (r *Results) lookup(ctx context.Context, name string) (entry, bool) {
	if raw, err := r.cache.Redis.Get(ctx, name).Bytes(); err == nil {
		return parseEntry(name, raw)
	}
	if r.local == nil {
		return entry{}, false
	}
	found, ok := r.local.GetIfPresent(name)
	if !ok {
		return entry{}, false
	}
	return found.entry, true
}

func (r *Results) name(key string) string { return r.cache.Service + ":" + r.Name + ":" + key }

func (r *Results) near(name string, at look) (*Result, Reason) {
	if r.local == nil {
		return nil, absent
	}
	found, ok := r.local.GetIfPresent(name)
	if !ok {
		return nil, absent
	}
	if why := at.check(&found.entry, found.hashes, &found.proved); why != "" {
		return nil, why
	}
	if r.cache.due(&found.entry, at.now) {
		return &Result{entry: found.entry, Value: found.Value, Local: true, Early: true}, "" // found itself is others' too
	}
	return found, ""
}

// open reads what Redis has under name, and keeps it in memory.
func (r *Results) open(name string, raw []byte, at look) (*Result, Reason) {
	e, ok := parseEntry(name, raw)
	if !ok || e.shape != r.shape {
		return nil, foreign
	}
	e.expires = e.ends(at.now)
	var buffer [256]uint64
	hashes := r.cache.Freshness.hashes(e.tags, buffer[:0])
	if why := at.check(&e, hashes, nil); why != "" {
		return nil, why
	}
	value, ok := r.Open(e.payload)
	if !ok {
		return nil, foreign
	}
	if r.local != nil {
		r.local.Set(name, &Result{entry: e, Value: value, hashes: slices.Clone(hashes), Local: true})
	}
	return &Result{entry: e, Value: value, Early: r.cache.due(&e, at.now)}, ""
}

// maker makes a result and returns its bytes, and how long it may be kept at most; 0 keeps it from being stored. Reads
// under ctx are what the result depends on, so it must read everything under ctx.
type maker = func(ctx context.Context) (body []byte, maxAge time.Duration)

// Do has the result of a key made that Get has missed. Of those in this process who ask for it at the same time one makes
// it; the others get what was kept, and make their own if it was not, or if it is stale to them by then. Ran tells that
// this caller's own function ran: kept is then nil if its result may not be kept. If neither ran nor kept, ctx has ended.
// A making goes on when ctx ends.
func (r *Results) Do(ctx context.Context, key string, make maker) (kept *Result, ran bool) {
	name := r.name(key)
	claimed := r.flights.claim([]string{name})
	if mine := claimed.mine; len(mine) > 0 {
		if found, why := r.near(name, r.cache.look()); why == "" { // another has landed since Get
			r.flights.land(mine, false)
			return found, false
		}
		return r.fly(ctx, mine, make), true
	}
	failed, err := await(ctx, claimed.waits)
	if err != nil {
		return nil, false
	}
	if !failed {
		var b Batch
		if found, why := r.find(ctx, name, &b, r.cache.look()); why == "" {
			return found, false
		}
	}
	return r.run(ctx, name, make), true
}

// Refresh makes a result anew, for an Early one, unless that is being done already.
func (r *Results) Refresh(ctx context.Context, key string, make maker) {
	if mine := r.flights.claim([]string{r.name(key)}).mine; len(mine) > 0 {
		r.fly(ctx, mine, make)
	}
}

// fly makes the result that was claimed, and lands also if that panics.
func (r *Results) fly(ctx context.Context, mine []string, make maker) (kept *Result) {
	defer func() { r.flights.land(mine, kept == nil) }()
	return r.run(ctx, mine[0], make)
}

// run makes a result and keeps it if it may be kept. The as-of is sampled before anything is read.
func (r *Results) run(ctx context.Context, name string, make maker) (kept *Result) {
	asOf, granted := r.cache.Freshness.AsOf()
	ctx, n := withNotes(ctx)
	start := r.cache.Now()
	body, maxAge := make(ctx)
	if !granted || maxAge <= 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := r.cache.Now()
	maxAge -= time.Duration(rand.Float64() * float64(maxAge) / 10)
	e := entry{
		shape: r.shape, asOf: asOf, filled: now, expires: earlier(start.Add(maxAge), n.until), load: now.Sub(start),
		payload: body,
	}
	if n.spoiled || len(n.all) > maxTags {
		return nil
	}
	e.tags = n.packed()
	return r.keep(name, e, e.expires.Sub(now), n.reader)
}

// keep stores in memory now, and in Redis when the result has left for its reader.
func (r *Results) keep(name string, e entry, ttl time.Duration, reader <-chan struct{}) *Result {
	value, ok := r.Open(e.payload)
	if !ok || len(e.payload) > r.MaxBytes || ttl <= 0 {
		return nil
	}
	if r.local != nil {
		r.local.Set(name, &Result{entry: e, Value: value, hashes: r.cache.Freshness.hashes(e.tags, nil), Local: true})
	}
	r.cache.work.Go(func() { // Close waits for it: it was said to be kept
		r.cache.linger(reader, nil)
		raw := e.append(nil, name)
		r.cache.Observer.Stored(r.Name, len(raw))
		ctx := context.WithoutCancel(r.cache.ctx)
		r.cache.pipe(ctx, &r.cache.stores, func(p pipeliner) { p.Set(ctx, name, raw, ttl) })
	})
	return &Result{entry: e, Value: value}
}

// packed are all tags in one order, so that those of a type stand together.
func (n *notes) packed() packed {
	tags := make([]string, 0, len(n.all))
	for tag := range n.all {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return pack(tags)
}

// Derive keeps another form of a result under a key of its own: it is as fresh, and ends when the original does. It is
// returned also where it can't be kept, as when it is too large; nil is what Open refuses.
func (r *Results) Derive(one *Result, key string, body []byte) *Result {
	e := one.entry
	e.payload = body
	if kept := r.keep(r.name(key), e, e.expires.Sub(r.cache.Now()), nil); kept != nil {
		return kept
	}
	value, ok := r.Open(body)
	if !ok {
		return nil
	}
	return &Result{entry: e, Value: value}
}
