package testenv_test

import (
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/testenv"
)

// failing is a test that may fail without failing the one that runs it.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(string, ...any) {
	f.failed = true
	panic(f)
}

// fails reports whether a function ends its test.
func fails(f func(testing.TB)) bool {
	t := &failing{}
	func() {
		defer func() { _ = recover() }()
		f(t)
	}()
	return t.failed
}

func TestEventually_WaitsForWhatComesAndEndsAHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		soon := func() bool { return time.Since(begun) > time.Minute }
		if fails(func(t testing.TB) { testenv.Eventually(t, "a minute", soon) }) {
			t.Error("what comes in a minute: got a failure, want none")
		}
		if !fails(func(t testing.TB) { testenv.Eventually(t, "never", func() bool { return false }) }) {
			t.Error("what never comes: got no failure, want one")
		}
	})
}

func TestReceive_WaitsForWhatComesAndEndsAHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		values := make(chan int)
		time.AfterFunc(time.Minute, func() { values <- 7 })
		if got := testenv.Receive(t, "seven", values); got != 7 {
			t.Errorf("got %d, want 7", got)
		}
		if !fails(func(t testing.TB) { testenv.Receive(t, "another", values) }) {
			t.Error("what never comes: got no failure, want one")
		}
	})
}
