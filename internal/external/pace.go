package external

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// reserve gives out turns, one each interval, by Redis' own clock: the wait in ms until the next, or -1 if that is longer
// than one is ready to wait, and then it takes none.
var reserve = redis.NewScript(`
local t = redis.call('TIME')
local now = math.floor(t[1] * 1000 + t[2] / 1000)
local turn = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
if turn - now > tonumber(ARGV[2]) then return -1 end
redis.call('SET', KEYS[1], turn + ARGV[1], 'PX', turn - now + 2 * ARGV[1])
return turn - now
`)

// turn waits until the source may be asked: its pace holds for all instances together, and without Redis for each process.
func (s *source) turn(ctx context.Context) error {
	if s.pace == 0 {
		return nil
	}
	wait, shared := s.sharedTurn(ctx)
	own := s.ownTurn(wait, shared)
	if own < 0 {
		return errBusy
	}
	return sleep(ctx, own)
}

func (s *source) sharedTurn(ctx context.Context) (wait time.Duration, ok bool) {
	if s.redis == nil {
		return 0, false
	}
	const budget = 100 * time.Millisecond
	bounded, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	reply, err := reserve.Run(bounded, s.redis, []string{s.slotKey}, s.pace.Milliseconds(), longestWait.Milliseconds()).Int64()
	if err != nil {
		s.log.Warn("external: keeping the pace alone, without Redis", "source", s.name, "error", err)
		return 0, false
	}
	return time.Duration(reply) * time.Millisecond, true
}

// ownTurn also notes a shared one, so that this process keeps the pace when Redis goes. It is negative if the wait is too
// long.
func (s *source) ownTurn(wait time.Duration, shared bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !shared {
		wait = max(s.next.Sub(now), 0)
	}
	if wait < 0 || wait > longestWait {
		return -1
	}
	s.next = now.Add(wait + s.pace)
	return wait
}
