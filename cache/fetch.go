package cache

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// fetch brings keys from the source into Redis, as the only one that does so among all processes: it loads the keys
// whose locks it gets, and waits for those whose locks others hold. It holds no lock while it waits for one.
type fetch[K comparable, V any] struct {
	kind       *Kind[K, V]
	names      map[K]string
	token      string
	early      bool            // a refresh: what another has locked or refreshed already is left alone
	strict     bool            // for a read that waits little for others
	reader     <-chan struct{} // closed when nobody waits for the values any more
	awaited    <-chan struct{} // closed when another read waits for this one
	explained  bool
	todo       []K           // to be asked for their locks
	won        []K           // whose locks are held, to be loaded
	lost       []K           // whose locks others held
	alone      []K           // whose locks can't be had, to be loaded without
	loadedAll  chan struct{} // closed when nothing is left to load, and only to store: the fields below are settled
	values     map[K]V
	until      time.Time // when the first of the values expires
	unproved   bool      // some value has no as-of
	loaded     int
	roundTrips int
	waited     []K           // for the loads of others
	waitTook   time.Duration // without the round trips
	others     map[K]entry   // what they have stored, if explained
	statements []Statement   // of loads, if explained
	trips      []Statement   // of acquire, if explained
}

func newFetch[K comparable, V any](k *Kind[K, V], names map[K]string) *fetch[K, V] {
	return &fetch[K, V]{kind: k, names: names, token: newToken(), values: make(map[K]V), loadedAll: make(chan struct{})}
}

// want adds a key, of whose lock a look has told something or nothing.
func (f *fetch[K, V]) want(key K, lock holding) {
	switch lock {
	case ours:
		f.won = append(f.won, key)
	case others:
		f.lost = append(f.lost, key)
	default:
		f.todo = append(f.todo, key)
	}
}

// wanted are the keys that were added.
func (f *fetch[K, V]) wanted() []K { return slices.Concat(f.won, f.lost, f.todo) }

func (f *fetch[K, V]) run() error {
	const shortest, longest = time.Millisecond, 20 * time.Millisecond
	pause := shortest
	deadline := time.Now().Add(f.patience())
	for {
		f.acquireAll()
		f.giveBack(f.alone)
		if f.early {
			f.alone = nil
		}
		if err := f.load(f.won, f.alone); err != nil {
			return err
		}
		if len(f.lost) == 0 || f.early {
			return nil
		}
		if time.Now().After(deadline) {
			return f.load(nil, f.lost)
		}
		if err := f.pause(pause, f.lost); err != nil {
			return err
		}
		pause = min(2*pause, longest)
		f.todo, f.won, f.lost, f.alone = f.lost, nil, nil, nil
	}
}

// acquireAll asks for the locks of todo. A key of which Redis says nothing is asked for again while Redis is in use, a few
// times; then it is to be loaded without a lock.
func (f *fetch[K, V]) acquireAll() {
	const tries = 3
	for range tries {
		if len(f.todo) == 0 {
			return
		}
		f.acquire()
		if f.early || f.strict || !f.kind.granted() || !f.kind.cache.Available() {
			break
		}
	}
	f.alone, f.todo = append(f.alone, f.todo...), nil
}

// pause waits about so long for those who load keys. Those of the first time include all of later ones.
func (f *fetch[K, V]) pause(about time.Duration, keys []K) error {
	if f.waited == nil {
		f.waited = keys
	}
	began := time.Now()
	defer func() { f.waitTook += time.Since(began) }()
	select {
	case <-time.After(about/2 + rand.N(about)):
		return nil
	case <-f.kind.cache.ctx.Done():
		return f.kind.cache.ctx.Err()
	}
}

// patience is how long to wait for another's load: a few times what loads take of late. A holder that has died is
// noticed sooner, when its lock lapses.
func (f *fetch[K, V]) patience() time.Duration {
	if f.strict {
		return prompt
	}
	return max(f.kind.cache.minPeerWait, 4*time.Duration(f.kind.usual.Load()))
}

// giveBack releases the locks of keys, without making the fetch wait: a round trip that seemed to fail may have taken some,
// and others would wait for them to lapse.
func (f *fetch[K, V]) giveBack(keys []K) {
	if len(keys) == 0 {
		return
	}
	c, names := f.kind.cache, f.namesOf(keys)
	c.work.Go(func() { c.release(c.ctx, f.token, names) })
}

