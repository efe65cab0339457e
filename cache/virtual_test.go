package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"freshet/internal/testenv"
)

// answering is a hook that answers in place of Redis, so that a cache works in virtual time: no connection is made.
type answering struct {
	mu     sync.Mutex
	sent   []string // first command of each round trip
	answer func() error
}

func (a *answering) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a *answering) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error { return a.take(cmd) }
}

func (a *answering) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error { return a.take(cmds[0]) }
}

func (a *answering) take(first redis.Cmder) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent = append(a.sent, first.Name())
	err := a.answer()
	first.SetErr(err)
	return err
}

func (a *answering) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sent)
}

// virtual runs a test in virtual time with a cache that this hook answers.
func virtual(t *testing.T, test func(*testing.T, *Cache, *answering)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &answering{answer: func() error { return nil }}
		client := redis.NewClient(&redis.Options{
			Addr:                     "127.0.0.1:1", // a name would be resolved
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		defer client.Close()
		client.AddHook(a)
		c := New(Options{Redis: client, LocalBytes: -1, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		defer c.Close()
		test(t, c, a)
	})
}

// A lock is renewed three times in the time that it lives, until its holder has done with it.
func TestLease_RenewsUntilItsEnd(t *testing.T) {
	virtual(t, func(t *testing.T, c *Cache, a *answering) {
		c.Lease = 600 * time.Millisecond // a third of it is no fraction
		l := c.hold("token", []string{"one", "two"})
		time.Sleep(c.Lease/3 - 1)
		if got := a.count(); got != 0 {
			t.Errorf("renewals at once: got %d, want none", got)
		}
		time.Sleep(4 * c.Lease)
		if got := a.count(); got != 12 {
			t.Errorf("renewals in four leases: got %d, want 12", got)
		}
		l.end()
		time.Sleep(4 * c.Lease)
		if got := a.count(); got != 12 {
			t.Errorf("renewals after the end: got %d, want none", got-12)
		}
	})
}

// A renewal is for the holder of a lock alone, and none comes after its end.
func TestLease_RenewsForItsHolder(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.SharedRedis(t))
	const short, long = time.Minute, 30 * time.Minute
	lock := func(key, token string) {
		if err := r.redis.Set(t.Context(), lockKey(key), token, short).Err(); err != nil {
			t.Fatal(err)
		}
	}
	wantRenewed := func(what, key string, want bool) {
		t.Helper()
		left, err := r.redis.PTTL(t.Context(), lockKey(key)).Result()
		if err != nil || (left > long) != want {
			t.Errorf("%s: got %v left, %v, want it renewed: %t", what, left, err, want)
		}
	}
	lock("mine", "token")
	lock("theirs", "another")
	l := r.cache.hold("token", []string{"mine", "theirs"})
	l.renew()
	wantRenewed("the holder's", "mine", true)
	wantRenewed("another's", "theirs", false)
	l.end()
	lock("mine", "token")
	l.renew()
	wantRenewed("after the end", "mine", false)
}

// Redis is back in use after two answers in a row.
func TestProbe_TwoAnswersInARow(t *testing.T) {
	virtual(t, func(t *testing.T, c *Cache, a *answering) {
		fault := errors.New("no answer")
		answers := []error{fault, nil, fault, fault, nil, nil}
		a.answer = func() error { return answers[len(a.sent)-1] }
		c.breaker.trip()
		c.work.Go(c.probe)
		for n := range answers {
			if c.Available() {
				t.Fatalf("after %d probes: got Redis in use, want it out of use", n)
			}
			testenv.Eventually(t, "the next probe", func() bool { return a.count() == n+1 })
			synctest.Wait()
		}
		if !c.Available() {
			t.Error("after two answers in a row: got Redis out of use, want it in use")
		}
	})
}

// What is to be stored waits for its reader's end, and no longer than a moment.
func TestLinger_LastsAMoment(t *testing.T) {
	virtual(t, func(t *testing.T, c *Cache, _ *answering) {
		for name, end := range map[string]func(reader, awaited chan struct{}){
			"the reader's end": func(reader, _ chan struct{}) { close(reader) },
			"another reader":   func(_, awaited chan struct{}) { close(awaited) },
			"a moment":         func(_, _ chan struct{}) { time.Sleep(c.moment) },
		} {
			reader, awaited, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() { c.linger(reader, awaited); close(done) }()
			time.Sleep(c.moment - 1)
			synctest.Wait()
			select {
			case <-done:
				t.Errorf("before %s: got its end, want it to last", name)
			default:
			}
			end(reader, awaited)
			testenv.Receive(t, name, done)
		}
	})
}
