// Command freshet is a GraphQL API server for mobile apps, behind a cache that is fast and provably fresh.
//
// This file alone reads flags and the environment.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"freshet/internal/command"
	"freshet/internal/opcache"
	"freshet/internal/seed"
	"freshet/internal/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args, os.LookupEnv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "freshet:", err)
		os.Exit(1)
	}
}

// run is the program: what it reads of its surroundings are its parameters.
func run(ctx context.Context, args []string, lookup lookup, stdout, stderr io.Writer) error {
	p := &program{lookup: lookup, out: stdout, err: stderr}
	root := &cli.Command{
		Name:      "freshet",
		Usage:     "a GraphQL API server behind a cache that is fast and provably fresh",
		Writer:    stdout,
		ErrWriter: stderr,
		Commands: []*cli.Command{
			p.serve(), p.dev(), p.migrate(), p.seed(), p.persisted(), p.policy(), p.version(),
		},
		ArgValidator:   checkArguments,
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	explainUsage(root)
	return root.Run(ctx, args)
}

// explainUsage has a command line that can't be read answered by one sentence, not by all of the help.
func explainUsage(c *cli.Command) {
	c.OnUsageError = func(_ context.Context, at *cli.Command, err error, _ bool) error {
		return fmt.Errorf("%w; see %s -h", err, at.FullName())
	}
	for _, sub := range c.Commands {
		explainUsage(sub)
	}
}

// checkArguments refuses what is neither a command nor the argument that a command's ArgsUsage asks for.
func checkArguments(_ context.Context, c *cli.Command) error {
	first := c.Args().First()
	switch {
	case first == "" || c.ArgsUsage != "" || c.Name == "help":
		return nil
	case slices.ContainsFunc(c.Commands, func(sub *cli.Command) bool { return sub.Name != "help" }):
		return fmt.Errorf("there is no command %q; see %s -h", first, c.FullName())
	}
	return fmt.Errorf("%s takes no arguments, but got %q; see %s -h", c.FullName(), first, c.FullName())
}

type lookup = func(name string) (string, bool)

// program makes the commands.
type program struct {
	lookup   lookup
	out, err io.Writer
}

// env lets a flag be set by an environment variable too.
func (p *program) env(name string) cli.ValueSourceChain {
	return cli.NewValueSourceChain(variable{name, p.lookup})
}

// variable is an environment variable as the source of a flag.
type variable struct {
	name   string
	lookup lookup
}

func (v variable) Lookup() (string, bool) { return v.lookup(v.name) }
func (v variable) String() string         { return "environment variable " + v.name }
func (v variable) GoString() string       { return v.String() }
func (v variable) IsFromEnv() bool        { return true }
func (v variable) Key() string            { return v.name }

func (p *program) databaseURL() cli.Flag {
	return &cli.StringFlag{
		Name: "database-url", Sources: p.env("DATABASE_URL"), Required: true, HideDefault: true,
		Usage: "PostgreSQL, the primary: postgres://user:password@host:port/database",
	}
}

// serving are the flags of every command that serves.
func (p *program) serving(addr string, open bool) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "addr", Sources: p.env("FRESHET_ADDR"), Value: addr, Usage: "address to listen on"},
		&cli.StringFlag{
			Name: "service", Sources: p.env("FRESHET_SERVICE"), Value: "freshet",
			Usage: "begins every key in Redis; one for each database",
		},
		&cli.StringFlag{Name: "name", Sources: p.env("FRESHET_NAME"), Usage: "of this instance, for operators"},
		&cli.IntFlag{
			Name: "database-conns", Sources: p.env("FRESHET_DATABASE_CONNS"), Value: 20,
			Usage: "connections to PostgreSQL at most; 5 more follow the change log",
		},
		&cli.IntFlag{
			Name: "redis-conns", Sources: p.env("FRESHET_REDIS_CONNS"), Value: 64, Usage: "connections to Redis at most",
		},
		&cli.Int64Flag{
			Name: "memory", Sources: p.env("FRESHET_MEMORY"), Value: 64 << 20,
			Usage: "bytes of cached values to hold in this process; negative: none",
		},
		&cli.Int64Flag{
			Name: "result-memory", Sources: p.env("FRESHET_RESULT_MEMORY"), Value: 64 << 20,
			Usage: "bytes of whole results to hold in this process; negative: none",
		},
		&cli.BoolFlag{
			Name: "apq", Sources: p.env("FRESHET_APQ"), Value: true,
			Usage: "let clients register operations by their hash (automatic persisted queries)",
		},
		&cli.StringFlag{
			Name: "enforce", Sources: p.env("FRESHET_ENFORCE"), Value: string(server.EnforceOff),
			Usage: "operations to execute: off (all), log (all, and log those of no build), safelist (those of active builds), " +
				"id-only (the same, sent by their ids)",
			Validator: func(text string) error { return new(server.Enforcement).UnmarshalText([]byte(text)) },
		},
		&cli.BoolFlag{
			Name: "private-max-age", Sources: p.env("FRESHET_PRIVATE_MAX_AGE"),
			Usage: "let clients keep one viewer's results unasked (private, max-age=N) instead of revalidating them",
		},
		&cli.StringFlag{
			Name: "tag-header", Sources: p.env("FRESHET_TAG_HEADER"),
			Usage: "tell a CDN the tags of public results: Surrogate-Key or Cache-Tag",
			Validator: func(name string) error {
				if name != "" && name != "Surrogate-Key" && name != "Cache-Tag" {
					return fmt.Errorf("%q is not Surrogate-Key or Cache-Tag", name)
				}
				return nil
			},
		},
		&cli.BoolFlag{
			Name: "playground", Sources: p.env("FRESHET_PLAYGROUND"), Value: open, Usage: "serve GraphiQL at /playground",
		},
		&cli.BoolFlag{
			Name: "introspection", Sources: p.env("FRESHET_INTROSPECTION"), Value: open,
			Usage: "answer introspection, and suggest names in errors",
		},
		&cli.StringSliceFlag{
			Name: "origin", Sources: p.env("FRESHET_ORIGINS"),
			Usage: "origin of pages that may call the API, or *; several with commas between",
		},
		&cli.Int64Flag{
			Name: "body-limit", Sources: p.env("FRESHET_BODY_LIMIT"), Value: 1 << 20, Usage: "bytes of a request at most",
		},
		&cli.DurationFlag{
			Name: "request-timeout", Sources: p.env("FRESHET_REQUEST_TIMEOUT"), Value: 10 * time.Second,
			Usage: "time for a request at most",
		},
		&cli.DurationFlag{
			Name: "drain-delay", Sources: p.env("FRESHET_DRAIN_DELAY"),
			Usage: "how long to go on accepting requests, unready, when told to stop",
		},
		&cli.DurationFlag{
			Name: "drain-timeout", Sources: p.env("FRESHET_DRAIN_TIMEOUT"), Value: 15 * time.Second,
			Usage: "time for running requests to finish when told to stop",
		},
		&cli.StringFlag{
			Name: "log-level", Sources: p.env("FRESHET_LOG_LEVEL"), Value: "info", Usage: "debug, info, warn or error",
		},
		&cli.StringFlag{Name: "log-format", Sources: p.env("FRESHET_LOG_FORMAT"), Value: "json", Usage: "json or text"},
	}
}

