package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
	"freshet/models"
)

const (
	home     = 1 // addresses
	stranger = 2
)

// counting is attempts of instances that share a Redis, and a clock of the instances' own.
type counting struct {
	t         *testing.T
	redis     *redis.Client
	available atomic.Bool
	instances [2]*attempts
	mu        sync.Mutex
	at        time.Time
}

func newCounting(t *testing.T) *counting {
	t.Helper()
	o, err := redis.ParseURL(testenv.SharedRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	c := &counting{t: t, redis: redis.NewClient(o), at: time.Now()}
	t.Cleanup(func() { c.redis.Close() })
	c.available.Store(true)
	for i := range c.instances {
		c.instances[i] = &attempts{
			// A patient one: what is tested is how they count together, not when they give up on a busy machine.
			redis: c.redis, service: "test", available: c.available.Load, budget: 30 * time.Second, log: slog.New(slog.DiscardHandler), now: c.now,
			local: map[counterID]tally{},
		}
	}
	return c
}

func (c *counting) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// pass moves the instances' clock, and Redis' by what is left of each counter.
func (c *counting) pass(d time.Duration) {
	c.t.Helper()
	c.mu.Lock()
	c.at = c.at.Add(d)
	c.mu.Unlock()
	keys, err := c.redis.Keys(c.t.Context(), "*").Result()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, key := range keys {
		left := c.redis.PTTL(c.t.Context(), key).Val() - d
		if err := c.redis.PExpire(c.t.Context(), key, left).Err(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// fail makes n attempts without success, on one instance after the other, and returns the wait for the next.
func (c *counting) fail(handle string, address uint64, n int) time.Duration {
	c.t.Helper()
	for i := range n {
		if _, wait := c.instances[i%2].begin(c.t.Context(), handle, address); wait > 0 {
			c.t.Fatalf("attempt %d as %s: got a wait of %v, want none", i+1, handle, wait)
		}
	}
	return c.wait(handle, address)
}

// wait asks without counting.
func (c *counting) wait(handle string, address uint64) time.Duration {
	c.t.Helper()
	made, wait := c.instances[0].begin(c.t.Context(), handle, address)
	if made != nil {
		c.instances[0].failedOtherwise(c.t.Context(), made)
	}
	return wait
}

func (c *counting) want(what string, got, want time.Duration) {
	c.t.Helper()
	if got > want || got < want-want/4-time.Duration(min(want, 1))*500*time.Millisecond {
		c.t.Errorf("%s: got a wait of %v, want %v", what, got, want)
	}
}

func TestAttempts_WaitDoubles(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.want("after the free ones", c.fail("ann", stranger, ofPair.free), time.Second)
	want := time.Second
	for i := range 12 {
		c.pass(want)
		if _, wait := c.instances[i%2].begin(t.Context(), "ann", stranger); wait != 0 {
			t.Fatalf("attempt %d: got a wait of %v, want none", i, wait)
		}
		want = min(2*want, ofPair.most)
		c.want(fmt.Sprintf("after attempt %d", i), c.wait("ann", stranger), want)
	}
	c.pass(remembered)
	c.want("an hour later", c.fail("ann", stranger, ofPair.free), time.Second)
}

// Guesses from many addresses are slowed together, but not at the address where the owner was before.
func TestAttempts_OwnerIsNotLockedOut(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	made, _ := c.instances[0].begin(t.Context(), "ann", home)
	c.instances[0].succeeded(t.Context(), made)
	for i := range ofAccount.free {
		if _, wait := c.instances[i%2].begin(t.Context(), "ann", uint64(1000+i)); wait > 0 {
			t.Fatalf("guess %d: got a wait of %v, want none", i, wait)
		}
	}
	c.want("a guess from yet another address", c.wait("ann", 5000), time.Second)
	for _, instance := range c.instances { // one knows from Redis alone
		if _, wait := instance.begin(t.Context(), "ann", home); wait > 0 {
			t.Errorf("the owner at home: got a wait of %v, want none", wait)
		}
	}
	c.want("another account", c.wait("bob", 5000), 0)
}

// Whoever hammers on while they have to wait makes nobody wait longer.
func TestAttempts_RefusedOnesDoNotCount(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.fail("ann", stranger, ofPair.free)
	for range 100 {
		c.instances[0].begin(t.Context(), "ann", stranger)
	}
	c.want("the hammering one", c.wait("ann", stranger), time.Second)
	c.want("the account elsewhere", c.wait("ann", home), 0)
	c.want("the address with another account", c.wait("bob", stranger), 0)
}

func TestAttempts_ManyAccountsFromOneAddress(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for i := range ofAddress.free {
		if _, wait := c.instances[i%2].begin(t.Context(), fmt.Sprintf("user%d", i), stranger); wait > 0 {
			t.Fatalf("account %d: got a wait of %v, want none", i, wait)
		}
	}
	c.want("one more account", c.wait("another", stranger), time.Second)
	c.want("elsewhere", c.wait("another", home), 0)
}

// A success of an attacker's own account takes back nothing but itself.
func TestAttempts_SuccessResetsItsOwnAlone(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.fail("ann", stranger, ofPair.free-1)
	made, _ := c.instances[1].begin(t.Context(), "mallory", stranger)
	c.instances[1].succeeded(t.Context(), made)
	c.want("another's counter", c.fail("ann", stranger, 1), time.Second)
	c.pass(time.Second)
	made, wait := c.instances[0].begin(t.Context(), "ann", stranger)
	if wait > 0 {
		t.Fatalf("after the wait: got another %v, want none", wait)
	}
	c.instances[0].succeeded(t.Context(), made)
	c.want("its own counter", c.fail("ann", stranger, ofPair.free), time.Second)
}

func TestAttempts_AtTheSameTime(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	var begun atomic.Int64
	var together sync.WaitGroup
	for i := range 50 {
		together.Go(func() {
			if made, _ := c.instances[i%2].begin(t.Context(), "ann", stranger); made != nil {
				begun.Add(1)
			}
		})
	}
	together.Wait()
	if got := begun.Load(); got != int64(ofPair.free) {
		t.Errorf("attempts begun by 50 at once: got %d, want %d", got, ofPair.free)
	}
}

func TestAttempts_WithoutRedis(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for range 3 {
		c.instances[0].begin(t.Context(), "ann", stranger)
	}
	c.available.Store(false)
	for i := range ofPair.free - 3 { // what this instance saw while Redis was there counts
		if _, wait := c.instances[0].begin(t.Context(), "ann", stranger); wait > 0 {
			t.Fatalf("attempt %d: got a wait of %v, want none", i, wait)
		}
	}
	c.want("alone", c.wait("ann", stranger), time.Second)
	c.pass(time.Second)
	c.want("after the wait", c.wait("ann", stranger), 0)
	c.pass(remembered)
	c.want("an hour later", c.wait("ann", stranger), 0)
	for i := range 2 * localTallies {
		c.instances[0].begin(t.Context(), fmt.Sprint("user", i), uint64(i))
	}
	if got := len(c.instances[0].local); got > localTallies {
		t.Errorf("tallies in memory: got %d, want %d at most", got, localTallies)
	}
}

func TestAttempts_NoNamesInRedis(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	made, _ := c.instances[0].begin(t.Context(), "ann", home)
	c.instances[0].succeeded(t.Context(), made)
	c.fail("ann", stranger, 1)
	keys, err := c.redis.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 5 {
		t.Errorf("keys: got %q, %v, want 5", keys, err)
	}
	for _, key := range keys {
		if strings.Contains(key, "ann") || c.redis.PTTL(t.Context(), key).Val() <= 0 {
			t.Errorf("key: got %q, want a hash and an expiry", key)
		}
	}
}

// Known and unknown accounts are slowed alike, and a right password does not get through a wait.
func TestSignIn_TooManyAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.signUp("ann")
	at := WithAddress(t.Context(), stranger)
	try := func(ctx context.Context, handle, with string) models.UserError {
		t.Helper()
		_, _, err := r.SignIn(ctx, models.SignInInput{Handle: handle, Password: with})
		var refusal models.Refusal
		if err != nil && !errors.As(err, &refusal) {
			t.Fatalf("sign in as %s: got %v, want a refusal", handle, err)
		}
		if len(refusal) == 0 {
			return models.UserError{}
		}
		return *refusal[0]
	}
	for _, handle := range []string{"ann", "nobody"} {
		for range ofPair.free {
			if got := try(at, handle, "wrong"); got.Code != models.UserErrorCodeWrongCredentials || got.RetryAfter != nil {
				t.Fatalf("wrong password as %s: got %+v, want wrong credentials", handle, got)
			}
		}
		got := try(at, handle, password)
		if got.Code != models.UserErrorCodeTooManyAttempts || got.RetryAfter == nil || *got.RetryAfter != 1 {
			t.Errorf("as %s after those: got %+v, want too many attempts, 1 s", handle, got)
		}
	}
	if got := try(WithAddress(t.Context(), home), "ann", password); got.Code != "" {
		t.Errorf("right password elsewhere: got %+v, want to be signed in", got)
	}
}

// An outage is no guess.
func TestSignIn_FaultsDoNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.signUp("ann")
	r.exec("ALTER TABLE accounts RENAME TO away")
	for range 2 * ofPair.free {
		_, _, err := r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password})
		var refusal models.Refusal
		if err == nil || errors.As(err, &refusal) {
			t.Fatalf("sign in without the table: got %v, want an error", err)
		}
	}
	r.exec("ALTER TABLE away RENAME TO accounts")
	_, _, err := r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password})
	r.noError(err)
}
