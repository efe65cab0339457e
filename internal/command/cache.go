package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"

	"freshet/internal/changelog"
	"freshet/internal/redisconn"
)

// CacheOptions say which cache a command is about. DatabaseURL is needed to purge by tag alone.
type CacheOptions struct {
	DatabaseURL, RedisURL string
	// Service begins every key.
	Service string
	// DryRun counts, and removes nothing.
	DryRun, JSON bool
	// Sample is how many keys of each server Stats looks at, at most.
	Sample int
	Out    io.Writer
}

// keysAtATime bounds what one command asks a server that others use too.
const keysAtATime = 500

func (o CacheOptions) withRedis(do func(redis.UniversalClient) error) error {
	client, err := redisconn.Open(o.RedisURL, 2)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(client)
}

// escapeGlob has Redis take text as it is.
func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(text)
}

// PurgePattern removes the entries whose keys, behind the service's name, match a pattern of Redis. Other instances may still
// hold them in memory: what has changed is purged by tag.
func PurgePattern(ctx context.Context, o CacheOptions, pattern string) error {
	if pattern == "" {
		return errors.New("cache purge: the pattern is empty; to remove every entry, it is *")
	}
	return o.withRedis(func(client redis.UniversalClient) error {
		count := 0
		err := redisconn.Masters(ctx, client, func(ctx context.Context, node *redis.Client) error {
			n, err := o.purgeNode(ctx, node, escapeGlob(o.Service)+":"+pattern)
			count += n
			return err
		})
		if err != nil {
			return fmt.Errorf("cache purge after %d keys: %w", count, err)
		}
		return o.purged("keys", count)
	})
}

func (o CacheOptions) purgeNode(ctx context.Context, node *redis.Client, match string) (count int, err error) {
	for cursor := uint64(0); ; {
		var keys []string
		if keys, cursor, err = node.Scan(ctx, cursor, match, keysAtATime).Result(); err != nil {
			return count, err
		}
		if !o.DryRun && len(keys) > 0 {
			_, err = node.Pipelined(ctx, func(p redis.Pipeliner) error { // each alone: they are in different slots
				for _, key := range keys {
					p.Unlink(ctx, key)
				}
				return nil
			})
			if err != nil {
				return count, err
			}
		}
		if count += len(keys); cursor == 0 {
			return count, nil
		}
	}
}

// PurgeTag makes everything that depends on a tag stale on every instance, through the change log.
func PurgeTag(ctx context.Context, o CacheOptions, tag string) error {
	if !changelog.IsTag(tag) {
		return fmt.Errorf("cache purge: %q is no tag: it has the form post:17, post:* or *", tag)
	}
	return withReachable(ctx, o.DatabaseURL, func(db *bun.DB) error {
		if !o.DryRun {
			if err := changelog.Note(ctx, db.DB, tag); err != nil {
				return fmt.Errorf("cache purge: %w", err)
			}
		}
		return o.purged("tags", 1)
	})
}

func (o CacheOptions) purged(what string, n int) error {
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(map[string]any{what: n, "dryRun": o.DryRun})
	}
	verb := "purged"
	if o.DryRun {
		verb = "would purge"
	}
	_, err := fmt.Fprintln(o.Out, verb, n, what)
	return err
}

// serverStats is what a server says of itself, and what a sample of its keys shows.
type serverStats struct {
	Addr    string            `json:"addr"`
	Info    map[string]string `json:"info"`
	Sampled int               `json:"sampledKeys"`
	All     int64             `json:"keys"`
	Kinds   map[string]*share `json:"kindsInSample"`
}

type share struct {
	Keys  int   `json:"keys"`
	Bytes int64 `json:"bytes"`
}

// CacheStats prints, for each server that owns keys, how full and how useful it is, and a sample of what it holds.
func CacheStats(ctx context.Context, o CacheOptions) error {
	return o.withRedis(func(client redis.UniversalClient) error {
		var all []*serverStats
		err := redisconn.Masters(ctx, client, func(ctx context.Context, node *redis.Client) error {
			one, err := o.statsOf(ctx, node)
			all = append(all, one)
			return err
		})
		if err != nil {
			return fmt.Errorf("cache stats: %w", err)
		}
		if o.JSON {
			return json.NewEncoder(o.Out).Encode(map[string]any{"servers": all})
		}
		for _, one := range all {
			one.print(o.Out)
		}
		return nil
	})
}

func (o CacheOptions) statsOf(ctx context.Context, node *redis.Client) (*serverStats, error) {
	s := &serverStats{Addr: node.Options().Addr, Info: map[string]string{}, Kinds: map[string]*share{}}
	text, err := node.Info(ctx, "stats", "memory").Result()
	if err != nil {
		return s, err
	}
	info := redisconn.Fields(text)
	for _, name := range []string{"keyspace_hits", "keyspace_misses", "evicted_keys", "used_memory", "maxmemory"} {
		s.Info[name] = info[name]
	}
	if s.All, err = node.DBSize(ctx).Result(); err != nil {
		return s, err
	}
	for cursor := uint64(0); s.Sampled < o.Sample; {
		var keys []string
		if keys, cursor, err = node.Scan(ctx, cursor, escapeGlob(o.Service)+":*", keysAtATime).Result(); err != nil {
			return s, err
		}
		if err := o.sample(ctx, node, s, keys[:min(len(keys), o.Sample-s.Sampled)]); err != nil || cursor == 0 {
			return s, err
		}
	}
	return s, nil
}

func (o CacheOptions) sample(ctx context.Context, node *redis.Client, s *serverStats, keys []string) error {
	sizes := make([]*redis.IntCmd, len(keys))
	_, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			sizes[i] = p.MemoryUsage(ctx, key)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) { // one that has just expired has no size
		return err
	}
	for i, key := range keys {
		kind, _, _ := strings.Cut(strings.TrimPrefix(key, o.Service+":"), ":")
		if s.Kinds[kind] == nil {
			s.Kinds[kind] = &share{}
		}
		s.Kinds[kind].Keys++
		s.Kinds[kind].Bytes += sizes[i].Val()
	}
	s.Sampled += len(keys)
	return nil
}

func (s *serverStats) print(out io.Writer) {
	fmt.Fprintf(out, "%s: %d keys, %s of %s bytes, %s evicted, %s hits and %s misses of keys\n", s.Addr, s.All,
		s.Info["used_memory"], s.Info["maxmemory"], s.Info["evicted_keys"], s.Info["keyspace_hits"], s.Info["keyspace_misses"])
	fmt.Fprintf(out, "  a sample of %d keys:\n", s.Sampled)
	for _, kind := range slices.Sorted(maps.Keys(s.Kinds)) {
		fmt.Fprintf(out, "  %-20s %6d keys %10d bytes\n", kind, s.Kinds[kind].Keys, s.Kinds[kind].Bytes)
	}
}
