// Command freshet is a GraphQL API server for mobile apps, behind a cache that is fast and provably fresh.
//
// This file alone reads flags and the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"freshet/internal/command"
	"freshet/internal/redisconn"
	"freshet/internal/seed"
	"freshet/internal/server"
	"freshet/internal/tracing"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args, os.LookupEnv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "freshet:", err)
		code := 1
		if its, ok := errors.AsType[interface {
			error
			ExitCode() int
		}](err); ok {
			code = its.ExitCode()
		}
		os.Exit(code)
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
			p.serve(), p.dev(), p.migrate(), p.seed(), p.persisted(), p.explain(), p.cache(), p.doctor(), p.policy(), p.version(),
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
	lookup              lookup
	out, err            io.Writer
	logLevel, logFormat string
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

// from is the flag's environment variable: FRESHET_ and its name in capitals.
func (p *program) from(name string) cli.ValueSourceChain {
	return p.env("FRESHET_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
}

func (p *program) text(to *string, name, value, usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: name, Sources: p.from(name), Destination: to, Value: value, Usage: usage}
}

func (p *program) number(to *int, name string, value int, usage string) cli.Flag {
	return &cli.IntFlag{Name: name, Sources: p.from(name), Destination: to, Value: value, Usage: usage}
}

func (p *program) bytes(to *int64, name string, value int64, usage string) cli.Flag {
	return &cli.Int64Flag{Name: name, Sources: p.from(name), Destination: to, Value: value, Usage: usage}
}

func (p *program) span(to *time.Duration, name string, value time.Duration, usage string) cli.Flag {
	return &cli.DurationFlag{Name: name, Sources: p.from(name), Destination: to, Value: value, Usage: usage}
}

func (p *program) share(to *float64, name string, value float64, usage string) cli.Flag {
	return &cli.FloatFlag{
		Name: name, Sources: p.from(name), Destination: to, Value: value, Usage: usage, Validator: tracing.CheckSample,
	}
}

func (p *program) yes(to *bool, name string, value bool, usage string) cli.Flag {
	return &cli.BoolFlag{Name: name, Sources: p.from(name), Destination: to, Value: value, Usage: usage}
}

// texts may be given several times, or with commas between.
func (p *program) texts(to *[]string, name, usage string) cli.Flag {
	return &cli.StringSliceFlag{Name: name, Sources: p.from(name), Destination: to, Usage: usage}
}

// checked has what the flag is given looked at before anything else happens.
func checked(flag *cli.StringFlag, check func(text string) error) cli.Flag {
	flag.Validator = check
	return flag
}

func oneOf(words ...string) func(string) error {
	return func(text string) error {
		if slices.Contains(words, text) {
			return nil
		}
		return fmt.Errorf("%q is not %s", text, strings.Join(words, " or "))
	}
}

func (p *program) databaseURL(to *string) cli.Flag {
	return &cli.StringFlag{
		Name: "database-url", Sources: p.env("DATABASE_URL"), Destination: to, Required: true, HideDefault: true,
		Usage: "PostgreSQL, the primary: postgres://user:password@host:port/database",
	}
}

func (p *program) logDatabaseURL(to *string) cli.Flag {
	return p.text(to, "log-database-url", "", "the same database for the change log, past a pooler in transaction mode; empty: --database-url")
}

func (p *program) replicaURL(to *string) cli.Flag {
	return p.text(to, "replica-url", "", "a streaming replica of it, for top lists and statistics as long as it is up to date; empty: none")
}

func (p *program) redisURL(to *string) cli.Flag {
	return &cli.StringFlag{
		Name: "redis-url", Sources: p.env("REDIS_URL"), Destination: to, Required: true, HideDefault: true,
		Usage: "Redis: " + redisconn.Usage,
	}
}

// serving are the flags of every command that serves; open is for a machine of one's own.
func (p *program) serving(o *command.ServeOptions, open bool) []cli.Flag {
	return slices.Concat(p.connecting(o), p.caching(o), p.answering(o, open), p.guarding(&o.Guards, open), p.running(o))
}

