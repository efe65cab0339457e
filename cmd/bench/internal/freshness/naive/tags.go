package naive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// TagSets keeps, for each tag, the set of the entries to delete when it changes. No reader fills while a writer deletes,
// so that what is stale is so for one reason: Redis, short of memory, evicts a set that is touched by fills alone before
// the entry that every read touches, and the delete no longer knows it.
type TagSets struct {
	Rows  Rows
	Redis *redis.Client // with little memory, and allkeys-lru

	fills locks
}

func tagKey(id int64) string { return "naive:tag:profile:" + fmt.Sprint(id) }

// Read is a hit, or fills and notes the entry under its tag.
func (c *TagSets) Read(ctx context.Context, _ int, id int64) (int, error) {
	version, err := c.Redis.Get(ctx, entryKey(id)).Int()
	if !errors.Is(err, redis.Nil) {
		return version, err
	}
	lock := c.fills.of(id)
	lock.RLock()
	defer lock.RUnlock()
	if version, err = c.Rows.Load(ctx, id); err != nil {
		return 0, err
	}
	_, err = c.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, tagKey(id), entryKey(id))
		p.Set(ctx, entryKey(id), version, ttl)
		return nil
	})
	return version, err
}

// Write commits, and deletes what the tag lists.
func (c *TagSets) Write(ctx context.Context, _ int, id int64, version int) error {
	lock := c.fills.of(id)
	lock.Lock()
	defer lock.Unlock()
	if err := c.Rows.Store(ctx, id, version); err != nil {
		return err
	}
	entries, err := c.Redis.SMembers(ctx, tagKey(id)).Result()
	if err != nil {
		return err
	}
	return c.Redis.Del(ctx, append(entries, tagKey(id))...).Err()
}

// Press fills the memory with other entries, as other traffic does.
func (c *TagSets) Press(ctx context.Context, n int) error {
	filling := strings.Repeat("x", 2000)
	_, err := c.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 50 {
			p.Set(ctx, fmt.Sprintf("naive:other:%d", n*50+i), filling, ttl)
		}
		return nil
	})
	return err
}