// acquire tries, in one round trip, to lock each key of todo and then reads its entry: the holder before may have just
// filled it. Entries found are kept, and their locks given back. Keys whose locks Redis refuses, as when it is full, go to
// alone. Keys without an answer stay in todo: all if Redis is silent, or those of one node of a cluster.
func (f *fetch[K, V]) acquire() {
	c := f.kind.cache
	locks := make([]*redis.StatusCmd, len(f.todo))
	entries := make([]*redis.StringCmd, len(f.todo))
	f.roundTrips++
	began := time.Now()
	ok := c.pipe(c.ctx, &c.looks, func(p pipeliner) {
		for i, key := range f.todo {
			locks[i] = p.SetArgs(c.ctx, lockKey(f.names[key]), f.token, redis.SetArgs{Mode: "NX", Get: true, TTL: c.Lease})
			entries[i] = p.Get(c.ctx, f.names[key])
		}
	})
	if f.explained {
		f.trips = append(f.trips, trip(began))
	}
	if !ok {
		return
	}
	var silent []K
	var spare []string
	for i, key := range f.todo {
		filled := f.take(key, entries[i])
		held := holder(locks[i], f.token)
		switch {
		case filled && held == ours:
			spare = append(spare, f.names[key])
		case filled:
		case held == ours:
			f.won = append(f.won, key)
		case held == others:
			f.lost = append(f.lost, key)
		case answered(locks[i].Err()):
			f.alone = append(f.alone, key)
		default:
			silent = append(silent, key)
		}
	}
	f.todo = silent
	c.release(c.ctx, f.token, spare)
}

func (f *fetch[K, V]) namesOf(keys []K) []string { return namesOf(f.names, keys) }

func namesOf[K comparable](all map[K]string, keys []K) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = all[key]
	}
	return names
}

// take uses an entry that is there by now; a refresh takes only one that another has just refreshed.
func (f *fetch[K, V]) take(key K, reply *redis.StringCmd) bool {
	k := f.kind
	raw, err := reply.Bytes()
	if err != nil {
		return false
	}
	at := k.cache.look()
	e, why := k.open(f.names[key], raw, at)
	if why != "" || (f.early && e.expires.Sub(at.now) < k.TTL/2) {
		return false
	}
	value, why := k.decode(&e)
	if why != "" {
		return false
	}
	if !e.absent {
		f.values[key] = value
	}
	f.until = earlier(f.until, e.expires)
	if f.explained {
		if f.others == nil {
			f.others = make(map[K]entry)
		}
		f.others[key] = e
	}
	return true
}

// load reads keys from the source, in one load, and stores those whose locks are held.
func (f *fetch[K, V]) load(locked, alone []K) error {
	keys := slices.Concat(locked, alone)
	if len(keys) == 0 {
		return nil
	}
	k, c, names := f.kind, f.kind.cache, f.namesOf(locked)
	held := c.hold(f.token, names)
	ctx := c.ctx
	if f.explained {
		ctx = Explain(ctx)
	}
	done, own, err := k.loads.do(ctx, keys)
	f.loaded += own
	if err != nil {
		held.end()
		c.release(c.ctx, f.token, names)
		return err
	}
	k.observeLoad(done.took)
	f.statements = append(f.statements, done.statements.all...)
	f.unproved = f.unproved || !done.granted
	for _, key := range keys {
		value, found := done.values[key]
		if found {
			f.values[key] = value
		}
		f.until = earlier(f.until, k.cache.Now().Add(k.ttl(found)-done.took))
	}
	if len(locked) == 0 {
		return nil
	}
	if f.strict && (k.Tags == nil || done.granted) {
		f.roundTrips++ // to store it, for which its reader waits
	}
	if len(f.lost) == 0 {
		close(f.loadedAll)
		if !f.strict && !f.early {
			c.linger(f.reader, f.awaited)
		}
	}
	held.end()
	f.fill(locked, done)
	return nil
}

// linger leaves the processors to whoever asked: what was loaded is stored when that has its answer, when another waits for
// it, or after a moment that others hardly notice.
func (c *Cache) linger(reader, awaited <-chan struct{}) {
	timer := time.NewTimer(c.moment)
	defer timer.Stop()
	select {
	case <-reader:
	case <-awaited:
	case <-c.ctx.Done():
	case <-timer.C:
	}
}

// fill stores what was loaded and gives the locks back. Without a grant at its beginning a load has no as-of, and what
// it read can be proved fresh by nobody.
func (f *fetch[K, V]) fill(keys []K, done *load[K, V]) {
	k, c := f.kind, f.kind.cache
	var fills []filling
	var spare []string
	for _, key := range keys {
		name := f.names[key]
		e, ttl, err := k.entry(key, done)
		if err != nil {
			c.Log.Error("cache: can't be stored", "key", name, "error", err)
		}
		if err != nil || (k.Tags != nil && !done.granted) {
			spare = append(spare, name)
			continue
		}
		raw := e.append(nil, name)
		c.Observer.Stored(k.Name, len(raw))
		fills = append(fills, filling{name, raw, ttl + k.Grace, k.Tags != nil})
	}
	c.fill(c.ctx, f.token, fills)
	c.release(c.ctx, f.token, spare)
}

// refresh has entries that are about to expire loaded again in the background, by whichever process gets their locks.
// Until then the old ones are served: they are fresh by the log.
func (k *Kind[K, V]) refresh(keys []K, names map[K]string) {
	mine := k.flights.claim(keys).mine
	if len(mine) == 0 {
		return
	}
	f := newFetch(k, names)
	f.todo, f.early = mine, true
	k.cache.work.Go(func() {
		err := f.run()
		k.flights.land(mine, err != nil)
		for _, key := range mine {
			k.cache.dropLocal(names[key]) // or the old entry would be due again and again
		}
	})
}
