package load

import (
	"syscall"
	"time"
)

// sleepUntil is exact to a tenth of a millisecond. time.Sleep is not, in a process that is idle otherwise: the runtime
// waits in whole milliseconds.
func sleepUntil(due time.Time) {
	for {
		left := time.Until(due)
		if left <= 0 {
			return
		}
		pause := syscall.NsecToTimespec(int64(left))
		_ = syscall.Nanosleep(&pause, nil) // interrupted by a signal, it goes on
	}
}
