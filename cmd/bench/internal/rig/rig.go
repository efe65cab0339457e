// Package rig runs the real program over a private PostgreSQL and Redis, and reads what they count.
package rig

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"freshet/internal/devenv"
	"freshet/internal/seed"
)

// Hang is how long this program waits for what comes on a machine of any speed, or never. It judges no speed.
const Hang = 5 * time.Minute

// Options says where a Rig keeps its data, and how much of it there is.
type Options struct {
	// Dir is the data directory. It is used again: seeding happens once. Default ".freshet/bench" and the size.
	Dir  string
	Size seed.Size
	// Form of Redis. Default Single.
	Form Form
	// Progress hears what takes long. Nil means silence.
	Progress io.Writer
	// Profiled builds a program that Server.Profile works on.
	Profiled bool
	// Steered builds a program that Server.StepClock works on.
	Steered bool
	// Args are flags of serve for every instance.
	Args []string
}

// Rig is a seeded PostgreSQL and an empty Redis, with the program built. It lives until Close.
type Rig struct {
	// DB reaches the database as its owner.
	DB *pgxpool.Pool
	// Redis reaches what the instances share.
	Redis redis.UniversalClient
	// Env has the servers, to be stopped and started. Its Redis is the instances' where Form is Single.
	Env *devenv.Env
	// Form of Redis, and the servers of a form that has several.
	Form  Form
	Group *devenv.RedisGroup

	redisURL string
	program  string
	args     []string
	progress io.Writer
	servers  []*Server
}

// Open builds the program, starts PostgreSQL and Redis, and seeds if the data directory is new.
func Open(ctx context.Context, o Options) (_ *Rig, err error) {
	o.Dir = cmp.Or(o.Dir, filepath.Join(".freshet", "bench", o.Size.String()))
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	r := &Rig{args: o.Args, progress: o.Progress, Form: cmp.Or(o.Form, Single)}
	if r.Env, err = devenv.Open(ctx, devenv.Options{Dir: o.Dir}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close(context.WithoutCancel(ctx)))
		}
	}()
	if r.program, err = build(ctx, r.Env.Dir, o); err != nil {
		return nil, err
	}
	if err := r.preload(ctx); err != nil {
		return nil, err
	}
	if r.DB, err = pgxpool.New(ctx, r.Env.Postgres.URL); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := r.openRedis(ctx); err != nil {
		return nil, fmt.Errorf("open Redis: %w", err)
	}
	return r, r.fill(ctx, o.Size)
}

// fill migrates, and seeds an empty database.
func (r *Rig) fill(ctx context.Context, size seed.Size) error {
	if err := r.run(ctx, io.Discard, "migrate", "up"); err != nil {
		return err
	}
	var seeded bool
	if err := r.DB.QueryRow(ctx, "SELECT EXISTS (SELECT FROM profiles)").Scan(&seeded); err != nil {
		return fmt.Errorf("look for data: %w", err)
	}
	if !seeded {
		fmt.Fprintf(r.progress, "seeding the %s data, once\n", size)
		if err := r.run(ctx, r.progress, "seed", "--seed", size.String()); err != nil {
			return err
		}
	}
	return r.countStatements(ctx)
}

// StopServers stops the instances that were started so far.
func (r *Rig) StopServers() error {
	var errs []error
	for _, s := range r.servers {
		errs = append(errs, s.Stop())
	}
	r.servers = nil
	return errors.Join(errs...)
}

// Close stops the instances, then Redis and PostgreSQL.
func (r *Rig) Close(ctx context.Context) error {
	errs := []error{r.StopServers()}
	if r.Redis != nil {
		errs = append(errs, r.Redis.Close())
	}
	if r.Group != nil {
		errs = append(errs, r.Group.Stop(ctx))
	}
	if r.DB != nil {
		r.DB.Close()
	}
	return errors.Join(append(errs, r.Env.Close(ctx))...)
}

// run executes one of the program's commands to its end.
func (r *Rig) run(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, r.program, args...)
	cmd.Env = r.environment()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, io.MultiWriter(out, &said)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("freshet %v: %w: %s", args, err, said.String())
	}
	return nil
}

// environment passes on the addresses, which hold passwords, where no process list shows them.
func (r *Rig) environment() []string {
	return append(os.Environ(), "DATABASE_URL="+r.Env.Postgres.URL, "REDIS_URL="+r.redisURL)
}

// build compiles the program that stands in the module of the current directory.
func build(ctx context.Context, dir string, o Options) (program string, err error) {
	program = filepath.Join(dir, "freshet")
	added := &overlay{dir: dir, files: make(map[string]string)}
	if o.Profiled {
		err = added.add(ctx, "freshet", "bench_profiler.go", profiler)
	}
	if o.Steered {
		err = errors.Join(err, added.steerClock(ctx))
	}
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", program}
	if len(added.files) > 0 {
		path, err := added.write()
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", path)
	}
	if out, err := exec.CommandContext(ctx, "go", append(args, "freshet")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build freshet: %w: %s", err, out)
	}
	return program, nil
}
