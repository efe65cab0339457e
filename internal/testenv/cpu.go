package testenv

import (
	"syscall"
	"testing"
	"time"
)

// ReportCPU is called before a benchmark's loop, and what it returns after it: it adds "cpu-ns/op", the processor time of
// this whole process, which other processes on a busy machine disturb less than they do the clock's.
func ReportCPU(b *testing.B) (report func()) {
	before := processorTime(b)
	return func() { b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op") }
}

func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