func (p *program) connecting(o *command.ServeOptions) []cli.Flag {
	return []cli.Flag{
		p.text(&o.Addr, "addr", ":8080", "address to listen on"),
		p.logDatabaseURL(&o.LogDatabaseURL), p.replicaURL(&o.ReplicaURL),
		p.text(&o.Service, "service", "freshet", "begins every key in Redis; one for each database"),
		p.text(&o.Name, "name", "", "of this instance, for operators"),
		p.number(&o.DatabaseConns, "database-conns", 20, "connections to PostgreSQL at most; 5 more follow the change log"),
		p.number(&o.RedisConns, "redis-conns", 64, "connections to Redis at most"),
		p.text(&o.External.ECB, "ecb-url", "https://www.ecb.europa.eu/stats", "statistics with exchange rates; empty: none"),
		p.text(&o.External.Nominatim, "nominatim-url", "https://nominatim.openstreetmap.org", "geocoder; empty: none"),
		p.text(&o.External.Contact, "contact", "", "address or URL that tells those two whom to write to about this server"),
	}
}

func (p *program) caching(o *command.ServeOptions) []cli.Flag {
	return []cli.Flag{
		p.bytes(&o.Memory, "memory", 64<<20, "bytes of cached values to hold in this process; negative: none"),
		p.bytes(&o.ResultMemory, "result-memory", 64<<20, "bytes of whole results to hold in this process; negative: none"),
		p.yes(&o.ResultHeaders.PrivateMaxAge, "private-max-age", false,
			"let clients keep one viewer's results unasked (private, max-age=N) instead of revalidating them"),
		checked(p.text(&o.ResultHeaders.Tags, "tag-header", "", "tell a CDN the tags of public results: Surrogate-Key or Cache-Tag"),
			oneOf("", "Surrogate-Key", "Cache-Tag")),
	}
}

func (p *program) answering(o *command.ServeOptions, open bool) []cli.Flag {
	return []cli.Flag{
		p.yes(&o.Automatic, "apq", true, "let clients register operations by their hash (automatic persisted queries)"),
		checked(p.text((*string)(&o.Enforcement), "enforce", string(server.EnforceOff),
			"operations to execute: off (all), log (all, and log those of no build), safelist (those of active builds), "+
				"id-only (the same, sent by their ids)"),
			func(text string) error { return new(server.Enforcement).UnmarshalText([]byte(text)) }),
		p.yes(&o.Playground, "playground", open, "serve GraphiQL at /playground"),
		p.yes(&o.Introspection, "introspection", open, "answer introspection, and suggest names in errors"),
		&cli.StringSliceFlag{
			Name: "origin", Sources: p.env("FRESHET_ORIGINS"), Destination: &o.Origins,
			Usage: "origin of pages that may call the API, or *; several with commas between",
		},
		p.bytes(&o.BodyLimit, "body-limit", 1<<20, "bytes of a request at most"),
		p.span(&o.RequestTimeout, "request-timeout", 10*time.Second, "time for a request at most"),
	}
}

func (p *program) guarding(o *command.Guards, open bool) []cli.Flag {
	viewer, address := command.Rate{PerSecond: 200, Burst: 10_000}, command.Rate{PerSecond: 1_000, Burst: 50_000}
	if open {
		viewer, address = command.Rate{PerSecond: 100_000, Burst: 1_000_000}, command.Rate{PerSecond: 100_000, Burst: 1_000_000}
	}
	return []cli.Flag{
		p.number(&o.Viewer.PerSecond, "rate-viewer", viewer.PerSecond, "cost a second that a viewer may ask for; 0: any"),
		p.number(&o.Viewer.Burst, "burst-viewer", viewer.Burst, "cost at once after a rest"),
		p.number(&o.Address.PerSecond, "rate-address", address.PerSecond,
			"cost a second that a client address may ask for, in requests and without signing in; 0: any"),
		p.number(&o.Address.Burst, "burst-address", address.Burst, "cost at once after a rest"),
		p.texts(&o.TrustedProxies, "trusted-proxy", "network of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8; several"),
		p.text(&o.Provider.URL, "jwks-url", "", "keys of an identity provider whose JWTs sign in too"),
		p.text(&o.Provider.Issuer, "jwt-issuer", "", "issuer that its tokens name"),
		p.text(&o.Provider.Audience, "jwt-audience", "", "audience that its tokens name"),
		p.texts(&o.Provider.Algorithms, "jwt-algorithm", "what they may be signed with: RS256, ES256, EdDSA (default: all three)"),
		p.texts(&o.Provider.Scopes, "jwt-scope", "scope that a token's scope claim can give (default: none); several"),
		p.yes(&o.Provider.NewProfiles, "jwt-new-profiles", false, "make a profile for a subject that has none yet"),
	}
}

