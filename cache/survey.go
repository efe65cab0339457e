package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
)

// Survey is what this process's memory holds of values and of whole results, for an operator to look at.
type Survey struct {
	Values, Results Usage
	// Up to as many entries of each tier as were asked for: those that are used most, by the judgement that decides what stays; the
	// largest of all; those that took longest to load. Their Tags and Key are not told.
	Hottest, Largest, Slowest []Detail
}

// Usage of a tier in memory.
type Usage struct {
	Entries int
	Bytes   uint64 // roughly, with what goes with an entry
	Limit   uint64
}

// looked bounds how many entries a Survey looks at, for it holds up those who write.
const looked = 20_000

// Survey looks at the hottest entries, 20,000 of a tier at most. It takes some milliseconds.
func (c *Cache) Survey(most int) Survey {
	var s Survey
	var all []Detail
	if c.local != nil {
		s.Values = usageOf(c.local)
		s.Hottest = append(s.Hottest, gather(c.local.Hottest(), most, &all, func(h *held) (*entry, uint32) { return &h.entry, h.weight })...)
	}
	for _, r := range c.results {
		if r.local == nil {
			continue
		}
		u := usageOf(r.local)
		s.Results = Usage{s.Results.Entries + u.Entries, s.Results.Bytes + u.Bytes, s.Results.Limit + u.Limit}
		s.Hottest = append(s.Hottest, gather(r.local.Hottest(), most, &all, func(one *Result) (*entry, uint32) { return &one.entry, uint32(one.size()) })...)
	}
	s.Largest = first(most, all, func(a, b Detail) int { return cmp.Compare(b.Bytes, a.Bytes) })
	s.Slowest = first(most, all, func(a, b Detail) int { return cmp.Compare(b.Load, a.Load) })
	return s
}

func usageOf[V any](tier *otter.Cache[string, V]) Usage {
	tier.CleanUp() // what was added of late is not weighed before
	return Usage{tier.EstimatedSize(), tier.WeightedSize(), tier.GetMaximum()}
}

// gather adds a tier's entries to all, and returns the first of them.
func gather[V any](entries iter.Seq[otter.Entry[string, V]], most int, all *[]Detail, look func(V) (*entry, uint32)) []Detail {
	start := len(*all)
	for found := range entries {
		e, weight := look(found.Value)
		*all = append(*all, Detail{
			Name: found.Key, Tier: "memory", Absent: e.absent, AsOf: e.asOf, Filled: e.filled, Expires: e.expires, Load: e.load,
			Bytes: int(weight),
		})
		if len(*all)-start >= looked {
			break
		}
	}
	return slices.Clone((*all)[start:min(start+most, len(*all))])
}

func first(most int, all []Detail, order func(a, b Detail) int) []Detail {
	slices.SortStableFunc(all, order)
	return slices.Clone(all[:min(most, len(all))])
}

// Evict removes the entry of a name, as in Details, from Redis and from this process's memory. Other processes may hold
// it until it is stale or expires: their answers are as fresh as before. It waits for Redis for as long as ctx lasts. It
// fails if neither has such an entry, or if what has that name is no entry of a cache.
func (c *Cache) Evict(ctx context.Context, name string) error {
	if !strings.HasPrefix(name, c.Service+":") {
		return fmt.Errorf("cache: evict %q: not of the service %s", name, c.Service)
	}
	held := c.dropLocal(name)
	for _, r := range c.results {
		if r.local != nil {
			_, there := r.local.Invalidate(name)
			held = held || there
		}
	}
	raw, err := c.Redis.Get(ctx, name).Bytes()
	switch {
	case errors.Is(err, redis.Nil) && held: // Redis may evict it, or have been too slow to take it
		return nil
	case err != nil:
		return fmt.Errorf("cache: evict %q: %w", name, err)
	}
	if _, ok := parseEntry(name, raw); !ok {
		return fmt.Errorf("cache: evict %q: not an entry of a cache", name)
	}
	if err := c.Redis.Del(ctx, name).Err(); err != nil {
		return fmt.Errorf("cache: evict %q: %w", name, err)
	}
	return nil
}

// Look reads the entry of a name, as in Details, from Redis, and uses it for nothing: Miss says why readers of this process
// can't use it, if they can't. It fails if Redis has nothing under the name, or something else.
func (c *Cache) Look(ctx context.Context, name string) (Detail, error) {
	raw, err := c.Redis.Get(ctx, name).Bytes()
	if err != nil {
		return Detail{}, fmt.Errorf("cache: look at %q: %w", name, err)
	}
	e, ok := parseEntry(name, raw)
	if !ok {
		return Detail{}, fmt.Errorf("cache: look at %q: damaged, of another form, or not an entry of a cache", name)
	}
	at := c.look()
	e.expires = e.ends(at.now)
	d := Detail{Name: name}
	d.answered("redis", &e)
	if len(e.tags) == 0 { // a kind that promises its TTL alone
		d.Miss = at.checkExpiry(&e)
		return d, nil
	}
	d.Miss = at.check(&e, c.Freshness.hashes(e.tags, nil), nil)
	if d.Miss == staleTag {
		d.Tag, d.Changed = c.Freshness.culprit(e.asOf, e.tags)
	}
	return d, nil
}
