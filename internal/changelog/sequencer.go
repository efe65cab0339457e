package changelog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet/cache"
)

// errGoesBack says that PostgreSQL has lost positions that were given out: it was restored.
var errGoesBack = errors.New("changelog: the log has gone back")

// sequencer moves the outbox into the log and answers asks, for one term of office. One goroutine owns it.
type sequencer struct {
	o    *Options
	term *term

	head    cache.Position
	drained bool // the latest round left nothing
	members map[string]*member
	unknown time.Duration // until then, instances that are on no list may hold grants
	owed    []uint64      // heads that writers wait to see settled, ascending
	moves   []move        // the latest, for operators
}

// move is a head that the log has had.
type move struct {
	head uint64
	at   time.Duration
}

// mostMoves is how many moves are remembered: an instance that is further behind is behind for at least as long.
const mostMoves = 1000

// member is an instance that may hold a grant.
type member struct {
	acked      uint64        // it has applied the log up to here
	until      time.Duration // its grants have ended by then, on the sequencer's own clock
	heard      time.Duration
	registered bool
	left       bool // it has given its grant back

	// What it has asked for since the last answer.
	ask     uint64 // the latest N
	renewal uint64 // the latest N that asks for a grant in this epoch
	waits   bool   // for the answer: asks that only acknowledge get none
	nudge   bool
}

// begin lists, for as long as they may hold grants, all instances that earlier sequencers granted. After a change of the
// epoch the list itself may have lost names, with the commits that PostgreSQL lost.
func (s *sequencer) begin(ctx context.Context) error {
	ids, err := s.term.registered(ctx)
	if err != nil {
		return err
	}
	now := s.o.Log.Now()
	s.members = map[string]*member{}
	for _, id := range ids {
		s.members[id] = &member{until: now + s.o.patience(), heard: now, registered: true}
	}
	if s.term.newEpoch {
		s.unknown = now + s.o.patience()
	}
	return nil
}

// work goes round until ctx ends (nil) or the office is lost.
func (s *sequencer) work(ctx context.Context, asks <-chan ask, report func(*sequencer)) error {
	poll := time.NewTicker(s.o.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		due := !s.drained
		if !due {
			select {
			case <-ctx.Done():
			case a := <-asks:
				due = s.hear(a)
			case <-poll.C:
				due = true
			}
		}
		for n := len(asks); n > 0; n-- {
			due = s.hear(<-asks) || due
		}
		if err := s.step(ctx, due); err != nil {
			return err
		}
		report(s)
	}
	return nil
}

// hear notes an ask, and reports whether someone waits for its answer.
func (s *sequencer) hear(a ask) bool {
	m := s.members[a.From]
	if a.Bye {
		if m != nil { // what it had asked for before must not grant it anew
			*m = member{left: true}
		}
		return false
	}
	if m == nil {
		m = &member{}
		s.members[a.From] = m
	}
	m.heard = s.o.Log.Now()
	m.ask = max(m.ask, a.N)
	m.nudge = m.nudge || a.Nudge
	m.waits = m.waits || a.Nudge || a.Renew
	if a.Epoch == s.head.Epoch {
		m.acked = max(m.acked, a.Applied)
		if a.Renew {
			m.renewal = max(m.renewal, a.N)
		}
	}
	return a.Nudge
}

// step moves the outbox if that is due, and publishes what there is to say.
func (s *sequencer) step(ctx context.Context, due bool) error {
	ctx, cancel := inTime(ctx)
	defer cancel()
	if err := s.tidy(ctx); err != nil {
		return err
	}
	b := bulletin{Sequencer: s.o.Name, Epoch: s.head.Epoch, After: s.head.At}
	if due {
		if err := s.round(ctx, &b); err != nil {
			return err
		}
	}
	b.Settled = s.settled()
	newlySettled := len(s.owed) > 0 && b.Settled >= s.owed[0]
	if len(b.Tags) == 0 && len(b.Answers) == 0 && !newlySettled {
		return nil
	}
	s.o.at("publish")
	if err := s.o.publish(ctx, s.o.bulletins(), &b); err != nil {
		return nil // lost, like any message: instances read the gap from PostgreSQL, and ask again
	}
	for len(s.owed) > 0 && s.owed[0] <= b.Settled {
		s.owed = s.owed[1:]
	}
	return nil
}

