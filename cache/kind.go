package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/fxamacker/cbor/v2"
)

// KindOptions says how values of a kind are named, loaded and kept. Name, TTL, Key and Load have no default.
type KindOptions[K comparable, V any] struct {
	// Name is the entity in keys and in metrics, such as "profile".
	Name string
	// TTL is the longest that an entry lives. Up to a tenth of it is taken off at random, so that entries which were
	// filled together do not end together.
	TTL time.Duration
	// AbsentTTL is the same for the knowledge that the source has no such key. Default: TTL, 30 s at most.
	AbsentTTL time.Duration
	// Grace is how long an entry that has expired may still be served, marked stale, if the source fails. Default 0.
	Grace time.Duration
	// Proved kinds fail with their source: nobody is answered from an entry that can't be proved fresh, such as who a token
	// is of.
	Proved bool
	// Key names a key within the kind: "42", or "user:42:first=20". Text that comes from a user must be
	// percent-encoded, colons included, or one viewer could name another's entry.
	Key func(K) string
	// Tags name the changes that make an entry stale; found is false for an absence, and value is then zero. A kind
	// without Tags promises its TTL alone.
	Tags func(key K, value V, found bool) []string
	// Load reads keys from the source, in one statement. What it leaves out of the map is absent. It may be called with
	// the keys of several callers, and its context is nobody's in particular. Values are shared by all who ask: nobody
	// may change them.
	Load func(ctx context.Context, keys []K) (map[K]V, error)
	// MaxLoads bounds the loads that run at a time in this process. Default 8.
	MaxLoads int
	// LoadTimeout ends a load. Default 10 s.
	LoadTimeout time.Duration
}

func (o KindOptions[K, V]) withDefaults() KindOptions[K, V] {
	if o.AbsentTTL == 0 {
		o.AbsentTTL = min(o.TTL, 30*time.Second)
	}
	if o.MaxLoads == 0 {
		o.MaxLoads = 8
	}
	if o.LoadTimeout == 0 {
		o.LoadTimeout = 10 * time.Second
	}
	return o
}

// Kind is one sort of cached value. It is safe for concurrent use and lives as long as its Cache.
type Kind[K comparable, V any] struct {
	KindOptions[K, V]
	cache *Cache
	shape uint64
	loads *loads[K, V]
	usual atomic.Int64 // how long loads take of late, in ns

	flights flights[K] // of the keys that a goroutine of this process is fetching

	mu      sync.Mutex
	forgets uint64 // calls of Forget
}

// NewKind adds a kind to a cache.
func NewKind[K comparable, V any](c *Cache, o KindOptions[K, V]) *Kind[K, V] {
	o = o.withDefaults()
	k := &Kind[K, V]{
		KindOptions: o,
		cache:       c,
		shape:       xxhash.Sum64String(fmt.Sprintf("%s %s %s %s", o.Name, o.TTL, o.AbsentTTL, layout(reflect.TypeFor[V]()))),
	}
	k.loads = &loads[K, V]{
		read: o.Load, begin: c.Freshness.AsOf, ctx: c.ctx, work: &c.work,
		limit: o.MaxLoads, most: 1000, timeout: o.LoadTimeout,
	}
	return k
}

// Many returns the values of those keys that exist. It fails only if the source does, or if ctx ends.
func (k *Kind[K, V]) Many(ctx context.Context, keys []K) (map[K]V, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	start := time.Now()
	r := newRead(ctx, k, keys)
	err := r.run(ctx)
	r.batch.Took, r.batch.Err = time.Since(start), err
	r.batch.Details = r.why.list()
	k.cache.Observer.Observe(ctx, r.batch)
	if err != nil {
		return nil, fmt.Errorf("cache: read %d of %s: %w", len(keys), k.Name, err)
	}
	return r.found, nil
}

// One returns the value of a key, and whether it exists.
func (k *Kind[K, V]) One(ctx context.Context, key K) (V, bool, error) {
	if value, found, ok := k.held(ctx, key); ok {
		return value, found, nil
	}
	values, err := k.Many(ctx, []K{key})
	value, found := values[key]
	return value, found, err
}

// held is One for what this process's memory has: most of what is asked for one by one.
func (k *Kind[K, V]) held(ctx context.Context, key K) (value V, found, ok bool) {
	at := k.cache.look()
	if k.Tags != nil && !at.granted || explains(ctx) {
		return value, false, false
	}
	if s := strictnessOf(ctx); s != nil && (s.source || k.Tags == nil) {
		return value, false, false
	}
	h, value, why := k.near(k.name(key), at)
	if why != "" || k.cache.due(&h.entry, at.now) {
		return value, false, false
	}
	notesOf(ctx).entry(&h.entry)
	k.cache.Observer.Observe(ctx, Batch{Kind: k.Name, Keys: 1, LocalHits: 1, Took: k.cache.Now().Sub(at.now)})
	return value, !h.absent, true
}

