package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/models"
)

// Passwords are guessed slowly. Three counters grow with each failed attempt to sign in, and past a number of free attempts
// each demands a wait that doubles: one of an account at an address, one of an address over all accounts, one of an account
// over all addresses. Waits are bounded, so that no account is locked for good. At an address where the account was signed in
// to before, only the counter of the account at that address applies, so that strangers' guesses do not slow the owner there.
// Accounts that do not exist are counted like others.
//
// Each counter is kept twice: in Redis by all instances, and in memory by each. The longer wait of the two applies, whether
// Redis answers every time, sometimes or never, and whether it still has what was counted there. An attempt goes
//
//	ask         Redis: the waits of all counters, and how often the account was signed in to at this address
//	count       in memory, and then in Redis: both again demand their waits, as other attempts count at the same time
//	...         the password is verified
//	failed      the waits begin
//	succeeded   the account's counter at the address is reset, the attempt is taken back from the others
//	takeBack    the password could not be verified
//
// An attempt counts before its password is verified: otherwise all that begin at the same time would be free. An attempt that
// has to wait counts nowhere.
type attempts struct {
	redis     redis.UniversalClient // nil: this instance counts alone
	service   string
	available func() bool
	budget    time.Duration // of a round trip
	log       *slog.Logger
	now       func() time.Time

	early atomic.Int64 // attempts that had to wait

	mu    sync.Mutex
	local map[counterID]tally // what this instance has counted
}

// counter says how one sort of attempts is slowed.
type counter struct {
	name    string
	free    int           // attempts without a wait
	minWait time.Duration // the wait after those; it doubles with each attempt
	maxWait time.Duration
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
	// attemptBudget bounds each round trip.
	attemptBudget = 100 * time.Millisecond
)

// counterID is a hash: neither Redis nor its listing shows who signs in from where.
type counterID [16]byte

type tally struct {
	n    int
	last time.Time
	ends time.Time
	// successes is how often, as far as Redis knew at the last attempt, the account was signed in to at the address: after
	// another success, which another instance had, the tally does not count any more.
	successes int64
}

// unknown stands for successes while Redis does not answer.
const unknown = -1

// wait that an attempt has to keep after n others, the last of which ended that long ago.
func (c counter) wait(n int, since time.Duration) time.Duration {
	if n < c.free {
		return 0
	}
	doubled := math.Ldexp(float64(c.minWait), min(n-c.free, 40))
	return max(0, time.Duration(min(doubled, float64(c.maxWait)))-since)
}

// attempt is one that has begun.
type attempt struct {
	steps  []step // counted in memory; the first is of the account at the address
	shared []step // those of them that Redis is known to have counted
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

// begin counts an attempt, or returns how long the caller has to wait before another.
func (a *attempts) begin(ctx context.Context, handle string, address uint64) (*attempt, time.Duration) {
	ctx = context.WithoutCancel(ctx) // an attempt counts also if the client hangs up
	steps := []step{
		{ofPair, idOf("pair", handle, address)}, {ofAddress, idOf("address", "", address)}, {ofAccount, idOf("account", handle, 0)},
	}
	made, wait := a.countLocal(steps, a.ask(ctx, steps))
	for i := 0; i < len(made.steps) && wait == 0; i++ {
		var counted bool
		if counted, wait = a.countShared(ctx, made.steps[i]); counted {
			made.shared = append(made.shared, made.steps[i])
		}
	}
	if wait > 0 {
		a.early.Add(1)
		a.takeBack(ctx, made)
		return nil, wait
	}
	return made, 0
}

// standing is what all instances have counted, as far as Redis answers.
type standing struct {
	waits     []time.Duration
	successes int64
}

func (a *attempts) ask(ctx context.Context, steps []step) standing {
	waits := make([]*redis.Cmd, len(steps))
	var familiar *redis.StringCmd
	all := standing{waits: make([]time.Duration, len(steps)), successes: unknown}
	if !a.exchange(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for i, s := range steps {
			waits[i] = a.evalCounter(ctx, p, s, false)
		}
		familiar = p.Get(ctx, a.familiarKey(steps[0].id)) // the last: that there is none must not hide an error of another
	}) {
		return all
	}
	for i, reply := range waits {
		all.waits[i] = waitOf(reply)
	}
	if n, err := familiar.Int64(); err == nil || errors.Is(err, redis.Nil) {
		all.successes = n
	}
	return all
}

// countLocal counts an attempt in memory, unless it has to wait. At a familiar address only the first step counts.
func (a *attempts) countLocal(steps []step, all standing) (*attempt, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, pair := a.now(), steps[0].id
	if t := a.tally(pair, now); t.successes != unknown && all.successes > t.successes {
		delete(a.local, pair)
	}
	if all.successes > 0 || a.tally(familiarID(pair), now).n > 0 {
		steps = steps[:1]
	}
	wait := time.Duration(0)
	for i, s := range steps {
		t := a.tally(s.id, now)
		wait = max(wait, all.waits[i], s.counter.wait(t.n, now.Sub(t.last)))
	}
	if wait > 0 {
		return &attempt{}, wait
	}
	for _, s := range steps {
		t := a.tally(s.id, now)
		if t.n == 0 || all.successes != unknown {
			t.successes = all.successes
		}
		a.put(s.id, tally{n: t.n + 1, last: now, ends: now.Add(remembered), successes: t.successes})
	}
	return &attempt{steps: steps}, 0
}

