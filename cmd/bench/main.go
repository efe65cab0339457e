// Command bench measures Freshet as production runs it: the real program as child processes, over a private PostgreSQL
// and Redis. Each of its commands prints a table, or with --json one JSON document and nothing else.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
	"github.com/urfave/cli/v3"

	"freshet/cmd/bench/internal/rig"
	"freshet/internal/seed"
)

// measurement is one command of this program.
type measurement struct {
	name, usage string
	run         func(context.Context, settings) (report, error)
	flags       []cli.Flag // of this command alone
}

// report is what a measurement found. Its JSON form is the document that --json prints.
type report interface {
	// print writes the report for people to read.
	print(w io.Writer)
}

// measurements lists all commands. The first two are the default.
func measurements() []measurement {
	return []measurement{
		{"feed", "a page of the feed, cold and warm: time, SQL statements and round trips to Redis", measureFeed, nil},
		{"costs", "what the change log costs writers and readers, beside runs without it", measureCosts, nil},
		{"outage", "500 requests a second while Redis is away, and comes back", measureOutage, nil},
		{"hit", "whole results from the cache, beside bare net/http handlers", measureHit, nil},
		{"cold", "a page of the feed while nothing is cached, one request at a time; also part of hit", measureCold, nil},
		{"herd", "500 requests at once for one cold key, on three servers", measureHerd, nil},
		{"aggregates", "top lists and statistics with an empty cache and with a full one", measureAggregates, nil},
		{"freshness", "whether anything stale is answered, one fault at a time", measureFreshness, freshnessFlags()},
	}
}

// settings are what the flags say.
type settings struct {
	rig  rig.Options
	json bool
	// For freshness.
	short bool
	only  []string
	form  rig.Form
}

func main() {
	logging.Disable() // of go-redis: servers are taken away on purpose
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the program: what it reads of its surroundings are its parameters.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	size := seed.Medium
	all := measurements()
	measure := func(list ...measurement) cli.ActionFunc {
		return func(ctx context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return fmt.Errorf("%q is no measurement: -h lists them", c.Args().First())
			}
			return perform(ctx, list, stdout, settings{
				rig: rig.Options{
					Dir: c.String("data"), Size: size, Progress: stderr, Profiled: c.Bool("pprof"),
				},
				json: c.Bool("json"), short: c.Bool("short"), only: c.StringSlice("only"),
				form: rig.Form(c.String("redis")),
			})
		}
	}
	root := &cli.Command{
		Name: "bench", Usage: "measure Freshet; without a command: feed and costs",
		Writer: stdout, ErrWriter: stderr,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print one JSON document"},
			&cli.StringFlag{Name: "data", Usage: "directory of the databases, kept for the next run (default: .freshet/bench/SIZE)"},
			&cli.StringFlag{
				Name: "seed", Value: seed.Medium.String(), Usage: "size of the data: small, medium or large",
				Validator: func(text string) error { return size.UnmarshalText([]byte(text)) },
			},
			&cli.BoolFlag{Name: "pprof", Usage: "also write a CPU profile of the server, where the measurement says"},
		},
		Action:   measure(all[:2]...),
		Commands: []*cli.Command{{Name: "all", Usage: "all of these", Action: measure(all...)}},
		ExitErrHandler: func(context.Context, *cli.Command, error) {
		},
	}
	root.Commands = append(root.Commands, baselineCommand(stdout))
	for _, one := range all {
		root.Commands = append(root.Commands, &cli.Command{Name: one.name, Usage: one.usage, Flags: one.flags, Action: measure(one)})
	}
	return root.Run(ctx, args)
}

// perform measures, and prints what was found also where something turned out to be broken.
func perform(ctx context.Context, list []measurement, out io.Writer, s settings) error {
	reports := make(map[string]report, len(list))
	var errs []error
	for _, one := range list {
		found, err := one.run(ctx, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", one.name, err))
		}
		if found == nil {
			break
		}
		reports[one.name] = found
		if !s.json {
			found.print(out)
		}
	}
	if s.json && len(reports) > 0 {
		var document any = reports
		if len(list) == 1 {
			document = reports[list[0].name]
		}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		errs = append(errs, encoder.Encode(document))
	}
	return errors.Join(errs...)
}