// Forget removes entries, for kinds that promise their TTL alone: the author of a change then reads its result. What is
// being loaded meanwhile is not stored.
func (k *Kind[K, V]) Forget(ctx context.Context, keys ...K) {
	k.cache.pipe(context.WithoutCancel(ctx), &k.cache.stores, func(p pipeliner) {
		for _, key := range keys {
			name := k.name(key)
			// First the lock, so that who holds it stores nothing; and one by one: a slot of a cluster may be between two nodes.
			p.Del(ctx, lockKey(name))
			p.Del(ctx, name)
		}
	})
	// After the removal from Redis: who read the old entry there has noted the old number of calls, and holds nothing.
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgets++
	for _, key := range keys {
		k.cache.dropLocal(k.name(key))
	}
}

func (k *Kind[K, V]) forgotten() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.forgets
}

// name is the whole key in Redis. A long variant becomes a hash, behind enough of its text to be recognised.
func (k *Kind[K, V]) name(key K) string {
	const most = 160
	id := k.Key(key)
	if len(id) > most {
		sum := sha256.Sum256([]byte(id))
		id = id[:most-65] + "~" + hex.EncodeToString(sum[:])
	}
	return k.cache.Service + ":" + k.Name + ":" + id
}

// entry makes the stored form of what a load found.
func (k *Kind[K, V]) entry(key K, l *load[K, V]) (e entry, ttl time.Duration, err error) {
	value, found := l.values[key]
	ttl = k.ttl(found)
	ttl -= time.Duration(rand.Float64() * float64(ttl) / 10)
	now := k.cache.Now()
	e = entry{
		absent: !found, shape: k.shape, asOf: l.asOf, filled: now, expires: now.Add(ttl), load: l.took,
	}
	if k.Tags != nil {
		tags := k.Tags(key, value, found)
		if len(tags) > maxTags {
			return e, 0, fmt.Errorf("%d tags, at most %d", len(tags), maxTags)
		}
		e.tags = pack(tags)
	}
	if found {
		e.payload, err = encoding.Marshal(value)
	}
	return e, ttl, err
}

// ttl is that of a value, or of an absence.
func (k *Kind[K, V]) ttl(found bool) time.Duration {
	if found {
		return k.TTL
	}
	return k.AbsentTTL
}

// open reads what is stored under name; why says why it can't be used. An entry that is intact is returned either way.
func (k *Kind[K, V]) open(name string, raw []byte, at look) (e entry, why Reason) {
	e, ok := parseEntry(name, raw)
	if !ok || e.shape != k.shape {
		return entry{}, foreign
	}
	e.expires = e.ends(at.now)
	var buffer [128]uint64
	return e, k.check(&e, k.hashes(&e, buffer[:0]), nil, at)
}

func (k *Kind[K, V]) hashes(e *entry, into []uint64) []uint64 {
	if k.Tags == nil {
		return nil
	}
	return k.cache.Freshness.hashes(e.tags, into)
}

// decode reads an entry's value.
func (k *Kind[K, V]) decode(e *entry) (value V, why Reason) {
	if e.absent {
		return value, ""
	}
	if err := cbor.Unmarshal(e.payload, &value); err != nil {
		return value, foreign
	}
	return value, ""
}

// granted tells whether this process may answer from entries now: kinds with tags need a grant.
func (k *Kind[K, V]) granted() bool {
	if k.Tags == nil {
		return true
	}
	_, granted := k.cache.Freshness.AsOf()
	return granted
}

// observeLoad keeps a moving average of how long loads take.
func (k *Kind[K, V]) observeLoad(took time.Duration) {
	old := k.usual.Load()
	k.usual.Store(old + (int64(took)-old)/4)
}

// encoding writes times to the nanosecond; CBOR's default cuts them to seconds.
var encoding = must(cbor.EncOptions{Time: cbor.TimeRFC3339Nano}.EncMode())

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// layout describes a type as the encoding sees it: an entry that another release wrote from another struct is a miss.
func layout(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return t.Kind().String() + " " + layout(t.Elem())
	case reflect.Map:
		return "map " + layout(t.Key()) + layout(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return "time"
		}
		var b strings.Builder
		for field := range t.Fields() {
			if tag := field.Tag.Get("cbor"); tag != "-" && field.IsExported() {
				fmt.Fprintf(&b, "%s %q %s;", field.Name, tag, layout(field.Type))
			}
		}
		return "{" + b.String() + "}"
	default:
		return t.Kind().String()
	}
}
