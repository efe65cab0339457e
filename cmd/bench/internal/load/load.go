// Package load sends requests at a fixed rate, whether or not earlier ones were answered, and tells how long answers
// took.
package load

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Plan is a stretch of open-loop load. A request that is sent late, because the sender or the server is busy, counts
// from when it should have been sent: a queue shows in the figures, wherever it stands.
type Plan struct {
	// Rate in requests a second.
	Rate float64
	// Count of requests.
	Count int
	// Send makes request i and returns the answer's body once the last byte is there. It must be safe for concurrent use.
	Send func(ctx context.Context, i int) ([]byte, error)
	// Check judges an answer, outside of the measured time. Nil accepts all.
	Check func(i int, body []byte) error
}

// Sample is one request.
type Sample struct {
	// Due is when it should have been sent, from the beginning.
	Due time.Duration
	// Took is from Due until the answer was read.
	Took time.Duration
	// Err is nil if the request was answered as it should be.
	Err error
}

// Samples are requests in the order they were due.
type Samples []Sample

// Run sends the requests of a plan, and returns when all have ended. Those that ctx cuts short are failures.
func Run(ctx context.Context, p Plan) Samples {
	samples := make(Samples, p.Count)
	var work sync.WaitGroup
	start := time.Now()
	for i := range samples {
		samples[i].Due = time.Duration(float64(i) / p.Rate * float64(time.Second))
		due := start.Add(samples[i].Due)
		sleepUntil(due)
		work.Go(func() {
			body, err := p.Send(ctx, i)
			samples[i].Took = time.Since(due)
			if err == nil && p.Check != nil {
				err = p.Check(i, body)
			}
			samples[i].Err = err
		})
		runtime.Gosched() // the request first: sleeping may keep this processor to itself
	}
	work.Wait()
	return samples
}

// Between returns the samples due from one moment to before another.
func (s Samples) Between(from, to time.Duration) Samples {
	return slices.DeleteFunc(slices.Clone(s), func(one Sample) bool { return one.Due < from || one.Due >= to })
}

// Failed counts the failures, and returns one of them.
func (s Samples) Failed() (n int, one error) {
	for _, sample := range s {
		if sample.Err != nil {
			n, one = n+1, sample.Err
		}
	}
	return n, one
}

// Quantile of the times that successful requests took: 0.99 gives the time that one in a hundred exceeded. 0 without any.
func (s Samples) Quantile(q float64) time.Duration {
	var took []time.Duration
	for _, sample := range s {
		if sample.Err == nil {
			took = append(took, sample.Took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}
