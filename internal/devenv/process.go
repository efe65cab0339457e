package devenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// pollEvery is how often a starting or stopping server is looked at; neither can wake us by itself.
	pollEvery = 5 * time.Millisecond
	// startLimit leaves room for PostgreSQL's recovery after a crash.
	startLimit = 2 * time.Minute
	// stopLimit is for the last checkpoint of a busy PostgreSQL. What has not ended by then is killed.
	stopLimit = 30 * time.Second
)

// errPortTaken means that somebody took the chosen port before the server could bind it.
var errPortTaken = errors.New("port is taken")

// child is one run of one server. It is made by spawn, and its fields never change.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and has been waited for
}

// spawn starts cmd in a process group of its own, so that Ctrl-C in a terminal reaches only us, and we stop the
// children in order. On Linux the child gets the signal onDeath should we die without stopping it.
func spawn(cmd *exec.Cmd, account *account, onDeath syscall.Signal) (*child, error) {
	cmd.SysProcAttr = sysProcAttr(account, onDeath)
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The signal is sent when the starting *thread* ends, so the thread is kept for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(c.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			// Why it ended is in its log; whoever waits reads it there.
			_ = cmd.Wait()
		}
	}()
	return c, <-started
}

// await looks until ready says yes. It fails when the child ends, or the context does.
func (c *child) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if ready() {
				return nil
			}
		}
	}
}

// server is what PostgreSQL and Redis have in common: one child at a time, started again at will.
// Its methods may be called from several goroutines.
type server struct {
	name string
	stop syscall.Signal // asks the child to end quickly but in order
	log  *slog.Logger

	mu    sync.Mutex
	child *child
}

// Done is closed when the server process of this moment has ended, for whatever reason.
func (s *server) Done() <-chan struct{} { return s.current().done }

// PID is the server process of this moment.
func (s *server) PID() int { return s.current().cmd.Process.Pid }

// Stop ends the server in order, and kills it when the context ends before that. Stopping twice does nothing.
func (s *server) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	c := s.current()
	s.signal(s.stop)
	s.signal(syscall.SIGCONT) // a paused process hears nothing else
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		s.Kill()
		return fmt.Errorf("stop %s: killed after waiting in vain: %w", s.name, ctx.Err())
	}
}

// Kill ends the server as a crash would (SIGKILL), and returns when the process is gone.
func (s *server) Kill() {
	s.signal(syscall.SIGKILL)
	<-s.current().done
}

// clear makes sure that no process of an earlier run still works in dir.
func (s *server) clear(ctx context.Context, dir string) error {
	stopped, err := stopLeftovers(ctx, dir)
	if stopped > 0 && s.log != nil {
		s.log.InfoContext(ctx, "stopped a server that an earlier run left behind", "server", s.name, "processes", stopped)
	}
	return err
}

func (s *server) current() *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

func (s *server) set(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = c
}

// signal is safe against a process id that was given to somebody else: os.Process knows when it was waited for.
func (s *server) signal(sig syscall.Signal) {
	_ = s.current().cmd.Process.Signal(sig)
}

// withFreePort calls start with ports that were free a moment ago, until one is still free when the server binds it.
func withFreePort(start func(port int) error) (port int, err error) {
	const tries = 8
	for range tries {
		if port, err = freePort(); err != nil {
			return 0, err
		}
		if err = start(port); !errors.Is(err, errPortTaken) {
			return port, err
		}
	}
	return 0, err
}

// freePort picks a port on loopback below those that the kernel gives to outgoing connections: while a server is
// down for a restart, a client that keeps dialling could otherwise be given the server's own port.
func freePort() (int, error) {
	const low, high, tries = 20000, 32768, 100
	var err error
	for range tries {
		port := low + rand.IntN(high-low)
		var l net.Listener
		if l, err = net.Listen("tcp", loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1: %w", err)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// createFile empties the file if it exists. It follows no link: the directory may belong to another account than ours,
// and we may be root.
func createFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, explain("make "+path, path, "", err)
	}
	return file, nil
}
