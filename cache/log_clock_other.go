//go:build !linux

package cache

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime runs through a sleep of the machine: CLOCK_MONOTONIC does so on macOS and the BSDs, where Go's own
// monotonic clock stands still.
func bootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic("cache: CLOCK_MONOTONIC: " + err.Error())
	}
	return time.Duration(now.Nano())
}
