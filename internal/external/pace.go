package external

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// reserveScript gives out turns, one each interval, by Redis' own clock: the wait in ms until the next, or -1 if that is longer
// than one is ready to wait, and then it takes none.
const reserveScript = `
local t = redis.call('TIME')
local now = math.floor(t[1] * 1000 + t[2] / 1000)
local turn = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
if turn - now > tonumber(ARGV[2]) then return -1 end
redis.call('SET', KEYS[1], turn + ARGV[1], 'PX', turn - now + 2 * ARGV[1])
return turn - now
`

var reserve = redis.NewScript(reserveScript)

// turn waits until the source may be asked: its pace holds for all instances together, and without Redis for each process.
func (s *source) turn(ctx context.Context) error {
	if s.pace == 0 {
		return nil
	}
	wait := s.ownTurn(s.sharedTurn(ctx))
	if wait < 0 {
		return errBusy
	}
	return s.sleep(ctx, wait)
}

// sharedTurn is negative if the wait is too long, and 0 while Redis is away.
func (s *source) sharedTurn(ctx context.Context) time.Duration {
	if s.redis == nil {
		return 0
	}
	bounded, cancel := context.WithTimeout(ctx, s.budget)
	defer cancel()
	reply, err := reserve.Run(bounded, s.redis, []string{s.slotKey}, s.pace.Milliseconds(), longestWait.Milliseconds()).Int64()
	if err != nil {
		s.log.Warn("external: keeping the pace alone, without Redis", "source", s.name, "error", err)
		return 0
	}
	return time.Duration(reply) * time.Millisecond
}

// ownTurn is the later of the turns by Redis and by what this process remembers: Redis may have been away at the last one. It is
// negative if the wait is too long.
func (s *source) ownTurn(shared time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	wait := max(shared, s.next.Sub(now))
	if shared < 0 || wait > longestWait {
		return -1
	}
	s.next = now.Add(wait + s.pace)
	return wait
}