func (p *program) serveOptions(c *cli.Command) (command.ServeOptions, error) {
	log, err := p.logger(c.String("log-level"), c.String("log-format"))
	return command.ServeOptions{
		Addr:           c.String("addr"),
		DatabaseURL:    c.String("database-url"),
		DatabaseConns:  c.Int("database-conns"),
		RedisURL:       c.String("redis-url"),
		RedisConns:     c.Int("redis-conns"),
		Service:        c.String("service"),
		Name:           c.String("name"),
		Playground:     c.Bool("playground"),
		Introspection:  c.Bool("introspection"),
		Origins:        c.StringSlice("origin"),
		BodyLimit:      c.Int64("body-limit"),
		RequestTimeout: c.Duration("request-timeout"),
		DrainDelay:     c.Duration("drain-delay"),
		DrainTimeout:   c.Duration("drain-timeout"),
		Automatic:      c.Bool("apq"),
		Enforcement:    server.Enforcement(c.String("enforce")),
		Memory:         c.Int64("memory"),
		ResultMemory:   c.Int64("result-memory"),
		ResultHeaders:  opcache.Headers{PrivateMaxAge: c.Bool("private-max-age"), Tags: c.String("tag-header")},
		Log:            log,
	}, err
}

func (p *program) logger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is not debug, info, warn or error", level)
	}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(p.err, &slog.HandlerOptions{Level: l})), nil
	case "text":
		return slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: l})), nil
	}
	return nil, fmt.Errorf("--log-format: %q is not json or text", format)
}

func (p *program) serve() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve from a given PostgreSQL and Redis",
		Flags: append([]cli.Flag{
			p.databaseURL(),
			&cli.StringFlag{
				Name: "redis-url", Sources: p.env("REDIS_URL"), Required: true, HideDefault: true,
				Usage: "Redis: redis://user:password@host:port/0, or rediss:// with TLS",
			},
		}, p.serving(":8080", false)...),
		Action: func(ctx context.Context, c *cli.Command) error {
			o, err := p.serveOptions(c)
			if err != nil {
				return err
			}
			return command.Serve(ctx, o)
		},
	}
}

func (p *program) dev() *cli.Command {
	var size seed.Size
	return &cli.Command{
		Name:  "dev",
		Usage: "serve from a private PostgreSQL and Redis with demo data",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "data", Sources: p.env("FRESHET_DATA"), Value: ".freshet", Usage: "directory of the data"},
			p.sizeFlag(&size),
			&cli.BoolFlag{Name: "reset", Usage: "throw the data away and start over"},
		}, p.serving(":8080", true)...),
		Action: func(ctx context.Context, c *cli.Command) error {
			o, err := p.serveOptions(c)
			if err != nil {
				return err
			}
			return command.Dev(ctx, command.DevOptions{
				Serve: o, Dir: c.String("data"), Size: size, Reset: c.Bool("reset"), Out: p.out,
			})
		},
	}
}

