package testenv

import (
	"context"
	"testing"
	"time"
)

// hangs is how long Eventually and Receive wait before they call it a hang. It judges no speed: what they wait for comes
// on a machine of any speed, however busy, or never.
const hangs = 5 * time.Minute

// Eventually returns once done reports true, and fails the test if it never does. It calls done on the test's goroutine,
// again and again with a short pause; where there is a signal to wait for, use Receive. In a synctest bubble its time is
// the bubble's.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	const pause = 5 * time.Millisecond
	deadline := time.NewTimer(hangs)
	defer deadline.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: still not so after %s", what, hangs)
		case <-tick.C:
		}
	}
}

// Receive returns the next value from a channel, or the zero value of one that is closed. It fails the test if neither comes.
func Receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	deadline := time.NewTimer(hangs)
	defer deadline.Stop()
	select {
	case value := <-from:
		return value
	case <-deadline.C:
		t.Fatalf("%s: still not so after %s", what, hangs)
		panic("unreachable")
	}
}

// UntilHang returns a context for what must not outlast a hang. Cancel it when that has ended.
func UntilHang(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, hangs)
}
