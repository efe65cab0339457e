package seed

import (
	"testing"

	"freshet/internal/testenv"
)

// BenchmarkRun takes one to two minutes for medium, and 3 GB of disk beside the WAL: -bench Run/medium -benchtime 1x.
func BenchmarkRun(b *testing.B) {
	for _, size := range []Size{Small, Medium} {
		b.Run(size.String(), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				o := options(testenv.Database(b))
				o.Size = size
				o.Progress = b.Output()
				b.StartTimer()
				if _, err := Run(b.Context(), o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