// round moves one batch, and, if that leaves the outbox empty, answers all asks that came before it began.
func (s *sequencer) round(ctx context.Context, b *bulletin) error {
	for id, m := range s.members {
		if m.renewal > 0 && !m.registered {
			if err := s.term.register(ctx, id); err != nil {
				return err
			}
			m.registered = true
		}
	}
	limit := s.o.Batch
	if !s.drained {
		// Each round passes over what those before it have deleted, where an open transaction keeps that from being cleaned
		// up: a backlog is worked off in a tenth of the rounds.
		limit *= 10
	}
	s.o.at("round")
	moved, drained, err := s.term.round(ctx, limit)
	if err != nil {
		return err
	}
	s.o.at("moved")
	if moved.after != s.head {
		return fmt.Errorf("positions follow %d, after %d had been given out: %w", moved.after.At, s.head.At, errGoesBack)
	}
	s.drained = drained
	b.After, b.Tags = moved.after.At, moved.tags
	s.head = b.head()
	if len(b.Tags) > 0 {
		s.moves = append(s.moves[max(0, len(s.moves)-mostMoves+1):], move{s.head.At, s.o.Log.Now()})
	}
	if drained {
		return s.answer(b)
	}
	return nil
}

// answer grants before the answers are published, so that no grant is ever unknown here.
func (s *sequencer) answer(b *bulletin) error {
	now := s.o.Log.Now()
	b.Answers = map[string]answer{}
	for id, m := range s.members {
		if err := s.goneBack(id, cache.Position{Epoch: s.head.Epoch, At: m.acked}); err != nil {
			return err
		}
		if !m.waits {
			continue
		}
		reply := answer{N: m.ask}
		if m.renewal > 0 && s.head.At-m.acked <= uint64(s.o.MaxLag) {
			reply.Grant = m.renewal
			m.until = now + s.o.patience()
		}
		if m.nudge {
			s.owe(s.head.At)
		}
		b.Answers[id] = reply
		m.renewal, m.waits, m.nudge = 0, false, false
	}
	return nil
}

// goneBack is an error if an instance has applied what the log does not have.
func (s *sequencer) goneBack(id string, applied cache.Position) error {
	if applied.Epoch == s.head.Epoch && applied.At > s.head.At {
		return fmt.Errorf("instance %s has applied position %d of a log that ends at %d: %w", id, applied.At, s.head.At, errGoesBack)
	}
	return nil
}

// behind is for how long the log has had something that an instance has not acknowledged.
func (s *sequencer) behind(m *member, now time.Duration) time.Duration {
	i, _ := slices.BinarySearchFunc(s.moves, m.acked+1, func(one move, at uint64) int { return cmp.Compare(one.head, at) })
	if i == len(s.moves) {
		return 0
	}
	return now - s.moves[i].at
}

func (s *sequencer) owe(head uint64) {
	if n := len(s.owed); n == 0 || s.owed[n-1] < head {
		s.owed = append(s.owed, head)
	}
}

// settled is how far every instance has applied the log that may hold a grant. Later grants are for later positions, so
// this stays true.
func (s *sequencer) settled() uint64 {
	now := s.o.Log.Now()
	if now < s.unknown {
		return 0
	}
	settled := s.head.At
	for _, m := range s.members {
		if now < m.until {
			settled = min(settled, m.acked)
		}
	}
	return settled
}

// tidy forgets instances that have left, or have been silent for long. One that comes back is registered anew before it
// is granted.
func (s *sequencer) tidy(ctx context.Context) error {
	now := s.o.Log.Now()
	for id, m := range s.members {
		if !m.left && (now < m.until || now-m.heard < time.Minute) {
			continue
		}
		if err := s.term.unregister(ctx, id); err != nil {
			return err
		}
		delete(s.members, id)
	}
	return nil
}
