package changelog

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"freshet/internal/testenv"
)

// durable is a database on a server of its own that waits for the disk at each commit, as production does.
func durable(b *testing.B) *cluster {
	b.Helper()
	server := testenv.Postgres(b, map[string]string{"fsync": "on", "full_page_writes": "on"})
	c := &cluster{t: b, db: openPool(b, server.URL), redis: testenv.Redis(b, nil).URL, service: "bench"}
	migrateUp(b, c.db)
	mustExec(b, c.db, "INSERT INTO profiles (id, handle, name) SELECT n, 'user' || n, '' FROM generate_series(1, 10000) n")
	return c
}

func reportQuantiles(b *testing.B, times []time.Duration, unit string) {
	b.Helper()
	slices.Sort(times)
	for _, q := range []int{50, 99} {
		b.ReportMetric(float64(times[len(times)*q/100].Microseconds())/1000, fmt.Sprintf("p%d-ms-%s", q, unit))
	}
}

// What Committed adds to a mutation, with three instances that hold grants.
func BenchmarkCommitted(b *testing.B) {
	c := durable(b)
	instances := []*instance{c.start("a", nil), c.start("b", nil), c.start("c", nil)}
	c.granted(instances...)
	var commits, waits []time.Duration
	for b.Loop() {
		start := time.Now()
		c.rename(len(waits)%10000 + 1)
		committed := time.Now()
		if err := instances[len(waits)%3].Committed(b.Context()); err != nil {
			b.Fatal(err)
		}
		commits = append(commits, committed.Sub(start))
		waits = append(waits, time.Since(committed))
	}
	reportQuantiles(b, commits, "commit")
	reportQuantiles(b, waits, "wait")
}

// From a foreign COMMIT to its being applied by an instance; nobody nudges.
func BenchmarkForeignWrite(b *testing.B) {
	c := durable(b)
	instances := []*instance{c.start("a", nil), c.start("b", nil), c.start("c", nil)}
	c.granted(instances...)
	look := time.NewTicker(200 * time.Microsecond)
	defer look.Stop()
	var times []time.Duration
	for b.Loop() {
		fresh := instances[len(times)%3].reader(b, "profile:1")
		c.rename(1)
		committed := time.Now()
		for ok := true; ok; ok, _ = fresh() {
			<-look.C
		}
		times = append(times, time.Since(committed))
	}
	reportQuantiles(b, times, "seen")
}

// How fast a backlog of a million rows, each of another tag, goes into the log.
func BenchmarkRounds(b *testing.B) {
	c := durable(b)
	conn, term := c.claim(b, "seq")
	defer conn.Close()
	const rows = 1_000_000
	var moving time.Duration
	for b.Loop() {
		mustExec(b, c.db, "TRUNCATE changelog.log")
		mustExec(b, c.db, "INSERT INTO changelog.outbox (tag) SELECT 'post:' || n FROM generate_series(1, $1::int) n", rows)
		start := time.Now()
		for drained := false; !drained; {
			var err error
			if _, drained, err = term.round(b.Context(), Options{}.withDefaults().Batch); err != nil {
				b.Fatal(err)
			}
		}
		moving += time.Since(start)
	}
	b.ReportMetric(float64(rows*b.N)/moving.Seconds(), "events/s")
}

// Single-row updates by eight writers, with and without triggers and sequencer, by turns.
func BenchmarkUpdates(b *testing.B) {
	c := durable(b)
	c.db.SetMaxIdleConns(8)
	var ratios []float64
	for b.Loop() {
		a := c.start("a", nil)
		c.granted(a)
		with := c.updates(b)
		a.stop()
		mustExec(b, c.db, "ALTER TABLE profiles DISABLE TRIGGER USER")
		without := c.updates(b)
		for _, event := range []string{"insert", "update", "delete", "truncate"} {
			mustExec(b, c.db, "ALTER TABLE profiles ENABLE ALWAYS TRIGGER changelog_"+event)
		}
		b.Logf("updates a second: %.0f with the log, %.0f without", with, without)
		ratios = append(ratios, with/without)
	}
	slices.Sort(ratios)
	b.ReportMetric(100*ratios[len(ratios)/2], "percent-of-TPS")
}

func (c *cluster) updates(b *testing.B) float64 {
	b.Helper()
	const workers, each = 8, 1000
	var writers sync.WaitGroup
	start := time.Now()
	for w := range workers {
		writers.Go(func() {
			for n := range each {
				if _, err := c.db.Exec("UPDATE profiles SET name = 'x' WHERE id = $1", (n*workers+w)%10000+1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	return workers * each / time.Since(start).Seconds()
}
