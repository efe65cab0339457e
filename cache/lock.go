package cache

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
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
	// connection of go-redis. Commands are what a script's time goes into, so it makes few.
	lookScript = redis.NewScript(`
local there, found, locks = redis.call('MGET', unpack(KEYS)), {}, tonumber(ARGV[3])
for i = 1, locks do
  local entry, holder = there[2 * i - 1], there[2 * i]
  if not entry and not holder and redis.pcall('PSETEX', KEYS[2 * i], ARGV[2], ARGV[1]).err then
    holder = 0
  end
  found[i] = entry or {holder}
end
for i = 2 * locks + 1, #KEYS do
  found[#found + 1] = there[i]
end
return found`)

	// Each of the others acts only for the holder of the lock, whose token it is given.

	// fillScript stores entries and gives their locks back, also where Redis refuses to store. KEYS are pairs of an entry and
	// its lock, ARGV the token, then for each an entry's bytes and its TTL in ms. A holder that has lost its lock stores
	// nothing: another may have stored something newer.
	fillScript = redis.NewScript(`
local locks, held = {}, {}
for i = 2, #KEYS, 2 do locks[i / 2] = KEYS[i] end
for i, holder in ipairs(redis.call('MGET', unpack(locks))) do
  if holder == ARGV[1] then
    redis.pcall('PSETEX', KEYS[2 * i - 1], ARGV[2 * i + 1], ARGV[2 * i])
    held[#held + 1] = locks[i]
  end
end
if #held > 0 then redis.pcall('DEL', unpack(held)) end`)
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
func (c *Cache) scripts(ctx context.Context, by *conveyor, script *redis.Script, calls []call) []*redis.Cmd {
	replies := make([]*redis.Cmd, len(calls))
	ok := c.pipe(ctx, by, func(p redis.Pipeliner) {
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
		c.pipe(ctx, by, func(p redis.Pipeliner) {
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

// fill stores entries whose locks token holds, and gives the locks back.
func (c *Cache) fill(ctx context.Context, token string, fills []filling) {
	if len(fills) == 0 {
		return
	}
	groups := slices.Collect(slices.Chunk(fills, c.together(len(fills))))
	calls := make([]call, len(groups))
	for i, group := range groups {
		calls[i].args = []any{token}
		for _, f := range group {
			calls[i].keys = append(calls[i].keys, f.name, lockKey(f.name))
			calls[i].args = append(calls[i].args, f.raw, f.ttl.Milliseconds())
		}
	}
	var refused []string
	var apart []filling
	for i, reply := range c.scripts(ctx, &c.stores, fillScript, calls) {
		err := reply.Err()
		if errors.Is(err, redis.Nil) || !isReply(err) {
			continue
		}
		for _, f := range groups[i] {
			if refused = append(refused, f.name); f.tagged && redis.HasErrorPrefix(err, "TRYAGAIN") {
				apart = append(apart, f)
			}
		}
	}
	c.fillApart(ctx, token, apart)
	c.release(ctx, token, refused)
}

// together is how many of n entries one script may reach: those of a cluster keep to one slot, and no script may hold Redis
// up for long.
func (c *Cache) together(n int) int {
	const most = 200
	if _, cluster := c.Redis.(*redis.ClusterClient); cluster {
		return 1
	}
	return max(min(n, most), 1)
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
	ok := c.pipe(ctx, &c.stores, func(p redis.Pipeliner) {
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
	c.pipe(ctx, &c.stores, func(p redis.Pipeliner) {
		for _, f := range ours {
			p.Set(ctx, f.name, f.raw, f.ttl)
		}
	})
}

// lease keeps locks alive, which a token has taken, until end; those of a process that dies lapse. A nil lease has none.
type lease struct {
	cache *Cache
	token string
	keys  []string
	mu    sync.Mutex // held while they are renewed
	timer *time.Timer
	over  bool
}

func (c *Cache) hold(token string, keys []string) *lease {
	if len(keys) == 0 {
		return nil
	}
	l := &lease{cache: c, token: token, keys: keys}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(c.Lease/3, l.renew) // of most loads it never comes: they cost no goroutine
	return l
}

// end stops renewing, and waits for it: nothing touches the locks after.
func (l *lease) end() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.timer.Stop()
}

func (l *lease) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.cache.ctx.Err() != nil {
		return
	}
	calls := make([]call, len(l.keys))
	for i, key := range l.keys {
		calls[i] = call{[]string{lockKey(key)}, []any{l.token, l.cache.Lease.Milliseconds()}}
	}
	l.cache.scripts(l.cache.ctx, &l.cache.stores, renewScript, calls)
	l.timer.Reset(l.cache.Lease / 3)
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
	c.scripts(ctx, &c.stores, releaseScript, calls)
}
