package freshness

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// Report is the document that a run comes to.
type Report struct {
	// Redis is the form of it.
	Redis            rig.Form  `json:"redis"`
	Faults           []Fault   `json:"faults"`
	NegativeControls []Control `json:"negativeControls"`
}

// Fault is what was read and written around one fault.
type Fault struct {
	Fault      string  `json:"fault"`
	Reads      int64   `json:"reads"`
	Writes     int64   `json:"writes"`
	Hits       int64   `json:"hits"`
	StaleFresh int     `json:"staleFresh"`
	ForeignMs  Spread  `json:"foreignMs"`
	Inversions int     `json:"inversions"`
	Errors     int64   `json:"errors"`
	DBShare    float64 `json:"dbReadShare"`
	AnswerMs   Answers `json:"answerMs"`
	// Evidence is what shows that the fault took place, and how the system came out of it.
	Evidence map[string]any `json:"evidence"`

	ofRedis     bool
	staleTTL    int
	answerMost  time.Duration
	foreignP99  time.Duration
	foreignMost time.Duration
	length      time.Duration
	recovered   time.Duration // -1 if not seen
	hitBefore   float64
	hitRegained time.Duration // -1 if not seen
	examples    []string
}

// OfRedis tells whether nothing but Redis was harmed: then no request may fail.
func (f *Fault) OfRedis() bool { return f.ofRedis }

// Spread is a distribution in milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Answers is how long mutations took from their COMMIT, while their instance could reach PostgreSQL. Those sent to an
// instance whose process was itself stopped meanwhile do not count.
type Answers struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Control is a cache that is known to be stale, under the same checker.
type Control struct {
	Name  string `json:"name"`
	Reads int    `json:"reads"`
	Stale int    `json:"stale"`
}

// Print writes the report for people to read.
func (r *Report) Print(w io.Writer) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(columns, "fault\treads\twrites\tstale fresh\tstale ttl\tinversions\tforeign p50\tp99\tmax ms\terrors\tDB share\tanswer p50\tp99\tmax ms\tback s\thits back s\t")
	for _, f := range r.Faults {
		fmt.Fprintf(columns, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%.0f\t%d\t%.3f\t%.1f\t%.1f\t%.0f\t%s\t%s\t\n",
			f.Fault, f.Reads, f.Writes, f.StaleFresh, f.staleTTL, f.Inversions, f.ForeignMs.P50, f.ForeignMs.P99, f.ForeignMs.Max,
			f.Errors, f.DBShare, f.AnswerMs.P50, f.AnswerMs.P99, ms(f.answerMost), seconds(f.recovered), seconds(f.hitRegained))
	}
	columns.Flush()
	fmt.Fprintln(w)
	for _, f := range r.Faults {
		fmt.Fprintf(w, "%s: %s\n", f.Fault, proof(f.Evidence))
		for _, example := range f.examples {
			fmt.Fprintf(w, "  %s\n", example)
		}
	}
	fmt.Fprintln(w)
	for _, f := range r.Faults {
		for _, missed := range f.missed() {
			fmt.Fprintf(w, "target missed  %s: %s\n", f.Fault, missed)
		}
	}
	fmt.Fprintln(w)
	for _, c := range r.NegativeControls {
		fmt.Fprintf(w, "negative control %s: %d of %d reads stale\n", c.Name, c.Stale, c.Reads)
	}
	fmt.Fprintln(w)
}

const (
	grant        = 500 * time.Millisecond // how long one lasts
	answersMost  = grant + 100*time.Millisecond
	foreignUsual = 50 * time.Millisecond // for 99 of 100, without a fault
	normalMost   = 2 * time.Second
	hitsMost     = 10 * time.Second
)

// missed says which promises were not kept, but for what was stale.
func (f *Fault) missed() (missed []string) {
	if f.ofRedis && f.Errors > 0 {
		missed = append(missed, fmt.Sprintf("%d requests failed, none may because of Redis", f.Errors))
	}
	check := func(what string, got, most time.Duration) {
		if got < 0 {
			missed = append(missed, what+" was not seen")
		} else if got > most {
			missed = append(missed, fmt.Sprintf("%s %s, at most %s", what, got.Round(time.Millisecond), most.Round(time.Millisecond)))
		}
	}
	check("the latest answer", f.answerMost, answersMost)
	check("the latest foreign change", f.foreignMost, grant+f.length)
	if f.Fault == "none" {
		check("foreign changes (p99)", f.foreignP99, foreignUsual)
	}
	check("back to normal after", f.recovered, normalMost)
	check("hit rate back after", f.hitRegained, hitsMost)
	return missed
}

func proof(evidence map[string]any) string {
	var parts []string
	for name, value := range evidence {
		parts = append(parts, fmt.Sprintf("%s %v", name, value))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}

func msOrNever(d time.Duration) any {
	if d < 0 {
		return "never"
	}
	return ms(d)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile of durations in order; 0 without any.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func spreadOf(sorted []time.Duration) Spread {
	return Spread{ms(quantile(sorted, 0.5)), ms(quantile(sorted, 0.99)), ms(quantile(sorted, 1))}
}