func (p *program) running(o *command.ServeOptions) []cli.Flag {
	return []cli.Flag{
		p.span(&o.DrainDelay, "drain-delay", 0, "how long to go on accepting requests, unready, when told to stop"),
		p.span(&o.DrainTimeout, "drain-timeout", 15*time.Second, "time for running requests to finish when told to stop"),
		checked(&cli.StringFlag{
			Name: "otlp-endpoint", Sources: p.env("OTEL_EXPORTER_OTLP_ENDPOINT"), Destination: &o.TraceEndpoint,
			Usage: "OpenTelemetry collector to send traces to, such as http://localhost:4318; empty: none",
		}, tracing.CheckEndpoint),
		p.share(&o.TraceSample, "trace-sample", 0.01, "share of requests to trace, from 0 to 1, where no caller has decided"),
		checked(p.text(&p.logLevel, "log-level", "info", "debug, info, warn or error"),
			func(text string) error { return new(slog.Level).UnmarshalText([]byte(text)) }),
		checked(p.text(&p.logFormat, "log-format", "json", "json or text"), oneOf("json", "text")),
	}
}

// logger is what the flags of running ask for.
func (p *program) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: new(slog.LevelVar)}
	_ = o.Level.(*slog.LevelVar).UnmarshalText([]byte(p.logLevel)) // checked
	if p.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.err, o))
	}
	return slog.New(slog.NewTextHandler(p.err, o))
}

func (p *program) serve() *cli.Command {
	var o command.ServeOptions
	return &cli.Command{
		Name:  "serve",
		Usage: "serve from a given PostgreSQL and Redis",
		Flags: append([]cli.Flag{p.databaseURL(&o.DatabaseURL), p.redisURL(&o.RedisURL)}, p.serving(&o, false)...),
		Action: func(ctx context.Context, _ *cli.Command) error {
			o.Log = p.logger()
			return command.Serve(ctx, o)
		},
	}
}

func (p *program) dev() *cli.Command {
	o := command.DevOptions{Out: p.out}
	return &cli.Command{
		Name:  "dev",
		Usage: "serve from a private PostgreSQL and Redis with demo data",
		Flags: append([]cli.Flag{
			p.text(&o.Dir, "data", ".freshet", "directory of the data"),
			p.sizeFlag(&o.Size),
			&cli.BoolFlag{Name: "reset", Destination: &o.Reset, Usage: "throw the data away and start over"},
		}, p.serving(&o.Serve, true)...),
		Action: func(ctx context.Context, _ *cli.Command) error {
			o.Serve.Log = p.logger()
			return command.Dev(ctx, o)
		},
	}
}

func (p *program) sizeFlag(size *seed.Size) cli.Flag {
	return checked(p.text(nil, "seed", "small", "size of the demo data: small, medium or large"),
		func(text string) error { return size.UnmarshalText([]byte(text)) })
}

func (p *program) seed() *cli.Command {
	var url string
	var size seed.Size
	return &cli.Command{
		Name:   "seed",
		Usage:  "fill an empty, migrated database with demo data",
		Flags:  []cli.Flag{p.databaseURL(&url), p.sizeFlag(&size)},
		Action: func(ctx context.Context, _ *cli.Command) error { return command.Seed(ctx, url, size, p.out) },
	}
}

