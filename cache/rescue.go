package cache

import "context"

// rescue answers what is left, now that the source has failed, from entries that have expired or can't be proved fresh
// any more. It reports whether it could for all of them.
func (r *read[K, V]) rescue(ctx context.Context) bool {
	r.notes.spoil()
	left, at := r.left[:0], r.kind.cache.look()
	for _, key := range r.left {
		h, _, why := r.kind.near(r.names[key], at)
		if h == nil || !r.kind.rescuable(&h.entry, why) {
			left = append(left, key)
			continue
		}
		if !h.absent {
			r.found[key] = h.value.(V)
		}
		r.why.hit(key, r.names[key], "stale", &h.entry)
		r.batch.Stale++
	}
	r.left = left
	if len(left) == 0 {
		return true
	}
	sights := r.see(ctx, "", nil, left)
	for i, seen := range sights {
		if !r.rescueOne(left[i], seen) {
			return false
		}
	}
	return sights != nil
}

func (r *read[K, V]) rescueOne(key K, seen sight) bool {
	if seen.why != "" {
		return false
	}
	e, why := r.kind.open(r.names[key], seen.raw, r.kind.cache.look())
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
	r.why.hit(key, r.names[key], "stale", &e)
	r.batch.Stale++
	return true
}
