package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/models"
)

// Passwords are guessed slowly. Three counters grow with each attempt that does not succeed, and past a number of free
// ones each demands a wait that doubles: one of an account at an address, one of an address over all accounts, one of an
// account over all addresses. Nobody is locked out for good, since waits are bounded; and an address at which the
// account was signed in to before answers for itself alone, so that a stranger's guesses do not slow its owner there.
// Accounts that do not exist are counted like others.
//
// An attempt counts before its password is looked at, or many at the same time would all be free.
type attempts struct {
	redis     redis.UniversalClient // nil: this instance counts alone
	service   string
	available func() bool
	budget    time.Duration // of a round trip
	log       *slog.Logger
	now       func() time.Time

	early atomic.Int64 // attempts that had to wait

	mu    sync.Mutex
	local map[counterID]tally // what this instance has counted, for when Redis is away
}

// counter says how one sort of attempts is slowed.
type counter struct {
	name  string
	free  int           // attempts without a wait
	first time.Duration // wait after those; doubles with each attempt
	most  time.Duration // it never gets longer
}

var (
	ofPair    = counter{"pair", 5, time.Second, 5 * time.Minute}
	ofAddress = counter{"address", 30, time.Second, time.Minute}
	ofAccount = counter{"account", 20, time.Second, time.Minute}
)

const (
	// remembered is how long an attempt counts after the last.
	remembered = time.Hour
	// familiar is how long an address is the account's after a success.
	familiar = 30 * 24 * time.Hour
	// localTallies bounds memory.
	localTallies = 20_000
	// attemptBudget bounds each round trip. Where some come back and others do not, Redis and the instance count apart for
	// that long, and up to twice the free attempts pass.
	attemptBudget = 100 * time.Millisecond
)

// counterID is a hash: neither Redis nor its listing shows who signs in from where.
type counterID [16]byte

type tally struct {
	n    int
	last time.Time
	ends time.Time
}

// wait that an attempt has to keep after n others, the last of them that long ago.
func (c counter) wait(n int, since time.Duration) time.Duration {
	if n < c.free {
		return 0
	}
	doubled := math.Ldexp(float64(c.first), min(n-c.free, 40))
	return max(0, time.Duration(min(doubled, float64(c.most)))-since)
}

// attempt is one that has begun.
type attempt struct {
	pair    counterID
	counted []step
}

type step struct {
	counter counter
	id      counterID
}

func idOf(name, handle string, address uint64) counterID {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], address)
	sum := sha256.Sum256([]byte(name + "\x00" + strings.ToLower(handle) + "\x00" + string(at[:])))
	return counterID(sum[:16])
}

// begin counts an attempt, or says how long to wait before another.
func (a *attempts) begin(ctx context.Context, handle string, address uint64) (*attempt, time.Duration) {
	ctx = context.WithoutCancel(ctx) // who hangs up is counted too
	made := &attempt{pair: idOf("pair", handle, address)}
	steps := []step{{ofPair, made.pair}}
	if !a.isFamiliar(ctx, made.pair) {
		steps = append(steps, step{ofAddress, idOf("address", "", address)}, step{ofAccount, idOf("account", handle, 0)})
	}
	for _, s := range steps {
		if wait := a.try(ctx, s); wait > 0 {
			a.early.Add(1)
			a.takeBack(ctx, made.counted) // what has to wait was no attempt
			return nil, wait
		}
		made.counted = append(made.counted, s)
	}
	return made, 0
}

// succeeded forgets the account's attempts at this address, which is its owner's from now on.
func (a *attempts) succeeded(ctx context.Context, made *attempt) {
	ctx = context.WithoutCancel(ctx)
	a.takeBack(ctx, made.counted[1:])
	a.mu.Lock()
	delete(a.local, made.pair)
	a.mu.Unlock()
	a.exchange(ctx, func(ctx context.Context, p redis.Pipeliner) { p.Del(ctx, a.key(step{ofPair, made.pair})) })
	a.familiarise(ctx, made.pair)
}

// familiarise makes an address an account's own.
func (a *attempts) familiarise(ctx context.Context, pair counterID) {
	a.mu.Lock()
	a.put(familiarID(pair), tally{n: 1, ends: a.now().Add(familiar)})
	a.mu.Unlock()
	a.exchange(ctx, func(ctx context.Context, p redis.Pipeliner) { p.Set(ctx, a.familiarKey(pair), 1, familiar) })
}

// failedOtherwise takes an attempt back whose password nobody could look at.
func (a *attempts) failedOtherwise(ctx context.Context, made *attempt) {
	a.takeBack(context.WithoutCancel(ctx), made.counted)
}

