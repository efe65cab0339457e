package testenv

import (
	"fmt"
	"os/exec"
	"path/filepath"
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

// buildProgram compiles freshet into a directory.
func buildProgram(dir string) (string, error) {
	path := filepath.Join(dir, "freshet")
	if said, err := exec.Command("go", "build", "-o", path, "freshet").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build freshet: %w\n%s", err, said)
	}
	return path, nil
}