func (p *program) persisted() *cli.Command {
	o := command.PersistedOptions{Out: p.out}
	var activate, yes bool
	var schema string
	app := p.text(&o.App, "app", "", "what the app calls itself in apollographql-client-name")
	app.Required = true
	build := &cli.StringFlag{Name: "build", Destination: &o.Build, Required: true, Usage: "its version, as in apollographql-client-version"}
	asJSON := &cli.BoolFlag{Name: "json", Destination: &o.JSON, Usage: "print one JSON document"}
	step := func(name, usage, file string, do func(ctx context.Context, file string) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: file, Flags: append([]cli.Flag{p.databaseURL(&o.DatabaseURL)}, flags...),
			Action: func(ctx context.Context, c *cli.Command) error {
				if file != "" && c.Args().Len() != 1 {
					return fmt.Errorf("persisted %s: got %d arguments, see freshet persisted %s -h", name, c.Args().Len(), name)
				}
				o.In = c.Root().Reader
				return do(ctx, c.Args().First())
			},
		}
	}
	only := func(do func(context.Context, command.PersistedOptions) error) func(context.Context, string) error {
		return func(ctx context.Context, _ string) error { return do(ctx, o) }
	}
	return &cli.Command{
		Name:  "persisted",
		Usage: "publish the operations that builds of apps ship with, and look after them",
		Commands: []*cli.Command{
			step("publish", "add the operations of a client's manifest to a build: all of them or none", "FILE, or - for standard input",
				func(ctx context.Context, file string) error { return command.PublishPersisted(ctx, o, file, activate) },
				app, build, &cli.BoolFlag{Name: "activate", Destination: &activate, Usage: "serve the build at once"}, asJSON),
			step("list", "list builds, their states and their use", "", only(command.ListPersisted),
				p.text(&o.App, "app", "", "of this app only"), asJSON),
			step("show", "list the operations of a build and their use", "", only(command.ShowPersisted), app, build, asJSON),
			step("activate", "serve the operations of a build", "", only(command.ActivatePersisted), app, build),
			step("retire", "serve the operations of a build no more; asks if they were in use in the last 7 days", "",
				func(ctx context.Context, _ string) error {
					return command.RetirePersisted(ctx, o, isTerminal(o.In), yes)
				},
				app, build, &cli.BoolFlag{Name: "yes", Destination: &yes, Usage: "don't ask"}),
			step("check", "tell which operations of active and pending builds a schema would break; exit code 1 if any", "",
				func(ctx context.Context, _ string) error { return command.CheckPersisted(ctx, o, schema) },
				&cli.StringFlag{Name: "schema", Destination: &schema, Required: true, Usage: "file with the next schema, or - for standard input"}, asJSON),
		},
	}
}

// cacheGet asks an instance of its own, as explain does.
func (p *program) cacheGet() *cli.Command {
	o := command.ExplainOptions{Out: p.out, Serve: command.ServeOptions{DatabaseConns: 4, RedisConns: 4}}
	return &cli.Command{
		Name: "get", ArgsUsage: "KEY", Usage: "tell from when an entry is, until when, what makes it stale, and whether it is fresh now",
		Flags: p.beside(&o),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return fmt.Errorf("cache get: got %d arguments, see freshet cache get -h", c.Args().Len())
			}
			o.Serve.Log = p.errorLog()
			return command.CacheGet(ctx, o, c.Args().First())
		},
	}
}

// beside are the flags of commands that run an instance of their own beside those that serve.
func (p *program) beside(o *command.ExplainOptions) []cli.Flag {
	optional := func(name, variable, usage string, to *string) cli.Flag {
		return &cli.StringFlag{Name: name, Sources: p.env(variable), Destination: to, HideDefault: true, Usage: usage}
	}
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Destination: &o.JSON, Usage: "print one JSON document"},
		p.text(&o.Dir, "data", ".freshet", "data directory of dev, whose servers are asked if no URLs are given"),
		optional("database-url", "DATABASE_URL", "PostgreSQL, the primary", &o.Serve.DatabaseURL),
		optional("redis-url", "REDIS_URL", "Redis", &o.Serve.RedisURL),
		p.text(&o.Serve.Service, "service", "freshet", "begins every key in Redis"),
	}
}

func (p *program) errorLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelError}))
}

func (p *program) explain() *cli.Command {
	o := command.ExplainOptions{Out: p.out, Serve: command.ServeOptions{DatabaseConns: 4, RedisConns: 4}}
	return &cli.Command{
		Name: "explain", ArgsUsage: "FILE|ID, or - for standard input",
		Usage: "run a query once, and print what the caches did and why; it counts as an instance while it runs",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "variables", Destination: &o.Variables, Usage: "JSON, or @FILE"},
			&cli.StringFlag{Name: "as", Destination: &o.As, Usage: "handle of the viewer; nobody without it"},
			&cli.StringFlag{Name: "operation", Destination: &o.Operation, Usage: "name, in a document with several"},
			&cli.BoolFlag{Name: "source", Destination: &o.Source, Usage: "answer from PostgreSQL alone"},
			p.text(&o.App, "app", "", "whose operation an id is"),
		}, p.beside(&o)...),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return fmt.Errorf("explain: got %d arguments, see freshet explain -h", c.Args().Len())
			}
			o.In = c.Root().Reader
			o.Serve.Log = p.errorLog()
			return command.Explain(ctx, o, c.Args().First())
		},
	}
}

