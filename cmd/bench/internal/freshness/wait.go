package freshness

import (
	"context"
	"fmt"
	"net"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// sleep reports whether ctx still goes on after d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// until asks every few milliseconds whether something has come about. It returns an error of done only if that was the last
// answer before a hang.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, rig.Hang)
	defer cancel()
	for {
		done, err := done()
		if done {
			return nil
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return fmt.Errorf("waited %s in vain until %s: last error: %v", rig.Hang, what, err)
		}
	}
}

// lasting waits for d, and for as long after that as the evidence of a fault takes to show.
func lasting(ctx context.Context, d time.Duration, what string, shown func() (bool, error)) error {
	sleep(ctx, d)
	return until(ctx, what, shown)
}

// every calls do once in a period until ctx ends. It does not make up for what it misses.
func every(ctx context.Context, period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

func split(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // devenv made it from its parts
	}
	return host, port
}
