package devenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dirLock keeps a data directory to one process. The kernel drops it with the process, however that ends.
type dirLock struct{ file *os.File }

// lockDir makes dir if need be, and fails at once when another process holds it.
func lockDir(dir string) (*dirLock, error) {
	// Others may pass through, so that PostgreSQL can under a uid of its own; they can read nothing here.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, explain("make the data directory "+dir, dir, "", err)
	}
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, explain("open "+path, dir, "", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		pid, _ := io.ReadAll(file)
		return nil, fmt.Errorf("the data directory %s is in use: Freshet is already running with pid %s", dir, strings.TrimSpace(string(pid)))
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		file.Close()
		return nil, explain("write "+path, dir, "", err)
	}
	return &dirLock{file}, nil
}

// release may be called again. It unlocks, and does not leave that to Close: a child of this process that is being started
// has a copy of the descriptor until it executes its program, and would keep the lock for that long.
func (l *dirLock) release() error {
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	if closed := l.file.Close(); errors.Is(closed, os.ErrClosed) {
		return nil
	} else if err == nil {
		err = closed
	}
	return err
}