// countShared counts an attempt in Redis, unless it has to wait. Where Redis does not answer it may have counted or not.
func (a *attempts) countShared(ctx context.Context, s step) (counted bool, wait time.Duration) {
	var reply *redis.Cmd
	if !a.exchange(ctx, func(ctx context.Context, p redis.Pipeliner) { reply = a.evalCounter(ctx, p, s, true) }) {
		return false, 0
	}
	wait = waitOf(reply)
	return wait == 0, wait
}

// failed begins the waits: from now on, not from when the attempt began, since a busy machine may verify a password for
// longer than the wait.
func (a *attempts) failed(ctx context.Context, made *attempt) {
	a.mu.Lock()
	now := a.now()
	for _, s := range made.steps {
		if t := a.tally(s.id, now); t.n > 0 {
			t.last, t.ends = now, now.Add(remembered)
			a.put(s.id, t)
		}
	}
	a.mu.Unlock()
	a.exchange(context.WithoutCancel(ctx), func(ctx context.Context, p redis.Pipeliner) {
		for _, s := range made.steps {
			p.PExpire(ctx, a.key(s), remembered)
		}
	})
}

// succeeded takes the attempt back, and familiarises the account with the address.
func (a *attempts) succeeded(ctx context.Context, made *attempt) {
	a.takeBack(ctx, made)
	a.familiarise(ctx, made.steps[0])
}

// familiarise makes an address an account's own, and resets the account's counter there.
func (a *attempts) familiarise(ctx context.Context, pair step) {
	a.mu.Lock()
	delete(a.local, pair.id)
	a.put(familiarID(pair.id), tally{n: 1, ends: a.now().Add(familiar)})
	a.mu.Unlock()
	a.exchange(context.WithoutCancel(ctx), func(ctx context.Context, p redis.Pipeliner) {
		p.Del(ctx, a.key(pair))
		p.Incr(ctx, a.familiarKey(pair.id))
		p.Expire(ctx, a.familiarKey(pair.id), familiar)
	})
}

// takeBack undoes what an attempt has counted.
func (a *attempts) takeBack(ctx context.Context, made *attempt) {
	a.mu.Lock()
	for _, s := range made.steps {
		if t := a.local[s.id]; t.n > 0 {
			t.n--
			a.local[s.id] = t
		}
	}
	a.mu.Unlock()
	if len(made.shared) == 0 {
		return
	}
	a.exchange(context.WithoutCancel(ctx), func(ctx context.Context, p redis.Pipeliner) {
		for _, s := range made.shared {
			p.Eval(ctx, uncount, []string{a.key(s)})
		}
	})
}

func (a *attempts) key(s step) string {
	return a.service + ":signin:" + s.counter.name + ":" + hex.EncodeToString(s.id[:])
}

// familiarKey holds how often the account was signed in to at the address.
func (a *attempts) familiarKey(pair counterID) string {
	return a.service + ":signin:familiar:" + hex.EncodeToString(pair[:])
}

func familiarID(pair counterID) counterID {
	pair[0] ^= 0xff // a name of its own in the same map
	return pair
}

// sharedCounter returns how long to wait in ms; if that is 0 it counts an attempt where ARGV[5] is 1. The key's expiry tells
// when the last attempt was: the clocks of instances do not matter.
const sharedCounter = `
local n = tonumber(redis.call('GET', KEYS[1]) or 0)
local free, min, max, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if n >= free then
  local wait = math.min(min * 2 ^ math.min(n - free, 40), max)
  local since = kept - redis.call('PTTL', KEYS[1])
  if since < wait then return math.ceil(wait - since) end
end
if ARGV[5] == '1' then redis.call('SET', KEYS[1], n + 1, 'PX', kept) end
return 0
`

func (a *attempts) evalCounter(ctx context.Context, p redis.Pipeliner, s step, count bool) *redis.Cmd {
	c := s.counter
	return p.Eval(ctx, sharedCounter, []string{a.key(s)},
		c.free, c.minWait.Milliseconds(), c.maxWait.Milliseconds(), remembered.Milliseconds(), count)
}

func waitOf(reply *redis.Cmd) time.Duration {
	ms, err := reply.Int64()
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// uncount takes an attempt back, and leaves its expiry as it is.
const uncount = `
if tonumber(redis.call('GET', KEYS[1]) or 0) > 0 then return redis.call('DECR', KEYS[1]) end
return 0
`

// tally of this instance; one that has ended is empty. The caller holds mu.
func (a *attempts) tally(id counterID, now time.Time) tally {
	if t, there := a.local[id]; there && now.Before(t.ends) {
		return t
	}
	return tally{successes: unknown}
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
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		a.log.Warn("auth: Redis has not counted an attempt to sign in: this instance counts alone", "error", err)
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
