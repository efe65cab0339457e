package cache

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime runs through a suspend of the machine, where Go's own monotonic clock stands still.
func bootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic("cache: CLOCK_BOOTTIME: " + err.Error()) // every Linux that Go supports has it
	}
	return time.Duration(now.Nano())
}
