package devenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// markerFile stands in every directory that Freshet made for a server, and so may remove.
const markerFile = "made-by-freshet"

func isServer(command string) bool {
	return slices.Contains([]string{"postgres", "redis-server", "valkey-server"}, command)
}

// stopLeftovers ends the servers that still run over dir after their parent was killed. The caller holds the data
// directory's lock, so none of them belongs to anybody. When it returns without an error, no process uses dir.
func stopLeftovers(ctx context.Context, dir string) (stopped int, err error) {
	pids, err := processesIn(dir)
	if err != nil || len(pids) == 0 {
		return 0, err
	}
	stopped = len(pids)
	main, orphans := splitPostmaster(dir, pids)
	// PostgreSQL's backends end when the postmaster tells them to. Without one, their shared memory is worthless.
	signalAll(main, syscall.SIGINT)
	signalAll(main, syscall.SIGCONT)
	signalAll(orphans, syscall.SIGKILL)

	deadline := time.NewTimer(stopLimit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return stopped, fmt.Errorf("wait for servers that still run in %s: %w", dir, ctx.Err())
		case <-deadline.C:
			signalAll(pids, syscall.SIGKILL)
		case <-tick.C:
		}
		if pids, err = processesIn(dir); err != nil || len(pids) == 0 {
			return stopped, err
		}
	}
}

// splitPostmaster divides the processes into servers, which can be asked to end, and children that outlived theirs.
func splitPostmaster(dir string, pids []int) (servers, orphans []int) {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err != nil {
			return pids, nil // Redis
		}
	}
	first, _, _ := strings.Cut(string(text), "\n")
	postmaster, _ := strconv.Atoi(first)
	if slices.Contains(pids, postmaster) {
		return []int{postmaster}, nil
	}
	return nil, pids
}

func signalAll(pids []int, sig syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}
