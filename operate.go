package main

import (
	"context"
	"errors"
	"io"

	"github.com/urfave/cli/v3"

	"freshet/internal/command"
)

// The commands of operators are here; how flags are read is in server.go.

func (p *program) cache() *cli.Command {
	o := command.CacheOptions{Out: p.out}
	var tag, pattern string
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
			p.databaseURL(&o.DatabaseURL), p.redisURL(&o.RedisURL),
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