func (a *attempts) key(s step) string {
	return a.service + ":signin:" + s.counter.name + ":" + hex.EncodeToString(s.id[:])
}

func (a *attempts) familiarKey(pair counterID) string {
	return a.service + ":signin:familiar:" + hex.EncodeToString(pair[:])
}

func familiarID(pair counterID) counterID {
	pair[0] ^= 0xff // a name of its own in the same map
	return pair
}

func (a *attempts) isFamiliar(ctx context.Context, pair counterID) bool {
	a.mu.Lock()
	known, here := a.local[familiarID(pair)]
	a.mu.Unlock()
	if here && a.now().Before(known.ends) {
		return true
	}
	var found *redis.IntCmd
	ok := a.exchange(ctx, func(ctx context.Context, p redis.Pipeliner) { found = p.Exists(ctx, a.familiarKey(pair)) })
	return ok && found.Val() == 1
}

// count is an attempt at a counter in Redis: it returns 0 and counts, or returns how long to wait in ms. The key's expiry
// tells when the last one was: no clock of an instance counts.
const count = `
local n = tonumber(redis.call('GET', KEYS[1]) or 0)
local free, first, most, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if n >= free then
  local wait = math.min(first * 2 ^ math.min(n - free, 40), most)
  local since = kept - redis.call('PTTL', KEYS[1])
  if since < wait then return math.ceil(wait - since) end
end
redis.call('SET', KEYS[1], n + 1, 'PX', kept)
return 0
`

// uncount takes an attempt back, and leaves its expiry as it is.
const uncount = `
if tonumber(redis.call('GET', KEYS[1]) or 0) > 0 then return redis.call('DECR', KEYS[1]) end
return 0
`

// try counts by what all instances have counted, or while Redis is away by what this one has.
func (a *attempts) try(ctx context.Context, s step) time.Duration {
	var reply *redis.Cmd
	c := s.counter
	ok := a.exchange(ctx, func(ctx context.Context, p redis.Pipeliner) {
		reply = p.Eval(ctx, count, []string{a.key(s)}, c.free, c.first.Milliseconds(), c.most.Milliseconds(), remembered.Milliseconds())
	})
	if ok {
		if wait, err := reply.Int64(); err == nil && wait > 0 {
			return time.Duration(wait) * time.Millisecond
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	t := a.local[s.id]
	if !now.Before(t.ends) {
		t = tally{}
	}
	if !ok {
		if wait := c.wait(t.n, now.Sub(t.last)); wait > 0 {
			return wait
		}
	}
	a.put(s.id, tally{n: t.n + 1, last: now, ends: now.Add(remembered)})
	return 0
}

func (a *attempts) takeBack(ctx context.Context, steps []step) {
	if len(steps) == 0 {
		return
	}
	a.mu.Lock()
	for _, s := range steps {
		if t := a.local[s.id]; t.n > 0 {
			t.n--
			a.local[s.id] = t
		}
	}
	a.mu.Unlock()
	a.exchange(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for _, s := range steps {
			p.Eval(ctx, uncount, []string{a.key(s)})
		}
	})
}

// put makes room if there is none: of a few at random, the one with the fewest attempts goes. The caller holds mu.
func (a *attempts) put(id counterID, t tally) {
	if _, there := a.local[id]; !there && len(a.local) >= localTallies {
		const looked = 8
		var least counterID
		fewest, n := math.MaxInt, 0
		for k, v := range a.local {
			if v.n < fewest {
				least, fewest = k, v.n
			}
			if n++; n == looked {
				break
			}
		}
		delete(a.local, least)
	}
	a.local[id] = t
}

// exchange makes one round trip and tells whether Redis answered.
func (a *attempts) exchange(ctx context.Context, queue func(context.Context, redis.Pipeliner)) bool {
	if a.redis == nil || !a.available() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, a.budget)
	defer cancel()
	pipe := a.redis.Pipeline()
	queue(ctx, pipe)
	if _, err := pipe.Exec(ctx); err != nil {
		a.log.Warn("auth: sign-in attempts are counted alone, without Redis", "error", err)
		return false
	}
	return true
}

// tooManyAttempts says when to try again.
func tooManyAttempts(wait time.Duration) error {
	seconds := int(math.Ceil(wait.Seconds()))
	return models.Refusal{{
		Code: models.UserErrorCodeTooManyAttempts, Message: "Too many attempts to sign in: wait before the next.",
		Path: []string{"input"}, RetryAfter: &seconds,
	}}
}

type addressKey struct{}

// WithAddress returns a context of requests from the client address that clientaddr.Key calls so.
func WithAddress(ctx context.Context, address uint64) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

func addressOf(ctx context.Context) uint64 {
	address, _ := ctx.Value(addressKey{}).(uint64)
	return address
}
