package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// machine is what the figures were measured on.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	OS         string `json:"os"`
	Go         string `json:"go"`
	PostgreSQL string `json:"postgresql"`
	Redis      string `json:"redis"`
	Data       string `json:"data"`
	// Load is the load average of the minute before: what else kept the cores busy. 0 where it isn't known.
	Load float64 `json:"loadBefore"`
}

// describe does without what it can't find out: it is for the reader's judgement only.
func describe(ctx context.Context, r *rig.Rig, s settings) machine {
	m := machine{
		CPU: runtime.GOARCH, Cores: runtime.GOMAXPROCS(0), OS: runtime.GOOS, Go: runtime.Version(), Data: s.rig.Size.String(),
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Fscan(bytes.NewReader(load), &m.Load)
	_ = r.DB.QueryRow(ctx, "SELECT current_setting('server_version')").Scan(&m.PostgreSQL)
	for line := range strings.Lines(r.Redis.Info(ctx, "server").Val()) {
		if name, value, _ := strings.Cut(line, ":"); name == "redis_version" {
			m.Redis = strings.TrimSpace(value)
		}
	}
	return m
}

func (m machine) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores (load %.1f before), %s; %s, PostgreSQL %s, Redis %s; %s data\n\n",
		m.CPU, m.Cores, m.Load, m.OS, m.Go, m.PostgreSQL, m.Redis, m.Data)
}

// target is a figure and what it should be at most, or at least.
type target struct {
	Name  string   `json:"name"`
	Got   float64  `json:"got"`
	Most  *float64 `json:"most,omitempty"`
	Least *float64 `json:"least,omitempty"`
	Met   bool     `json:"met"`
}

func atMost(name string, got, most float64) target {
	return target{Name: name, Got: got, Most: &most, Met: got <= most}
}

func atLeast(name string, got, least float64) target {
	return target{Name: name, Got: got, Least: &least, Met: got >= least}
}

func printTargets(w io.Writer, targets []target) {
	for _, t := range targets {
		verdict := "missed"
		if t.Met {
			verdict = "met"
		}
		bound, of := "at most", t.Most
		if of == nil {
			bound, of = "at least", t.Least
		}
		fmt.Fprintf(w, "target %-6s  %s: %.4g, %s %.4g\n", verdict, t.Name, t.Got, bound, *of)
	}
	fmt.Fprintln(w)
}

// table writes rows in columns; cells are separated by tabs, numbers stand right.
func table(w io.Writer, rows ...string) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintln(columns, row+"\t")
	}
	columns.Flush()
	fmt.Fprintln(w)
}

// ms is a duration as the reports give it: in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
