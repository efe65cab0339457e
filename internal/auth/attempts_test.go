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

// counting is attempts of two instances that share a Redis. All three have the test's clock: a hook writes into the scripts
// what is left of a key by that clock, in the place of what Redis would say.
type counting struct {
	t         *testing.T
	redis     *redis.Client // without the hook
	available atomic.Bool
	instances [2]*attempts

	mu    sync.Mutex
	at    time.Time
	last  map[string]time.Time // of the keys of counters: when the last attempt was
	trips int
	fault func(trip int, cmds []redis.Cmder) fault // nil: none
}

// fault is what becomes of a round trip.
type fault int

const (
	none   fault = iota
	unsent       // Redis never gets the commands
	lost         // Redis runs the commands, and the answer comes too late
)

func newCounting(t *testing.T) *counting {
	t.Helper()
	o, err := redis.ParseURL(testenv.SharedRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	c := &counting{t: t, redis: redis.NewClient(o), at: time.Now(), last: make(map[string]time.Time)}
	hooked := redis.NewClient(o)
	hooked.AddHook(c)
	t.Cleanup(func() { c.redis.Close(); hooked.Close() })
	c.available.Store(true)
	for i := range c.instances {
		c.instances[i] = &attempts{
			redis: hooked, service: "test", available: c.available.Load, budget: waitLong, log: slog.New(slog.DiscardHandler), now: c.now,
			local: map[counterID]tally{},
		}
	}
	return c
}

func (*counting) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (c *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		what := c.steer(cmds)
		if what == unsent {
			return fail(cmds)
		}
		err := next(ctx, cmds)
		c.note(cmds)
		if what == lost {
			return fail(cmds)
		}
		return err
	}
}

func fail(cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		cmd.SetErr(context.DeadlineExceeded)
	}
	return context.DeadlineExceeded
}

// steer has scripts see the test's time.
func (c *counting) steer(cmds []redis.Cmder) fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range cmds {
		if args := cmd.Args(); args[1] == sharedCounter {
			const pttl = "redis.call('PTTL', KEYS[1])"
			last, there := c.last[args[3].(string)]
			if !there {
				last = c.at // by one whose reply is still on its way
			}
			left := remembered - c.at.Sub(last)
			steered := strings.ReplaceAll(sharedCounter, pttl, fmt.Sprint(left.Milliseconds()))
			if steered == sharedCounter {
				c.t.Errorf("the script does not ask %s: the test can't steer its time", pttl)
			}
			args[1] = steered
		}
	}
	c.trips++
	if c.fault == nil {
		return none
	}
	return c.fault(c.trips, cmds)
}

// note keeps when attempts were counted and failed.
func (c *counting) note(cmds []redis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range cmds {
		args := cmd.Args()
		switch reply := cmd.(type) {
		case *redis.Cmd:
			if n, err := reply.Int64(); counts(cmd) && err == nil && n == 0 {
				c.last[args[3].(string)] = c.at
			}
		case *redis.BoolCmd:
			if args[0] == "pexpire" && reply.Val() {
				c.last[args[1].(string)] = c.at
			}
		}
	}
}

// counts reports whether a command counts an attempt.
func counts(cmd redis.Cmder) bool {
	args := cmd.Args()
	return args[0] == "eval" && len(args) == 9 && args[8] == true
}

func (c *counting) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// pass moves the clock, and expires counters.
func (c *counting) pass(d time.Duration) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	for key, last := range c.last {
		if c.at.Sub(last) >= remembered {
			if err := c.redis.Del(c.t.Context(), key).Err(); err != nil {
				c.t.Fatal(err)
			}
			delete(c.last, key)
		}
	}
}

// fail makes n attempts without success, on one instance after the other, and returns the wait for the next.
func (c *counting) fail(handle string, address uint64, n int) time.Duration {
	c.t.Helper()
	for i := range n {
		c.failOn(i%2, handle, address)
	}
	return c.wait(handle, address)
}

func (c *counting) failOn(instance int, handle string, address uint64) {
	c.t.Helper()
	made, wait := c.instances[instance].begin(c.t.Context(), handle, address)
	if wait > 0 {
		c.t.Fatalf("attempt on instance %d as %s: got a wait of %v, want none", instance, handle, wait)
	}
	c.instances[instance].failed(c.t.Context(), made)
}

func (c *counting) succeedOn(instance int, handle string, address uint64) {
	c.t.Helper()
	made, wait := c.instances[instance].begin(c.t.Context(), handle, address)
	if wait > 0 {
		c.t.Fatalf("attempt on instance %d as %s: got a wait of %v, want none", instance, handle, wait)
	}
	c.instances[instance].succeeded(c.t.Context(), made)
}

// wait asks without counting.
func (c *counting) wait(handle string, address uint64) time.Duration {
	c.t.Helper()
	return c.waitOn(0, handle, address)
}

func (c *counting) waitOn(instance int, handle string, address uint64) time.Duration {
	c.t.Helper()
	made, wait := c.instances[instance].begin(c.t.Context(), handle, address)
	if made != nil {
		c.instances[instance].takeBack(c.t.Context(), made)
	}
	return wait
}

