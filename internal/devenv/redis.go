package devenv

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// RedisOptions says where a private Redis runs, and how.
type RedisOptions struct {
	// Dir is the data directory. Redis works in Dir/redis, and keeps nothing there but its log.
	Dir string
	// Settings are lines of redis.conf that add to the defaults or replace them, as in "maxmemory": "4mb".
	Settings map[string]string
	// Password of the default user. Default: a new one.
	Password string
	// TLS, if it names a certificate, has the server listen with TLS too, and those of a group talk to each other so.
	TLS RedisTLS
	// Log hears of a server that an earlier run left behind. Nil means silence.
	Log *slog.Logger

	sentinel bool
}

// RedisTLS names files in PEM form: the authority that all certificates are checked by, also those that clients must
// have, and the server's own with its key.
type RedisTLS struct{ CA, Cert, Key string }

// Redis is a private Redis server on a free port of 127.0.0.1, as production is asked to run it: 512 MB, allkeys-lru,
// nothing on disk. It runs until Stop or Kill; on Linux it also stops when this process dies.
type Redis struct {
	server
	// URL reaches database 0. It contains the password: never print it.
	URL string
	// Addr is the host and port alone.
	Addr string
	// TLSAddr is where it listens with TLS, if it does.
	TLSAddr string
	// Password stays through a Restart.
	Password string
	// Dir holds the server's log.
	Dir string

	binary   string
	settings map[string]string
	sentinel bool
	port     int
	tls      RedisTLS
	tlsPort  int // 0: none
}

// StartRedis returns once the server answers. The context bounds the start alone.
func StartRedis(ctx context.Context, opts RedisOptions) (*Redis, error) {
	binary, err := findRedis(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", opts.Dir, err)
	}
	home, err := makeHome(redisHome(dir), nil)
	if err != nil {
		return nil, err
	}
	r := &Redis{
		server: server{name: "Redis", stop: syscall.SIGTERM, log: opts.Log},
		binary: binary, settings: maps.Clone(opts.Settings), sentinel: opts.sentinel, tls: opts.TLS, Dir: home, Password: cmp.Or(opts.Password, password()),
	}
	if r.port, err = withFreePort(func(port int) error {
		if err := r.chooseMorePorts(); err != nil {
			return err
		}
		return r.start(ctx, port)
	}); err != nil {
		return nil, err
	}
	r.Addr = loopback(r.port)
	if r.tlsPort != 0 {
		r.TLSAddr = loopback(r.tlsPort)
	}
	r.URL = (&url.URL{Scheme: "redis", Host: r.Addr, Path: "0", User: url.UserPassword("default", r.Password)}).String()
	return r, nil
}

// chooseMorePorts is called anew for each attempt to start: any of the ports may be taken by then.
func (r *Redis) chooseMorePorts() (err error) {
	if r.tls.Cert != "" {
		if r.tlsPort, err = freePort(); err != nil {
			return err
		}
	}
	if r.settings["cluster-enabled"] != "yes" {
		return nil
	}
	bus, err := freePort()
	r.settings["cluster-port"] = strconv.Itoa(bus)
	return err
}

// Restart starts the server again, empty and on the same port, after Stop or Kill.
func (r *Redis) Restart(ctx context.Context) error { return r.start(ctx, r.port) }

// Pause stops the process in its tracks (SIGSTOP): connections stay open, and nothing answers until Resume.
func (r *Redis) Pause() { r.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (r *Redis) Resume() { r.signal(syscall.SIGCONT) }

func (r *Redis) start(ctx context.Context, port int) error {
	if err := r.clear(ctx, r.Dir); err != nil {
		return err
	}
	log, err := createFile(filepath.Join(r.Dir, "redis.log"))
	if err != nil {
		return err
	}
	defer log.Close()

	cmd, err := r.command(port)
	if err != nil {
		return err
	}
	cmd.Dir = r.Dir
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = log, log
	c, err := spawn(cmd, nil, r.stop)
	if err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	r.set(c)
	if err := c.await(ctx, func() bool { return answers(port, r.Password) }); err != nil {
		r.Kill()
		output := tail(log.Name())
		if strings.Contains(output, "Address already in use") {
			return fmt.Errorf("start Redis on %s: %w", loopback(port), errPortTaken)
		}
		return explain("start Redis in "+r.Dir, r.Dir, output, err)
	}
	return nil
}

// command gets its configuration on stdin, so that the password is in no file and no process list. Sentinel insists on a
// file, which it keeps its own notes in.
func (r *Redis) command(port int) (*exec.Cmd, error) {
	if !r.sentinel {
		cmd := exec.Command(r.binary, "-")
		cmd.Stdin = strings.NewReader(r.configuration(port))
		return cmd, nil
	}
	file, err := createFile(filepath.Join(r.Dir, "sentinel.conf"))
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString(r.configuration(port))
	return exec.Command(r.binary, file.Name(), "--sentinel"), errors.Join(err, file.Close())
}

func (r *Redis) configuration(port int) string {
	settings := map[string]string{
		"bind":             "127.0.0.1",
		"port":             strconv.Itoa(port),
		"requirepass":      r.Password,
		"maxmemory":        "512mb",
		"maxmemory-policy": "allkeys-lru",
		"save":             `""`,
		"appendonly":       "no",
		"daemonize":        "no",
		"shutdown-timeout": "0", // do not wait for replicas that lag
	}
	if r.sentinel {
		for _, name := range []string{"maxmemory", "maxmemory-policy", "save", "appendonly", "shutdown-timeout"} {
			delete(settings, name)
		}
	}
	if r.tlsPort != 0 {
		maps.Copy(settings, map[string]string{
			"tls-port": strconv.Itoa(r.tlsPort), "tls-replication": "yes",
			"tls-ca-cert-file": r.tls.CA, "tls-cert-file": r.tls.Cert, "tls-key-file": r.tls.Key,
		})
	}
	maps.Copy(settings, r.settings)
	var conf strings.Builder
	for name, value := range settings {
		fmt.Fprintf(&conf, "%s %s\n", name, value)
	}
	return conf.String()
}

// peerPort is where the other servers of a group find it.
func (r *Redis) peerPort() int { return cmp.Or(r.tlsPort, r.port) }

// answers proves by the password that the server on the port is ours.
func answers(port int, password string) bool {
	const patience = time.Second
	conn, err := net.DialTimeout("tcp", loopback(port), patience)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\n", password); err != nil {
		return false
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && reply == "+OK\r\n"
}
