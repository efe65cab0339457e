package testenv

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Program is the path of the freshet program, built from the source as it is, once for all tests.
func Program(t testing.TB) string {
	t.Helper()
	path, err := current(t).program()
	if err != nil {
		t.Fatal("testenv:", err)
	}
	return path
}

// buildProgram compiles freshet into a directory of the run. Of several binaries that want it at once, one compiles and
// the others find it up to date.
func buildProgram(dir string) (string, error) {
	building, err := flock(dir, syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer building.Close()
	path := filepath.Join(dir, "freshet")
	if said, err := exec.Command("go", "build", "-o", path, "freshet").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build freshet: %w\n%s", err, said)
	}
	return path, nil
}