func (c *counting) want(what string, got, want time.Duration) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: got a wait of %v, want %v", what, got, want)
	}
}

func TestAttempts_WaitDoubles(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.want("after the free ones", c.fail("ann", stranger, ofPair.free), time.Second)
	want := time.Second
	for i := range 12 {
		c.pass(want - time.Millisecond)
		c.want("a moment before the end of the wait", c.wait("ann", stranger), time.Millisecond)
		c.pass(time.Millisecond)
		c.failOn(i%2, "ann", stranger)
		want = min(2*want, ofPair.maxWait)
		c.want(fmt.Sprintf("after attempt %d", i), c.wait("ann", stranger), want)
	}
	c.pass(remembered)
	c.want("an hour later", c.fail("ann", stranger, ofPair.free), time.Second)
}

// A machine may be busy with a password for longer than the wait: that begins when the attempt has failed.
func TestAttempts_WaitBeginsWhenTheAttemptFails(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for range ofPair.free - 1 {
		c.failOn(0, "ann", stranger)
	}
	made, _ := c.instances[0].begin(t.Context(), "ann", stranger)
	c.pass(10 * time.Second)
	c.instances[0].failed(t.Context(), made)
	for i := range c.instances { // the second knows from Redis alone
		c.want(fmt.Sprintf("instance %d", i), c.waitOn(i, "ann", stranger), time.Second)
	}
}

// Guesses from many addresses are slowed together, but not at the address where the owner was before.
func TestAttempts_OwnerIsNotLockedOut(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.succeedOn(0, "ann", home)
	for i := range ofAccount.free {
		c.failOn(i%2, "ann", uint64(1000+i))
	}
	c.want("a guess from yet another address", c.wait("ann", 5000), time.Second)
	for i := range c.instances { // the second knows from Redis alone
		c.want(fmt.Sprintf("the owner at home, on instance %d", i), c.waitOn(i, "ann", home), 0)
	}
	c.want("another account", c.wait("bob", 5000), 0)
}

