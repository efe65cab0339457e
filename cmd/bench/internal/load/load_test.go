package load

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestRun_CountsFromWhenARequestWasDue(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	begun := make(chan int, 3)
	go func() {
		for range 3 {
			<-begun // all three, although none was answered
		}
		close(release)
	}()
	samples := Run(t.Context(), Plan{
		Rate: 100, Count: 3,
		Send: func(_ context.Context, i int) ([]byte, error) {
			begun <- i
			<-release
			return nil, nil
		},
	})
	for i, sample := range samples {
		if want := time.Duration(i) * 10 * time.Millisecond; sample.Due != want {
			t.Errorf("request %d due: got %s, want %s", i, sample.Due, want)
		}
	}
	if got, want := samples[0].Took, samples[2].Due-samples[0].Due; got < want {
		t.Errorf("first request, answered after the third was due, took: got %s, want at least the %s between them", got, want)
	}
}

func TestRun_ChecksAnswers(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	samples := Run(t.Context(), Plan{
		Rate: 10_000, Count: 10,
		Send: func(_ context.Context, i int) ([]byte, error) { return []byte{byte(i)}, nil },
		Check: func(i int, body []byte) error {
			if int(body[0]) != i {
				return errors.New("another request's answer")
			}
			if i == 4 {
				return wrong
			}
			return nil
		},
	})
	if n, err := samples.Failed(); n != 1 || !errors.Is(err, wrong) {
		t.Errorf("failures: got %d, %v, want 1, %v", n, err, wrong)
	}
}

func TestSamples_Quantile(t *testing.T) {
	t.Parallel()
	var samples Samples
	for i := range 100 {
		samples = append(samples, Sample{Due: time.Duration(i), Took: time.Duration(100 - i)})
	}
	samples = append(samples, Sample{Due: 100, Took: time.Hour, Err: errors.New("failed")})
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 1}, {0.5, 51}, {0.99, 100}, {1, 100}} {
		if got := samples.Quantile(c.q); got != c.want {
			t.Errorf("quantile %v: got %d, want %d", c.q, got, c.want)
		}
	}
	if got := samples.Between(90, 101).Quantile(1); got != 10 {
		t.Errorf("slowest of the last: got %d, want 10", got)
	}
	if got := Samples(nil).Quantile(0.5); got != 0 {
		t.Errorf("median of nothing: got %d, want 0", got)
	}
}
