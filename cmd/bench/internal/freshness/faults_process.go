package freshness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"freshet/cmd/bench/internal/freshness/history"
)

// instancePaused stops a process for 3 s: the sequencer's, and another's if there is time.
func instancePaused(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	const pause = 3 * time.Second
	pauses, positions := 0, int64(0)
	err := r.during(ctx, 2*time.Second, func() error {
		i, err := r.bed.sequencer(ctx)
		if err != nil {
			return err
		}
		if pauses%2 == 0 {
			i = r.bed.others(i)[rand.IntN(instances-1)]
		}
		_, _, before, err := r.bed.head(ctx)
		if err != nil {
			return err
		}
		defer i.pause()()
		err = silent(ctx, i.server.Load().URL, pause/2)
		sleep(ctx, pause/2)
		_, _, after, headErr := r.bed.head(ctx)
		pauses, positions = pauses+1, positions+after-before
		return errors.Join(err, headErr)
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"pauses": pauses, "positionsMeanwhile": positions}, "pauses", "positionsMeanwhile")
}

// silent makes sure that nobody answers at url for so long, but for the moment in which a stop reaches the threads of a
// process one after the other.
func silent(ctx context.Context, url string, d time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	get, err := http.NewRequestWithContext(bounded, http.MethodGet, url+"/livez", nil)
	if err != nil {
		return err
	}
	const moment = 200 * time.Millisecond
	for begin := time.Now(); ; {
		response, err := http.DefaultClient.Do(get)
		if err != nil {
			break
		}
		response.Body.Close()
		if time.Since(begin) > moment {
			return fmt.Errorf("%w: a stopped instance answered", errNoFault)
		}
	}
	sleep(bounded, d)
	return nil
}

// killedAfterCommit kills an instance as soon as PostgreSQL shows the change of a mutation that is under way there.
func killedAfterCommit(ctx context.Context, r *run, l *load) (map[string]any, error) {
	kills, unanswered := 0, 0
	err := r.during(ctx, 500*time.Millisecond, func() error {
		a, err := l.next(true) // its change is to be seen as foreign SQL is: nobody was answered
		if err != nil {
			return err
		}
		answered, err := r.killAfter(ctx, l, a, r.bed.instances[kills%instances])
		if err == nil && !answered {
			unanswered++
		}
		kills++
		return err
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"kills": kills, "committedAndNotAnswered": unanswered}, "committedAndNotAnswered")
}

func (r *run) killAfter(ctx context.Context, l *load, a *actor, i *instance) (answered bool, err error) {
	look := titleReading(a)
	for _, warm := range r.bed.instances {
		l.read(ctx, warm, look)
		l.read(ctx, warm, look)
	}
	c := titleChange(a, l.platforms[0])
	c.key.Invoke(c.version)
	begin := r.clock()
	result := make(chan error, 1)
	go func() {
		_, err := l.client.do(ctx, i.server.Load().URL, &c.request)
		result <- err
	}()
	want := fmt.Sprintf("e%d", c.version)
	var title string
	for limit := r.clock() + 2*time.Second; title != want; {
		if err := r.Rig.DB.QueryRow(ctx, "SELECT title FROM posts WHERE id = $1", a.post).Scan(&title); err != nil {
			return false, err
		}
		if r.clock() > limit {
			return false, errors.New("a mutation was not committed for 2 s")
		}
	}
	r.bed.kill(i)
	c.key.Wrote(history.Write{Version: c.version, Invoked: begin, Answered: r.clock()})
	answered = <-result == nil
	change := foreignChange{key: c.key, version: c.version, look: look}
	for _, other := range r.bed.others(i) {
		l.work.Go(func() { l.chase(ctx, other, &change) })
	}
	sleep(ctx, 500*time.Millisecond)
	return answered, r.bed.start(ctx, i)
}

// tookOver waits for another term than the given one.
func (r *run) tookOver(ctx context.Context, term int64) (took time.Duration, err error) {
	begin := r.clock()
	err = until(ctx, "another instance is sequencer", func() (bool, error) {
		now, _, _, err := r.bed.head(ctx)
		return err == nil && now > term, err
	})
	return r.clock() - begin, err
}

func sequencerKilled(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	kills, longest := 0, time.Duration(0)
	err := r.during(ctx, time.Second, func() error {
		i, err := r.bed.sequencer(ctx)
		if err != nil {
			return err
		}
		term, _, _, err := r.bed.head(ctx)
		if err != nil {
			return err
		}
		r.bed.kill(i)
		took, err := r.tookOver(ctx, term)
		longest = max(longest, took)
		kills++
		sleep(ctx, 300*time.Millisecond)
		return errors.Join(err, r.bed.start(ctx, i))
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"kills": kills, "longestTakeOverMs": ms(longest)}, "kills")
}

// sequencerZombie stops the sequencer, with its lock held, until another has the office, and lets it go on.
func sequencerZombie(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	zombies, noticed, longest := 0, 0, time.Duration(0)
	err := r.during(ctx, time.Second, func() error {
		i, err := r.bed.sequencer(ctx)
		if err != nil {
			return err
		}
		term, _, _, err := r.bed.head(ctx)
		if err != nil {
			return err
		}
		s, resume := i.server.Load(), i.pause()
		took, err := r.tookOver(ctx, term)
		sleep(ctx, 300*time.Millisecond)
		resume()
		longest = max(longest, took)
		zombies++
		err = errors.Join(err, until(ctx, "the old sequencer knows", func() (bool, error) {
			return strings.Contains(s.Said(), "not sequencer"), nil
		}))
		if err == nil {
			noticed++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return proven(map[string]any{"zombies": zombies, "lostOfficeWhileStopped": noticed, "longestTakeOverMs": ms(longest)}, "lostOfficeWhileStopped")
}
