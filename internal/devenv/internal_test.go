package devenv

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestWithFreePort_TriesAgain(t *testing.T) {
	t.Parallel()
	starts := 0
	_, err := withFreePort(func(int) error {
		if starts++; starts < 3 {
			return fmt.Errorf("start: %w", errPortTaken)
		}
		return nil
	})
	if err != nil || starts != 3 {
		t.Errorf("got %d starts, %v, want 3 without an error", starts, err)
	}
}

// Both servers must be seen to fail on a port that is taken, or another would not be tried.
func TestStart_PortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	r, err := StartRedis(t.Context(), RedisOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.start(t.Context(), port); !errors.Is(err, errPortTaken) {
		t.Errorf("Redis: got %v, want %v", err, errPortTaken)
	}
	dir := t.TempDir()
	t.Cleanup(func() { _ = removeHome(t.Context(), postgresRefuge(dir)) })
	pg, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := pg.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := pg.start(t.Context(), port); !errors.Is(err, errPortTaken) {
		t.Errorf("PostgreSQL: got %v, want %v", err, errPortTaken)
	}
}

// A cluster's bus has a port of its own, which may be taken too.
func TestStart_BusPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := StartRedis(t.Context(), RedisOptions{Dir: t.TempDir(), Settings: map[string]string{"cluster-enabled": "yes"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settings["cluster-port"] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := r.start(t.Context(), r.port); !errors.Is(err, errPortTaken) {
		t.Errorf("on a bus port that is taken: got %v, want %v", err, errPortTaken)
	}
	if err := r.chooseMorePorts(); err != nil {
		t.Fatal(err)
	}
	if err := r.start(t.Context(), r.port); err != nil {
		t.Errorf("on another: got %v, want no error", err)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestExplain_OneSentence(t *testing.T) {
	t.Parallel()
	cause := errors.New("exit status 1")
	for _, c := range []struct {
		output string
		err    error
		want   string
	}{
		{"", cause, "start: exit status 1"},
		{"", fmt.Errorf("write: %w", syscall.ENOSPC), "start: the disk that holds /data is full: free some space and start again"},
		{"FATAL:  could not write lock file \"postmaster.pid\": No space left on device\n", cause, "start: the disk that holds /data is full: free some space and start again"},
		{"LOG: hello\n2026 [7] FATAL:  data directory has wrong ownership\n2026 HINT: x\n", cause, "start: data directory has wrong ownership"},
		{"one\ntwo\n", cause, "start: two"},
	} {
		if got := explain("start", "/data", c.output, c.err).Error(); got != c.want {
			t.Errorf("explain(%q, %v): got %q, want %q", c.output, c.err, got, c.want)
		}
	}
}

func TestChoosePostgres_ByDatabase(t *testing.T) {
	t.Parallel()
	found := []postgresBinaries{{major: 17, version: "17.1"}, {major: 15, version: "15.18"}}
	for made, want := range map[string]int{"": 17, "17": 17, "15": 15} {
		if got, err := choosePostgres(found, "/data", made); err != nil || got.major != want {
			t.Errorf("database made by %q: got %d, %v, want %d", made, got.major, err, want)
		}
	}
	_, err := choosePostgres(found, "/data", "16")
	if err == nil || !strings.Contains(err.Error(), "17.1 and 15.18") {
		t.Errorf("got %v, want an error that names both installed versions", err)
	}
}

func TestPostgres_ExplainsAFullDisk(t *testing.T) {
	t.Parallel()
	p := &Postgres{Dir: t.TempDir()}
	hungUp := errors.New("seed: conn closed")
	if got := p.Explain(hungUp); got != hungUp {
		t.Errorf("got %v, want the error as it was", got)
	}
	log := "PANIC:  could not write to file \"pg_wal/xlogtemp.1\": No space left on device\n"
	if err := os.WriteFile(p.file(logFile), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.Explain(hungUp); !strings.Contains(got.Error(), "is full") {
		t.Errorf("got %v, want it to say that the disk is full", got)
	}
}

// A process that is being started has a copy of all descriptors of the one that starts it, for a moment.
func TestLockDir_IsFreeAtOnceAfterRelease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := syscall.Dup(int(lock.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	if err := lock.release(); err != nil {
		t.Fatal(err)
	}
	again, err := lockDir(dir)
	if err != nil {
		t.Fatalf("lock again: got %v, want no error", err)
	}
	for range 2 {
		if err := again.release(); err != nil {
			t.Errorf("release: got %v, want no error", err)
		}
	}
}
