package cache

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Verify compares what a reader of key would be given from the cache with what the source has. They may differ for the
// moment that a change needs to come through the log: an entry that differs is inconsistent if it still counts as fresh
// after settle, by what this process then knows. Checked is false if there is no entry that a reader would be given, or
// if it was changed meanwhile.
func (k *Kind[K, V]) Verify(ctx context.Context, key K, settle time.Duration) (checked, consistent bool, err error) {
	held, found := k.served(ctx, key)
	if !found {
		return false, false, nil
	}
	if k.agrees(ctx, key, held) {
		return true, true, nil
	}
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false, false, ctx.Err()
	}
	still, found := k.served(ctx, key)
	if !found || still.asOf != held.asOf || !still.filled.Equal(held.filled) {
		return false, false, nil
	}
	// Once more: the source may have been changed and changed back, or the first read of it have failed.
	values, err := k.Load(ctx, []K{key})
	if err != nil {
		return false, false, fmt.Errorf("cache: verify %s: %w", k.name(key), err)
	}
	if same(still.payload, values, key) {
		return true, true, nil
	}
	return true, false, nil
}

// served is the entry that a reader would be given, with its payload.
func (k *Kind[K, V]) served(ctx context.Context, key K) (e entry, found bool) {
	if !k.granted() {
		return e, false
	}
	name := k.name(key)
	if h, value, why := k.near(name, k.cache.look()); why == "" {
		e = h.entry
		e.payload = nil
		if !h.absent {
			e.payload, _ = encoding.Marshal(value)
		}
		return e, true
	}
	seen := k.cache.see(ctx, "", nil, []string{name})
	if len(seen) == 0 || seen[0].why != "" {
		return e, false
	}
	e, why := k.open(name, seen[0].raw, k.cache.look())
	return e, why == ""
}

func (k *Kind[K, V]) agrees(ctx context.Context, key K, e entry) bool {
	values, err := k.Load(ctx, []K{key})
	return err == nil && same(e.payload, values, key)
}

// same compares encodings: two values are the same if readers can't tell them apart.
func same[K comparable, V any](payload []byte, values map[K]V, key K) bool {
	value, found := values[key]
	if !found {
		return len(payload) == 0
	}
	encoded, err := encoding.Marshal(value)
	return err == nil && bytes.Equal(payload, encoded)
}
