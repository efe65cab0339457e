package costs

import (
	"fmt"
	"math"
	"runtime"
	"time"

	"freshet/cache"
)

// Memory is what one instance's knowledge of the log costs it.
type Memory struct {
	PerMillion int64   `json:"bytesPerMillionEntries"` // of the log, each of another tag
	CheckOne   float64 `json:"checkNs"`                // of an entry with one tag
	CheckForty float64 `json:"check40Ns"`
}

// MeasureMemory applies thousands of entries, of which there are a million for a measurement, and checks entries as many times
// while they are there.
func MeasureMemory(thousands int) Memory {
	const batch = 1000
	before := heap()
	log := cache.NewLog(nil)
	log.Reset(cache.Position{Epoch: 1})
	names := make([]string, batch)
	for n := 0; n < thousands*batch; n += batch {
		for i := range names {
			names[i] = fmt.Sprint("post:", n+i)
		}
		log.Apply(log.Position(), names)
	}
	clear(names)
	out := Memory{PerMillion: (heap() - before) * 1000 / int64(thousands)}
	log.Grant(log.Position(), math.MaxInt64)
	out.CheckOne, out.CheckForty = check(log, 1, thousands*batch), check(log, 40, thousands*batch)
	return out
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// check is the time for one of many checks of an entry with so many tags, in nanoseconds.
func check(log *cache.Log, tags, times int) float64 {
	names := make([]string, tags)
	for i := range names {
		names[i] = fmt.Sprint("posts:", i)
	}
	hashes, at := log.Tags(names), log.Position()
	start := time.Now()
	for range times {
		if ok, why := log.Fresh(at, hashes); !ok {
			panic("costs: not fresh: " + why) // the log is this function's alone
		}
	}
	return float64(time.Since(start).Nanoseconds()) / float64(times)
}
