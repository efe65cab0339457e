package cache

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"
)

// sight is what a look into Redis found under a name: an entry, or why there is none. Where there is none, lock says whose
// the lock is by now, if it was asked for.
type sight struct {
	raw  []byte
	why  Reason
	lock holding
}

// see looks for entries in one round trip, and takes for token the locks of those of claimed that are not there: who finds
// nothing can load at once. It returns sights of claimed, then of others; none if Redis did not answer, which may yet have
// given locks.
func (c *Cache) see(ctx context.Context, token string, claimed, others []string) []sight {
	names := slices.Concat(claimed, others)
	each := c.together(len(names))
	replies := c.scripts(ctx, &c.looks, lookScript, c.sightings(token, names, len(claimed), each))
	if replies == nil {
		return nil
	}
	sights := make([]sight, len(names))
	var refused []int
	for i, reply := range replies {
		found, err := reply.Slice()
		for j := range min(each, len(sights)-i*each) {
			n := i*each + j
			switch {
			case err == nil && j < len(found):
				sights[n] = sighted(found[j], token)
			case isReply(err):
				refused = append(refused, n)
			default:
				sights[n].why = unavailable
			}
		}
	}
	c.seeAlone(ctx, names, refused, sights)
	return sights
}

// sightings are calls of lookScript, for each names together. The first of them are claimed.
func (c *Cache) sightings(token string, names []string, claimed, each int) []call {
	lease := c.Lease.Milliseconds()
	var calls []call
	for group := range slices.Chunk(names, each) {
		locks := min(claimed, len(group))
		claimed -= locks
		keys := make([]string, 0, len(group)+locks)
		for _, name := range group[:locks] {
			keys = append(keys, name, lockKey(name))
		}
		calls = append(calls, call{append(keys, group[locks:]...), []any{token, lease, locks}})
	}
	return calls
}

// sighted reads one of lookScript's answers.
func sighted(answer any, token string) sight {
	switch answer := answer.(type) {
	case string:
		return sight{raw: []byte(answer)}
	case []any:
		return sight{why: absent, lock: holderOf(answer, token)}
	case nil:
		return sight{why: absent}
	}
	return sight{why: unavailable}
}

func holderOf(answer []any, token string) holding {
	if len(answer) != 1 {
		return unknown
	}
	switch holder := answer[0].(type) {
	case nil:
		return ours
	case string:
		if holder == token {
			return ours
		}
		return others
	}
	return unknown
}

// seeAlone looks for entries whose script was refused, as where a slot is between two nodes of a cluster: a single command is
// redirected.
func (c *Cache) seeAlone(ctx context.Context, names []string, refused []int, sights []sight) {
	if len(refused) == 0 {
		return
	}
	replies := make([]*redis.StringCmd, len(refused))
	ok := c.pipe(ctx, &c.looks, func(p pipeliner) {
		for i, n := range refused {
			replies[i] = p.Get(ctx, names[n])
		}
	})
	for i, n := range refused {
		if sights[n].why = unavailable; ok {
			sights[n].raw, sights[n].why = stored(replies[i])
		}
	}
}

// stored is what Redis has, or why there is nothing.
func stored(reply *redis.StringCmd) ([]byte, Reason) {
	raw, err := reply.Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, absent
	case err != nil:
		return nil, unavailable
	}
	return raw, ""
}
