package rig

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// clockVariable names the environment variable that tells a server where it reads how far its wall clock is ahead.
const clockVariable = "FRESHET_BENCH_CLOCK"

// wallClock is a file that is added to the cache where its wall clock is to be steered: a machine has but one, and Go
// programs read it past any wrapper. SIGUSR2 steps it. Times carry no other clock's reading that would hide the step.
const wallClock = `package cache

import (
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

var benchAhead atomic.Int64

func benchNow() time.Time { return time.Now().Round(0).Add(time.Duration(benchAhead.Load())) }

func init() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	go func() {
		for range signals {
			text, err := os.ReadFile(os.Getenv("` + clockVariable + `"))
			if err != nil {
				panic(err)
			}
			ahead, err := time.ParseDuration(string(text))
			if err != nil {
				panic(err)
			}
			benchAhead.Store(int64(ahead))
			fmt.Fprintln(os.Stderr, "` + stepped + `", ahead, benchNow().Format(time.RFC3339))
		}
	}()
}
`

// stepped begins the line that tells of a step.
const stepped = "wall clock is ahead by"

func (o *overlay) steerClock(ctx context.Context) error {
	if err := o.add(ctx, "freshet/cache", "bench_clock.go", wallClock); err != nil {
		return err
	}
	return o.edit(ctx, "freshet/cache", "cache.go", "o.Now = time.Now\n", "o.Now = benchNow\n")
}

// StepClock puts the wall clock of the server's caches ahead of the machine's, or behind it. It returns when the server
// has said so. The Rig must be Steered.
func (s *Server) StepClock(ctx context.Context, ahead time.Duration) error {
	line := stepped + " " + ahead.String() + " "
	steps := func() int { return strings.Count(s.Said(), line) }
	before := steps()
	if err := os.WriteFile(s.clock, []byte(ahead.String()), 0o600); err != nil {
		return fmt.Errorf("step the clock of %s: %w", s.Name, err)
	}
	s.Signal(syscall.SIGUSR2)
	return s.until(ctx, func() bool { return steps() > before })
}
