package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"freshet/internal/devenv"
)

// claimedDir is the directory of one test process. The kernel drops the lock with the process, however that ends, so
// that another can tell that the servers and files in it are nobody's.
type claimedDir struct {
	path string
	lock *os.File
	// programs is a directory for programs that are built: nothing can be executed on some file systems in memory.
	programs string
}

func newClaimedDir(path string, lock *os.File) *claimedDir {
	return &claimedDir{path, lock, filepath.Join(os.TempDir(), fmt.Sprintf("freshet-programs-%d-%s", os.Getuid(), filepath.Base(path)))}
}

// claimDir makes a directory for this process, after clearing away those of processes that were killed.
func claimDir() (*claimedDir, error) {
	root, err := makeRoot()
	if err != nil {
		return nil, err
	}
	whole, err := flock(root, syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	runs, err := filepath.Glob(filepath.Join(root, "run-*"))
	if err != nil {
		return nil, err
	}
	for _, path := range runs {
		if lock, err := flock(path, syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			if err := newClaimedDir(path, lock).remove(); err != nil {
				return nil, err
			}
		}
	}
	path, err := os.MkdirTemp(root, "run-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o711); err != nil {
		return nil, err
	}
	lock, err := flock(path, syscall.LOCK_EX|syscall.LOCK_NB)
	d := newClaimedDir(path, lock)
	return d, errors.Join(err, os.Mkdir(d.programs, 0o711))
}

// makeRoot prefers a file system in memory: a database is a thousand small files, and each test copies some hundreds.
func makeRoot() (string, error) {
	const memory, enough = "/dev/shm", 4 << 30
	parents := []string{os.TempDir()}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err == nil && uint64(fs.Bavail)*uint64(fs.Bsize) >= enough {
		parents = []string{memory, os.TempDir()}
	}
	var errs []error
	for _, parent := range parents {
		root := filepath.Join(parent, "freshet-test-"+strconv.Itoa(os.Getuid()))
		// PostgreSQL's account has to pass through, when root runs the tests.
		err := os.Mkdir(root, 0o711)
		if err == nil || errors.Is(err, os.ErrExist) {
			return root, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

func flock(dir string, how int) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), file.Close())
	}
	return file, nil
}

// remove stops every server that runs in the directory, and deletes it.
func (d *claimedDir) remove() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	errs := []error{}
	for _, entry := range entries {
		if entry.IsDir() {
			errs = append(errs, devenv.Remove(context.Background(), filepath.Join(d.path, entry.Name())))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(d.path), os.RemoveAll(d.programs), d.lock.Close())...)
}
