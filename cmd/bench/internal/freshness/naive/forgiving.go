package naive

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Forgiving fills on a miss, deletes after a write, and takes no notice of a Redis that is away. No reader fills while a
// writer deletes, so that what is stale is so for one reason: a delete that no server heard is forgotten, and the replica
// that takes the dead primary's place still has the entry.
type Forgiving struct {
	Rows  Rows
	Redis redis.UniversalClient

	fills locks
}

// Key is what an entry has in Redis.
func (c *Forgiving) Key(id int64) string { return entryKey(id) }

// Read is a hit, or fills. Where Redis is away, it comes from the table, and waits for no writer.
func (c *Forgiving) Read(ctx context.Context, _ int, id int64) (int, error) {
	version, err := c.Redis.Get(ctx, entryKey(id)).Int()
	if err == nil {
		return version, nil
	}
	if !errors.Is(err, redis.Nil) {
		return c.Rows.Load(ctx, id)
	}
	lock := c.fills.of(id)
	lock.RLock()
	defer lock.RUnlock()
	if version, err = c.Rows.Load(ctx, id); err == nil {
		c.Redis.Set(ctx, entryKey(id), version, ttl)
	}
	return version, err
}

// Write commits, then deletes if it can.
func (c *Forgiving) Write(ctx context.Context, _ int, id int64, version int) error {
	lock := c.fills.of(id)
	lock.Lock()
	defer lock.Unlock()
	if err := c.Rows.Store(ctx, id, version); err != nil {
		return err
	}
	c.Redis.Del(ctx, entryKey(id))
	return nil
}

// locks are one for each id: filling reads, writing writes.
type locks struct{ all sync.Map }

func (l *locks) of(id int64) *sync.RWMutex {
	lock, _ := l.all.LoadOrStore(id, new(sync.RWMutex))
	return lock.(*sync.RWMutex)
}