// isTerminal tells whether a person can be asked.
func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
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

func (p *program) cache() *cli.Command {
	o := command.CacheOptions{Out: p.out}
	var tag, pattern string
	var metrics []string
	common := func(flags ...cli.Flag) []cli.Flag {
		return append(flags, p.text(&o.Service, "service", "freshet", "begins every key in Redis"),
			&cli.BoolFlag{Name: "json", Destination: &o.JSON, Usage: "print one JSON document"})
	}
	database, redis := p.databaseURL(&o.DatabaseURL).(*cli.StringFlag), p.redisURL(&o.RedisURL).(*cli.StringFlag)
	database.Required, redis.Required = false, false
	return &cli.Command{
		Name:  "cache",
		Usage: "look at what is cached, and remove it",
		Commands: []*cli.Command{
			p.cacheGet(),
			{
				Name: "advise", Usage: "say which TTL or tag to change, by the metrics of running instances, with the numbers",
				Flags: []cli.Flag{
					&cli.StringSliceFlag{
						Name: "metrics", Destination: &metrics, Value: []string{"http://localhost:8080/metrics"},
						Usage: "addresses of instances' metrics; several with commas between",
					},
					&cli.BoolFlag{Name: "json", Destination: &o.JSON, Usage: "print one JSON document"},
				},
				Action: func(ctx context.Context, _ *cli.Command) error { return command.Advise(ctx, metrics, o.JSON, p.out) },
			},
			{
				Name: "stats", Usage: "tell how full and how useful each Redis server is, and show a sample of what it holds",
				Flags:  common(p.redisURL(&o.RedisURL), p.number(&o.Sample, "sample", 10_000, "keys of each server to look at, at most")),
				Action: func(ctx context.Context, _ *cli.Command) error { return command.CacheStats(ctx, o) },
			},
			{
				Name: "purge", Usage: "make entries stale on every instance (--tag), or remove them from Redis (--pattern)",
				Flags: common(database, redis,
					&cli.StringFlag{Name: "tag", Destination: &tag, Usage: "what has changed, as in post:17, post:* or *; needs --database-url"},
					&cli.StringFlag{Name: "pattern", Destination: &pattern, Usage: "of keys behind the service's name, as in feed:user:42:*; needs --redis-url"},
					&cli.BoolFlag{Name: "dry-run", Destination: &o.DryRun, Usage: "count, and remove nothing"}),
				Action: func(ctx context.Context, _ *cli.Command) error {
					switch {
					case (tag == "") == (pattern == ""):
						return errors.New("cache purge: give either --tag or --pattern")
					case tag != "" && o.DatabaseURL == "":
						return errors.New("cache purge --tag needs --database-url")
					case pattern != "" && o.RedisURL == "":
						return errors.New("cache purge --pattern needs --redis-url")
					case tag != "":
						return command.PurgeTag(ctx, o, tag)
					}
					return command.PurgePattern(ctx, o, pattern)
				},
			},
		},
	}
}

func (p *program) doctor() *cli.Command {
	o := command.DoctorOptions{Out: p.out}
	return &cli.Command{
		Name:        "doctor",
		Usage:       "look for what keeps PostgreSQL and Redis from being fresh, fast or safe, and say how to mend it",
		Description: "The exit code is 0 if nothing is to be mended, whatever the warnings; 1 if something is; 2 if a server can't be asked.",
		Flags: []cli.Flag{
			p.databaseURL(&o.DatabaseURL), p.redisURL(&o.RedisURL), p.logDatabaseURL(&o.LogDatabaseURL), p.replicaURL(&o.ReplicaURL),
			&cli.BoolFlag{Name: "json", Destination: &o.JSON, Usage: "print one JSON document"},
		},
		Action: func(ctx context.Context, _ *cli.Command) error { return command.Doctor(ctx, o) },
	}
}

func (p *program) migrate() *cli.Command {
	var url string
	step := func(name, usage string, do func(context.Context, string, io.Writer) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Flags: []cli.Flag{p.databaseURL(&url)},
			Action: func(ctx context.Context, _ *cli.Command) error { return do(ctx, url, p.out) },
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

func (p *program) policy() *cli.Command {
	return &cli.Command{
		Name:   "policy",
		Usage:  "print the effective cache policy of the schema",
		Action: func(context.Context, *cli.Command) error { return command.PrintPolicy(p.out) },
	}
}
