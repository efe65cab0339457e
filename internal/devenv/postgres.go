package devenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	clusterDir   = "data"
	passwordFile = "password"
	logFile      = "postgres.log"
	databaseName = "freshet"
)

// PostgresOptions says where a private PostgreSQL keeps its data, and how it runs.
type PostgresOptions struct {
	// Dir is the data directory. The database goes to Dir/postgres, made by the newest PostgreSQL on the machine if absent.
	Dir string
	// Settings are server settings beyond the defaults, as in "fsync": "off".
	Settings map[string]string
	// Log hears of a server that an earlier run left behind. Nil means silence.
	Log *slog.Logger
}

// Postgres is a private PostgreSQL server on a free port of 127.0.0.1. It runs until Stop or Kill; on Linux it also
// stops when this process dies.
type Postgres struct {
	server
	// URL reaches the empty database "freshet" as superuser. It contains the password: never print it.
	URL string
	// Dir holds the server's files: the database, its password, the log.
	Dir string
	// Moved says that Dir is outside the data directory, because the account PostgreSQL runs under cannot enter that.
	Moved bool

	account  *account
	binaries postgresBinaries
	settings map[string]string
	port     int
}

// StartPostgres makes the database if need be and returns once the server accepts connections. The context bounds
// the start alone. Two processes must not use one Dir: Open sees to that with a lock.
func StartPostgres(ctx context.Context, opts PostgresOptions) (*Postgres, error) {
	found, err := findPostgres(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", opts.Dir, err)
	}
	p := &Postgres{server: server{name: "PostgreSQL", stop: syscall.SIGINT, log: opts.Log}, settings: opts.Settings}
	if p.account, err = serverAccount(); err != nil {
		return nil, err
	}
	if p.Dir, err = findHome(dir, p.account); err != nil {
		return nil, err
	}
	p.Moved = p.Dir == postgresRefuge(dir)
	made, err := os.ReadFile(p.file(clusterDir, "PG_VERSION"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the database's version: %w", err)
	}
	if p.binaries, err = choosePostgres(found, p.Dir, strings.TrimSpace(string(made))); err != nil {
		return nil, err
	}
	if len(made) == 0 {
		if err := p.create(ctx); err != nil {
			return nil, err
		}
	}
	secret, err := os.ReadFile(p.file(passwordFile))
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if p.port, err = withFreePort(func(port int) error { return p.start(ctx, port) }); err != nil {
		return nil, err
	}
	p.URL = (&url.URL{
		Scheme: "postgres", Host: loopback(p.port), Path: databaseName, RawQuery: "sslmode=disable",
		User: url.UserPassword(databaseName, strings.TrimSpace(string(secret))),
	}).String()
	return p, nil
}

// Restart starts the server again, on the same port, after Stop or Kill.
func (p *Postgres) Restart(ctx context.Context) error { return p.start(ctx, p.port) }

// Explain tells whether an error of a client comes from a full disk: a server that can't write its log hangs up, and says
// why in its own log only.
func (p *Postgres) Explain(err error) error {
	if output := tail(p.file(logFile)) + err.Error(); strings.Contains(output, diskFull) {
		return explain("use the database in "+p.Dir, p.Dir, output, err)
	}
	return err
}

func (p *Postgres) file(parts ...string) string {
	return filepath.Join(append([]string{p.Dir}, parts...)...)
}

// create makes the database under another name first: a directory called "data" is always complete.
func (p *Postgres) create(ctx context.Context) error {
	unfinished := p.file(clusterDir + ".new")
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("remove %s: %w", unfinished, err)
	}
	secret := p.file(passwordFile)
	file, err := createFile(secret)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, password())
	if err = errors.Join(err, file.Close(), p.account.own(secret)); err != nil {
		return explain("make a database in "+p.Dir, p.Dir, "", err)
	}
	// Locale C exists on every machine, and sorts alike on all of them.
	err = p.run(ctx, "", "initdb", "-D", unfinished, "-U", databaseName, "--pwfile="+secret, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-instructions")
	if err != nil {
		return err
	}
	err = p.run(ctx, "CREATE DATABASE "+databaseName+"\n", "postgres", "--single", "-D", unfinished, "postgres")
	if err != nil {
		return err
	}
	return os.Rename(unfinished, p.file(clusterDir))
}

// run executes one of PostgreSQL's programs to its end.
func (p *Postgres) run(ctx context.Context, input, program string, args ...string) error {
	cmd := p.command(exec.CommandContext(ctx, p.binaries.path(program), args...))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account.credential()}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // initdb then removes what it made
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return explain("make a database in "+p.Dir, p.Dir, string(out), err)
	}
	return nil
}

// command keeps the caller's PG… variables and language away from the server.
func (p *Postgres) command(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = p.Dir
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin"}
	return cmd
}

func (p *Postgres) start(ctx context.Context, port int) error {
	data := p.file(clusterDir)
	if err := p.clear(ctx, data); err != nil {
		return err
	}
	// Nobody uses the directory now. A process that happens to have the number in this file would keep PostgreSQL out.
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	log, err := createFile(p.file(logFile))
	if err != nil {
		return err
	}
	defer log.Close()

	cmd := p.command(exec.Command(p.binaries.path("postgres"), p.arguments(data, port)...))
	cmd.Stdout, cmd.Stderr = log, log
	c, err := spawn(cmd, p.account, p.stop)
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.set(c)
	if err := c.await(ctx, func() bool { return p.ready(data, c) }); err != nil {
		p.Kill()
		output := tail(log.Name())
		if strings.Contains(output, "Address already in use") {
			return fmt.Errorf("start PostgreSQL on %s: %w", loopback(port), errPortTaken)
		}
		return explain("start PostgreSQL in "+p.Dir, p.Dir, output, err)
	}
	return nil
}

func (p *Postgres) arguments(data string, port int) []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": "", // their paths may be no longer than 107 bytes
		"lc_messages":             "C",
		"synchronous_commit":      "on",
		"max_wal_size":            "2GB", // seeding should not wait for checkpoints
	}
	maps.Copy(settings, p.settings)
	args := []string{"-D", data}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// ready reads the status that the server keeps in the last line of its pid file.
func (p *Postgres) ready(data string, c *child) bool {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return len(lines) >= 8 && lines[0] == strconv.Itoa(c.cmd.Process.Pid) && strings.TrimSpace(lines[7]) == "ready"
}
