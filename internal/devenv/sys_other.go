//go:build !linux

package devenv

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Only Linux can signal a child when its parent dies; elsewhere the next start finds what was left.
func sysProcAttr(account *account, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: account.credential()}
}

// processesIn lists the PostgreSQL and Redis processes whose working directory is dir. Both servers change into
// their data directory, and so do PostgreSQL's own children: this finds them without trusting any pid file.
func processesIn(dir string) ([]int, error) {
	// lsof fails when it finds nothing, so its output alone counts: p<pid>, c<command>, n<working directory>.
	out, err := exec.Command("lsof", "-a", "-d", "cwd", "-c", "postgres", "-c", "redis-server", "-c", "valkey-server", "-F", "pcn").Output()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		return nil, fmt.Errorf("look for servers that still run: %w", err)
	}
	var pids []int
	var pid int
	for line := range strings.Lines(string(out)) {
		value := strings.TrimSpace(line[1:])
		switch {
		case line[0] == 'p':
			pid, _ = strconv.Atoi(value)
		case line[0] == 'n' && value == dir:
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