// state is all that has been counted: values in Redis and when they were written, and the tallies of the instances.
func (c *counting) state() string {
	c.t.Helper()
	keys, err := c.redis.Keys(c.t.Context(), "*").Result()
	if err != nil {
		c.t.Fatal(err)
	}
	values := make(map[string]string)
	for _, key := range keys {
		values[key] = c.redis.Get(c.t.Context(), key).Val()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(values, c.last, c.instances[0].local, c.instances[1].local) // maps are printed in order
}

// A client that goes on while it has to wait does not have to wait longer, and nor does anybody else.
func TestAttempts_RefusedOnesDoNotCount(t *testing.T) {
	t.Parallel()
	for name, what := range map[string]fault{"with Redis": none, "without": unsent} {
		c := newCounting(t)
		c.fault = func(int, []redis.Cmder) fault { return what }
		for range ofPair.free {
			c.failOn(0, "ann", stranger)
		}
		before := c.state()
		for range 100 {
			c.want(name+", the one that goes on", c.waitOn(0, "ann", stranger), time.Second)
		}
		if got := c.state(); got != before {
			t.Errorf("%s, counted after 100 that were refused: got %s, want %s as before", name, got, before)
		}
		if got := c.instances[0].early.Load(); got != 100 {
			t.Errorf("%s, attempts that had to wait: got %d, want 100", name, got)
		}
		c.want(name+", the account elsewhere", c.wait("ann", home), 0)
		c.want(name+", the address with another account", c.wait("bob", stranger), 0)
	}
}

// One instance's attempts count however its round trips to Redis end, and once each.
func TestAttempts_RedisAnswersSometimes(t *testing.T) {
	t.Parallel()
	every := func(n int, which fault) func(int, []redis.Cmder) fault {
		return func(trip int, _ []redis.Cmder) fault {
			if trip%n == 0 {
				return which
			}
			return none
		}
	}
	ofCounting := func(counting bool, which fault) func(int, []redis.Cmder) fault {
		return func(_ int, cmds []redis.Cmder) fault {
			if counts(cmds[0]) == counting {
				return which
			}
			return none
		}
	}
	for name, fault := range map[string]func(int, []redis.Cmder) fault{
		"never": every(1, unsent), "never in time": every(1, lost),
		"every second time": every(2, unsent), "in time every second time": every(2, lost),
		"but every third time": every(3, unsent), "in time but every third time": every(3, lost), "but every fifth time": every(5, unsent),
		"when it is asked": ofCounting(true, unsent), "in time when it is asked": ofCounting(true, lost),
		"when it counts": ofCounting(false, unsent), "in time when it counts": ofCounting(false, lost),
	} {
		c := newCounting(t)
		c.fault = fault
		for range ofPair.free {
			c.failOn(0, "ann", stranger)
		}
		for range 20 {
			c.want("Redis answers "+name, c.waitOn(0, "ann", stranger), time.Second)
		}
		c.pass(time.Second)
		c.failOn(0, "ann", stranger)
		c.want("Redis answers "+name+", after the wait", c.waitOn(0, "ann", stranger), 2*time.Second)
	}
}

// What Redis has lost the instance has counted, and what an instance has lost in a restart Redis has.
func TestAttempts_LongerWaitApplies(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for range ofPair.free {
		c.failOn(0, "ann", stranger)
	}
	c.want("an instance that has counted none", c.waitOn(1, "ann", stranger), time.Second)
	if err := c.redis.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	clear(c.last)
	c.want("Redis has lost its counters", c.waitOn(0, "ann", stranger), time.Second)
	c.pass(time.Second)
	c.failOn(0, "ann", stranger)
	c.want("and counts anew", c.waitOn(0, "ann", stranger), 2*time.Second)
}

func TestAttempts_ManyAccountsFromOneAddress(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for i := range ofAddress.free {
		c.failOn(i%2, fmt.Sprintf("user%d", i), stranger)
	}
	c.want("one more account", c.wait("another", stranger), time.Second)
	c.want("elsewhere", c.wait("another", home), 0)
}

// A success of an attacker's own account takes back nothing but itself.
func TestAttempts_SuccessResetsItsOwnAlone(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.fail("ann", stranger, ofPair.free-1)
	c.succeedOn(1, "mallory", stranger)
	c.want("another's counter", c.fail("ann", stranger, 1), time.Second)
	c.pass(time.Second)
	c.succeedOn(0, "ann", stranger)
	c.want("its own counter", c.fail("ann", stranger, ofPair.free), time.Second)
}

// A success on one instance resets what another has counted, but for attempts that may have come after it.
func TestAttempts_SuccessOnAnotherInstance(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for range ofPair.free {
		c.failOn(0, "ann", home)
	}
	c.pass(time.Second)
	c.succeedOn(1, "ann", home)
	for range ofPair.free {
		c.failOn(0, "ann", home)
	}
	c.want("after the free ones", c.waitOn(0, "ann", home), time.Second)
	c.pass(remembered)
	unreachable := true
	c.fault = func(int, []redis.Cmder) fault {
		if unreachable {
			return unsent
		}
		return none
	}
	for range ofPair.free {
		c.failOn(0, "ann", home)
	}
	unreachable = false // that there were successes is no news of one
	c.want("after those that Redis did not see", c.waitOn(0, "ann", home), time.Second)
}

func TestAttempts_AtTheSameTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		instances int
		fault     fault
	}{"two instances": {2, none}, "one without Redis": {1, unsent}, "one whose Redis is late": {1, lost}} {
		counting := newCounting(t)
		counting.fault = func(int, []redis.Cmder) fault { return c.fault }
		var begun atomic.Int64
		var together sync.WaitGroup
		for i := range 50 {
			together.Go(func() {
				if made, _ := counting.instances[i%c.instances].begin(t.Context(), "ann", stranger); made != nil {
					begun.Add(1)
				}
			})
		}
		together.Wait()
		if got := begun.Load(); got != int64(ofPair.free) {
			t.Errorf("%s, attempts begun by 50 at once: got %d, want %d", name, got, ofPair.free)
		}
	}
}

func TestAttempts_WithoutRedis(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for range 3 {
		c.failOn(0, "ann", stranger)
	}
	c.available.Store(false)
	for range ofPair.free - 3 { // what this instance saw while Redis was there counts
		c.failOn(0, "ann", stranger)
	}
	c.want("alone", c.wait("ann", stranger), time.Second)
	c.pass(time.Second)
	c.want("after the wait", c.wait("ann", stranger), 0)
	c.pass(remembered)
	c.want("an hour later", c.wait("ann", stranger), 0)
}

func TestAttempts_MemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.available.Store(false)
	local := c.instances[0].local
	for i := range localTallies {
		local[counterID{byte(i), byte(i >> 8), byte(i >> 16)}] = tally{n: 1, ends: c.at.Add(remembered)}
	}
	for i := range 100 { // three tallies each
		c.instances[0].begin(t.Context(), fmt.Sprint("user", i), uint64(i))
	}
	if got := len(local); got != localTallies {
		t.Errorf("tallies in memory: got %d, want %d", got, localTallies)
	}
}

func TestAttempts_NoNamesInRedis(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	c.succeedOn(0, "ann", home)
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

// The script asks Redis for the time since the last attempt, in which no clock of an instance has a part.
func TestAttempts_TimeOfRedis(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	a := c.instances[0]
	a.redis = c.redis // without the hook
	pair := step{ofPair, idOf("pair", "ann", stranger)}
	for since, want := range map[time.Duration]bool{time.Minute: true, 30 * time.Minute: false} { // of 5 minutes
		err := c.redis.Set(t.Context(), a.key(pair), 100, remembered-since).Err()
		if err != nil {
			t.Fatal(err)
		}
		if waits := a.ask(t.Context(), []step{pair}).waits; (waits[0] > 0) != want || waits[0] > ofPair.maxWait-since && want {
			t.Errorf("%s after the last attempt: got a wait of %s, want one %v", since, waits[0], want)
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
