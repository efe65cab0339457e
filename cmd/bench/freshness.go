package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"freshet/cmd/bench/internal/freshness"
	"freshet/cmd/bench/internal/rig"
	"freshet/internal/seed"
)

func freshnessFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "short", Usage: "at least 10,000 reads in each fault instead of 50,000, in less than 6 minutes"},
		&cli.StringFlag{
			Name: "redis", Value: string(rig.Single), Usage: "the form of Redis: single, sentinel or cluster; each has faults of its own",
			Validator: func(form string) error {
				if !slices.Contains(rig.Forms(), rig.Form(form)) {
					return fmt.Errorf("%q is none of %v", form, rig.Forms())
				}
				return nil
			},
		},
		&cli.StringSliceFlag{Name: "only", Usage: "the faults to inject, by name; several with commas between (default: all)"},
	}
}

// freshnessReport is the result of measureFreshness. Its JSON form is that of the run.
type freshnessReport struct {
	freshness.Report
	machine machine
}

func (r *freshnessReport) print(w io.Writer) {
	fmt.Fprintf(w, "Stale reads of three instances, one fault at a time; Redis: %s\n", r.Redis.Describe())
	r.machine.print(w)
	r.Print(w)
}

// freshnessOptions are long enough for the promised number of reads.
func freshnessOptions(r *rig.Rig, s settings) freshness.Options {
	o := freshness.Options{
		Rig: r, WarmUp: 3 * time.Second, Before: 4 * time.Second, During: 16 * time.Second, After: 10 * time.Second, Reads: 50_000, Only: s.only,
		Progress: s.rig.Progress,
	}
	if s.short {
		o.Before, o.During, o.After, o.Reads = 2*time.Second, 4*time.Second, 4*time.Second, 10_000
	}
	return o
}

func measureFreshness(ctx context.Context, s settings) (_ report, err error) {
	// The faults kill PostgreSQL too: not that of the other measurements.
	s.rig.Dir = cmp.Or(s.rig.Dir, filepath.Join(".freshet", "bench", "freshness"))
	s.rig.Size, s.rig.Steered, s.rig.Form = seed.Small, true, s.form
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	out := &freshnessReport{freshness.Report{Redis: r.Form}, describe(ctx, r, s)}
	if out.Faults, err = freshness.Run(ctx, freshnessOptions(r, s)); err != nil {
		return out, err
	}
	out.NegativeControls, err = freshness.Controls(ctx, r, 5000)
	return out, err
}