func (p *program) sizeFlag(size *seed.Size) cli.Flag {
	return &cli.StringFlag{
		Name: "seed", Sources: p.env("FRESHET_SEED"), Value: "small", Usage: "size of the demo data: small, medium or large",
		Validator: func(text string) error { return size.UnmarshalText([]byte(text)) },
	}
}

func (p *program) migrate() *cli.Command {
	step := func(name, usage string, do func(context.Context, string, io.Writer) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Flags: []cli.Flag{p.databaseURL()},
			Action: func(ctx context.Context, c *cli.Command) error { return do(ctx, c.String("database-url"), p.out) },
		}
	}
	return &cli.Command{
		Name:  "migrate",
		Usage: "change the schema of the database",
		Commands: []*cli.Command{
			step("up", "apply the migrations that are missing", command.MigrateUp),
			step("down", "take back what the last up applied", command.MigrateDown),
			step("status", "list the migrations", command.MigrateStatus),
		},
	}
}

func (p *program) seed() *cli.Command {
	var size seed.Size
	return &cli.Command{
		Name:  "seed",
		Usage: "fill an empty, migrated database with demo data",
		Flags: []cli.Flag{p.databaseURL(), p.sizeFlag(&size)},
		Action: func(ctx context.Context, c *cli.Command) error {
			return command.Seed(ctx, c.String("database-url"), size, p.out)
		},
	}
}

func (p *program) persisted() *cli.Command {
	app := &cli.StringFlag{Name: "app", Sources: p.env("FRESHET_APP"), Required: true, Usage: "what the app calls itself in apollographql-client-name"}
	build := &cli.StringFlag{Name: "build", Required: true, Usage: "its version, as in apollographql-client-version"}
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print one JSON document"}
	step := func(name, usage, file string, do func(context.Context, *cli.Command, command.PersistedOptions) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: file, Flags: append([]cli.Flag{p.databaseURL()}, flags...),
			Action: func(ctx context.Context, c *cli.Command) error {
				if file != "" && c.Args().Len() != 1 {
					return fmt.Errorf("persisted %s: got %d arguments, see freshet persisted %s -h", name, c.Args().Len(), name)
				}
				return do(ctx, c, command.PersistedOptions{
					DatabaseURL: c.String("database-url"), App: c.String("app"), Build: c.String("build"),
					In: c.Root().Reader, Out: p.out, JSON: c.Bool("json"),
				})
			},
		}
	}
	only := func(do func(context.Context, command.PersistedOptions) error) func(context.Context, *cli.Command, command.PersistedOptions) error {
		return func(ctx context.Context, _ *cli.Command, o command.PersistedOptions) error { return do(ctx, o) }
	}
	return &cli.Command{
		Name:  "persisted",
		Usage: "publish the operations that builds of apps ship with, and look after them",
		Commands: []*cli.Command{
			step("publish", "add the operations of a client's manifest to a build: all of them or none", "FILE, or - for standard input",
				func(ctx context.Context, c *cli.Command, o command.PersistedOptions) error {
					return command.PublishPersisted(ctx, o, c.Args().First(), c.Bool("activate"))
				}, app, build, &cli.BoolFlag{Name: "activate", Usage: "serve the build at once"}, asJSON),
			step("list", "list builds, their states and their use", "", only(command.ListPersisted),
				&cli.StringFlag{Name: "app", Sources: p.env("FRESHET_APP"), Usage: "of this app only"}, asJSON),
			step("show", "list the operations of a build and their use", "", only(command.ShowPersisted), app, build, asJSON),
			step("activate", "serve the operations of a build", "", only(command.ActivatePersisted), app, build),
			step("retire", "serve the operations of a build no more; asks if they were in use in the last 7 days", "",
				func(ctx context.Context, c *cli.Command, o command.PersistedOptions) error {
					return command.RetirePersisted(ctx, o, isTerminal(o.In), c.Bool("yes"))
				}, app, build, &cli.BoolFlag{Name: "yes", Usage: "don't ask"}),
			step("check", "tell which operations of active and pending builds a schema would break; exit code 1 if any", "",
				func(ctx context.Context, c *cli.Command, o command.PersistedOptions) error {
					return command.CheckPersisted(ctx, o, c.String("schema"))
				}, &cli.StringFlag{Name: "schema", Required: true, Usage: "file with the next schema, or - for standard input"}, asJSON),
		},
	}
}

// isTerminal tells whether a person can be asked.
func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func (p *program) policy() *cli.Command {
	return &cli.Command{
		Name:   "policy",
		Usage:  "print the effective cache policy of the schema",
		Action: func(context.Context, *cli.Command) error { return command.PrintPolicy(p.out) },
	}
}

func (p *program) version() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(context.Context, *cli.Command) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintln(p.out, "freshet", info.Main.Version, info.GoVersion)
			return err
		},
	}
}
