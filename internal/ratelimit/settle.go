package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// spend adds to the shared debt of a key, in µs by Redis' own clock, and returns it. What is owed is bounded: whoever was
// let through by many instances at once waits for that, and not for ever. The key lives as long as its debt.
var spend = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local paid = tonumber(redis.call('GET', KEYS[1]) or 0)
if paid < now then paid = now end
paid = math.min(paid + tonumber(ARGV[1]), now + tonumber(ARGV[2]))
local owed = paid - now
if owed < 1000 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', math.ceil(owed / 1000))
end
return string.format('%.0f', owed)
`)

// claim is what one key has spent and not yet settled.
type claim struct {
	key   uint64
	spent float64
	reply *redis.Cmd
}

// settle sends what was spent in pipelines. What a fault of Redis has kept from arriving is sent another time.
func (l *Limiter) settle(ctx context.Context) {
	claims := l.collect()
	if l.Redis == nil {
		return
	}
	const most = 500
	for len(claims) > 0 {
		n := min(most, len(claims))
		l.send(ctx, claims[:n])
		claims = claims[n:]
	}
}

// collect takes what is due from the shards.
func (l *Limiter) collect() (claims []claim) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, key := range s.due {
			b := s.buckets[key]
			if b == nil {
				continue // forgotten to make room
			}
			if b.spent > 0 {
				claims = append(claims, claim{key: key, spent: b.spent})
			}
			b.spent, b.due = 0, false
		}
		s.due = s.due[:0]
		s.mu.Unlock()
	}
	return claims
}

func (l *Limiter) send(ctx context.Context, claims []claim) {
	if !l.Available() {
		l.putBack(claims)
		return
	}
	err := l.exchange(ctx, claims)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		if err = l.load(ctx); err == nil {
			err = l.exchange(ctx, claims)
		}
	}
	if failing := err != nil; failing != l.failing.Swap(failing) && ctx.Err() == nil {
		if failing {
			l.Log.Warn("ratelimit: counting alone, without Redis", "limit", l.Name, "error", err)
		} else {
			l.Log.Info("ratelimit: counting with the others again", "limit", l.Name)
		}
	}
	var missed []claim
	for _, c := range claims {
		owed, err := c.reply.Int64()
		if err != nil {
			missed = append(missed, c)
			continue
		}
		l.learn(c.key, time.Duration(owed)*time.Microsecond)
	}
	l.unsettled.Add(int64(len(missed)))
	l.putBack(missed)
}

// budget bounds one round trip; nobody waits for it.
const budget = 250 * time.Millisecond

func (l *Limiter) exchange(ctx context.Context, claims []claim) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	pipe := l.Redis.Pipeline()
	for i, c := range claims {
		price := math.Ceil(c.spent * l.unit / 1e3)
		claims[i].reply = spend.EvalSha(ctx, pipe, []string{l.name(c.key)},
			strconv.FormatFloat(price, 'f', 0, 64), (mostBursts * l.burst).Microseconds())
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (l *Limiter) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	return spend.Load(ctx, l.Redis).Err()
}

// mostBursts of debt are remembered.
const mostBursts = 2

// name of a key in Redis: a hash, so that neither keys nor their listing show an address.
func (l *Limiter) name(key uint64) string {
	var bytes [8]byte
	binary.BigEndian.PutUint64(bytes[:], key)
	sum := sha256.Sum256(append(bytes[:], l.Service+":"+l.Name...))
	return l.Service + ":rate:" + l.Name + ":" + hex.EncodeToString(sum[:16])
}

// learn takes over what all instances together say that a key owes, and adds what it has spent here meanwhile. It never
// owes less than this instance has let it spend: Redis may have lost the rest.
func (l *Limiter) learn(key uint64, owed time.Duration) {
	s := &l.shards[spread(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buckets[key]; b != nil {
		now := l.Now().Sub(l.began)
		b.paid = max(b.paid, now+owed+time.Duration(b.spent*l.unit))
	}
}

// putBack has claims sent with the next that are due, if they are still owed then.
func (l *Limiter) putBack(claims []claim) {
	for _, c := range claims {
		s := &l.shards[spread(c.key)]
		s.mu.Lock()
		if b := s.buckets[c.key]; b != nil {
			b.spent += c.spent
			if !b.due {
				b.due = true
				s.due = append(s.due, c.key)
			}
		}
		s.mu.Unlock()
	}
}
