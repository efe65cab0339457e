package cache

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// lockKey stands beside the entry's key: a cluster puts both in one slot, which it finds by what is in the first braces,
// if there are any. Keys are percent-encoded: what a stray brace would do is nobody's concern.
func lockKey(key string) string {
	if _, after, ok := strings.Cut(key, "{"); ok && strings.Index(after, "}") > 0 {
		return key + ":lock"
	}
	return "{" + key + "}:lock"
}

// holding is what a reply to an attempt to take a lock says.
type holding int

const (
	unknown holding = iota // no answer, or Redis can't keep locks now: it is full, a replica, or between two nodes
	ours
	others
)

// holder reads a reply to SET NX GET. A lock that an earlier try took, whose reply was lost, has the same token.
func holder(reply *redis.StatusCmd, token string) holding {
	switch err := reply.Err(); {
	case errors.Is(err, redis.Nil):
		return ours
	case err != nil:
		return unknown
	case reply.Val() == token:
		return ours
	}
	return others
}

// newToken names one holding of locks, so that nobody gives back another's.
func newToken() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

var (
	// lookScript reads entries, and takes the locks of those that are not there, for its token, of the first ARGV[3]: KEYS are
	// so many pairs of an entry and its lock, then entries alone. An entry is answered as it is; what came of a lock in an
	// array: nil if it was free, or its holder's token; and 0 stands for an error, since one inside an array ends a
	// connection of go-redis.
	lookScript = redis.NewScript(`
local function asked(...)
  local reply = redis.pcall(...)
  return type(reply) == 'table' and 0 or reply
end
local found, locks = {}, tonumber(ARGV[3])
for i = 1, locks do
  found[i] = asked('GET', KEYS[2 * i - 1]) or {asked('SET', KEYS[2 * i], ARGV[1], 'NX', 'GET', 'PX', ARGV[2])}
end
for i = 2 * locks + 1, #KEYS do
  found[#found + 1] = asked('GET', KEYS[i])
end
return found`)

	// Each of the others acts only for the holder of the lock, whose token it is given.

	// fillScript stores an entry and gives the lock back. A holder that has lost its lock stores nothing: another may
	// have stored something newer.
	fillScript = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1`)
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
	renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`)
)

// call is one run of a script.
type call struct {
	keys []string
	args []any
}

// scripts runs a script several times in one round trip, or two where Redis does not know it yet. It returns what each run
// was answered; nil if nothing was.
func (c *Cache) scripts(ctx context.Context, budget time.Duration, script *redis.Script, calls []call) []*redis.Cmd {
	replies := make([]*redis.Cmd, len(calls))
	ok := c.pipe(ctx, budget, func(p redis.Pipeliner) {
		for i, one := range calls {
			replies[i] = script.EvalSha(ctx, p, one.keys, one.args...)
		}
	})
	if !ok {
		return nil
	}
	unknown := false
	for _, reply := range replies {
		unknown = unknown || redis.HasErrorPrefix(reply.Err(), "NOSCRIPT")
	}
	if unknown {
		c.pipe(ctx, budget, func(p redis.Pipeliner) {
			for i, one := range calls {
				if redis.HasErrorPrefix(replies[i].Err(), "NOSCRIPT") {
					replies[i] = script.Eval(ctx, p, one.keys, one.args...)
				}
			}
		})
	}
	return replies
}

// filling is an entry to be stored by whoever holds its lock.
type filling struct {
	name   string
	raw    []byte
	ttl    time.Duration
	tagged bool // readers see by its tags whether it is too old
}

// fill stores entries whose locks token holds, and gives the locks back, also where Redis refuses to store.
func (c *Cache) fill(ctx context.Context, token string, fills []filling) {
	if len(fills) == 0 {
		return
	}
	calls := make([]call, len(fills))
	for i, f := range fills {
		calls[i] = call{[]string{f.name, lockKey(f.name)}, []any{token, f.raw, f.ttl.Milliseconds()}}
	}
	var refused []string
	var apart []filling
	for i, reply := range c.scripts(ctx, c.WriteBudget, fillScript, calls) {
		if err := reply.Err(); err == nil || !isReply(err) {
			continue
		} else if fills[i].tagged && redis.HasErrorPrefix(err, "TRYAGAIN") {
			apart = append(apart, fills[i])
		}
		refused = append(refused, fills[i].name)
	}
	c.fillApart(ctx, token, apart)
	c.release(ctx, token, refused)
}

// fillApart stores entries of a slot that is between two nodes of a cluster. No script can reach both the entry and its lock
// then, if one is still here and the other already there, but single commands are redirected. Whoever has taken a lapsed lock
// over between the two commands may have stored something newer; an older entry in its place is checked like any other. What
// has no tags would not be, and is not stored.
func (c *Cache) fillApart(ctx context.Context, token string, fills []filling) {
	if len(fills) == 0 {
		return
	}
	locks := make([]*redis.StringCmd, len(fills))
	ok := c.pipe(ctx, c.WriteBudget, func(p redis.Pipeliner) {
		for i, f := range fills {
			locks[i] = p.Get(ctx, lockKey(f.name))
		}
	})
	var ours []filling
	for i, f := range fills {
		if ok && locks[i].Val() == token {
			ours = append(ours, f)
		}
	}
	if len(ours) == 0 {
		return
	}
	c.pipe(ctx, c.WriteBudget, func(p redis.Pipeliner) {
		for _, f := range ours {
			p.Set(ctx, f.name, f.raw, f.ttl)
		}
	})
}

// lease holds locks under one token until release or fill gives them back; those of a process that dies lapse.
type lease struct {
	cache *Cache
	token string
	stop  chan struct{}
	ended chan struct{}
}

// hold keeps the locks of keys, which token has taken, alive until end is called.
func (c *Cache) hold(ctx context.Context, token string, keys []string) *lease {
	l := &lease{cache: c, token: token, stop: make(chan struct{}), ended: make(chan struct{})}
	go l.renew(ctx, keys)
	return l
}

// end stops renewing, and waits for it: nothing touches the locks after.
func (l *lease) end() {
	close(l.stop)
	<-l.ended
}

func (l *lease) renew(ctx context.Context, keys []string) {
	defer close(l.ended)
	tick := time.NewTicker(l.cache.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		calls := make([]call, len(keys))
		for i, key := range keys {
			calls[i] = call{[]string{lockKey(key)}, []any{l.token, l.cache.Lease.Milliseconds()}}
		}
		l.cache.scripts(ctx, l.cache.WriteBudget, renewScript, calls)
	}
}

// release gives locks back without storing anything.
func (c *Cache) release(ctx context.Context, token string, keys []string) {
	if len(keys) == 0 {
		return
	}
	calls := make([]call, len(keys))
	for i, key := range keys {
		calls[i] = call{[]string{lockKey(key)}, []any{token}}
	}
	c.scripts(ctx, c.WriteBudget, releaseScript, calls)
}
