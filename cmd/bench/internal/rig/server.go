package rig

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Server is one instance of the program, as production runs it.
type Server struct {
	// Name is the instance's.
	Name string
	// URL has no slash at its end.
	URL string

	cmd     *exec.Cmd
	logPath string
	profile string
	clock   string // the file that says how far the wall clock is ahead
	ended   chan struct{}
	err     error // once ended
}

// Launch says how one instance differs from another. Only Name has no default.
type Launch struct {
	Name string
	// Args are flags of serve.
	Args []string
	// Env is added to the environment, as in "REDIS_URL=redis://…", and comes before what the Rig says.
	Env []string
	// Through is a program that becomes the instance, with its arguments, such as unshare.
	Through []string
}

// Start returns when the instance listens. It runs until Stop, or until the Rig is closed.
func (r *Rig) Start(ctx context.Context, name string, args ...string) (*Server, error) {
	return r.Launch(ctx, Launch{Name: name, Args: args})
}

// Launch is Start for an instance that differs from the others. The log of an earlier one of the same name is gone.
func (r *Rig) Launch(ctx context.Context, l Launch) (*Server, error) {
	s := &Server{
		Name:    l.Name,
		logPath: filepath.Join(r.Env.Dir, l.Name+".log"),
		profile: filepath.Join(r.Env.Dir, l.Name+".pprof"),
		clock:   filepath.Join(r.Env.Dir, l.Name+".clock"),
		ended:   make(chan struct{}),
	}
	log, err := os.Create(s.logPath)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.Name, err)
	}
	defer log.Close()
	args := slices.Concat(l.Through, []string{
		r.program, "serve", "--addr", "127.0.0.1:0", "--name", l.Name,
		// Limits are on, as in production, and so high that one machine's load meets none.
		"--rate-viewer", "1000000000", "--burst-viewer", "1000000000",
		"--rate-address", "1000000000", "--burst-address", "1000000000",
	}, r.args, l.Args)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = slices.Concat(r.environment(), []string{profileVariable + "=" + s.profile, clockVariable + "=" + s.clock}, l.Env)
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = dieWithParent()
	if err := s.launch(); err != nil {
		return nil, fmt.Errorf("start %s: %w", l.Name, err)
	}
	r.servers = append(r.servers, s)
	if err := s.await(ctx); err != nil {
		said, _ := os.ReadFile(s.logPath)
		return nil, fmt.Errorf("start %s: %w: %s", l.Name, err, said)
	}
	return s, nil
}

// Signal sends a signal to the instance's process; one that has ended gets none.
func (s *Server) Signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// PID is the instance's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Ended is closed when the process has ended, for whatever reason.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Said is what the instance has logged so far.
func (s *Server) Said() string {
	said, _ := os.ReadFile(s.logPath)
	return string(said)
}

func (s *Server) launch() error {
	started := make(chan error)
	go func() {
		// The child dies with the thread that started it, which is kept for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.ended)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
		}
	}()
	return <-started
}

// await reads the log until it tells the address.
func (s *Server) await(ctx context.Context) error {
	return s.until(ctx, func() bool {
		addr, ok := s.address()
		s.URL = "http://" + addr
		return ok
	})
}

// until looks until ready says yes. It fails when the instance ends.
func (s *Server) until(ctx context.Context, ready func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-s.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func (s *Server) address() (string, bool) {
	log, err := os.Open(s.logPath)
	if err != nil {
		return "", false
	}
	defer log.Close()
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			return line.Addr, true
		}
	}
	return "", false
}

// Stop lets the instance drain. Stopping twice does nothing.
func (s *Server) Stop() error {
	select {
	case <-s.ended:
		return nil
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(Hang):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("stop %s: killed after %s", s.Name, Hang)
	}
	if s.err != nil {
		return fmt.Errorf("stop %s: %w", s.Name, s.err)
	}
	return nil
}

// Profile writes a CPU profile of what the server does while do runs, and returns its path. The Rig must be Profiled.
func (s *Server) Profile(ctx context.Context, do func() error) (path string, err error) {
	if err := os.Remove(s.profile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("profile %s: %w", s.Name, err)
	}
	_ = s.cmd.Process.Signal(syscall.SIGUSR1)
	if err := do(); err != nil {
		return "", err
	}
	_ = s.cmd.Process.Signal(syscall.SIGUSR1)
	return s.profile, s.until(ctx, func() bool {
		_, err := os.Stat(s.profile)
		return err == nil
	})
}

// Counters are a server's metrics of one moment.
type Counters map[string]*dto.MetricFamily

// Counters reads /metrics.
func (s *Server) Counters(ctx context.Context) (Counters, error) {
	body, err := get(ctx, s.URL+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.Name, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.Name, err)
	}
	return families, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// Sum adds up a counter over all labels that the pairs do not set. What was never counted is 0.
func (c Counters) Sum(name string, pairs ...string) float64 {
	total := 0.0
	for _, metric := range c[name].GetMetric() {
		if matches(metric, pairs) {
			total += metric.GetCounter().GetValue()
		}
	}
	return total
}

// Seconds adds up the times in a histogram over all labels.
func (c Counters) Seconds(name string) float64 {
	total := 0.0
	for _, metric := range c[name].GetMetric() {
		total += metric.GetHistogram().GetSampleSum()
	}
	return total
}

func matches(metric *dto.Metric, pairs []string) bool {
	labels := make(map[string]string)
	for _, label := range metric.GetLabel() {
		labels[label.GetName()] = label.GetValue()
	}
	for i := 0; i < len(pairs); i += 2 {
		if labels[pairs[i]] != pairs[i+1] {
			return false
		}
	}
	return true
}
