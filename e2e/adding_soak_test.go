//go:build soak

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"freshet/internal/testenv"
)

// TestSoak_AddingAType follows docs/adding-a-type.md in a copy of the repository, commands included.
func TestSoak_AddingAType(t *testing.T) {
	t.Parallel()
	root := copyRepository(t)
	for _, s := range addingSteps(t) {
		if s.language == "sh" {
			runIn(t, root, s.box)
			continue
		}
		changes := &tree{root: root}
		if err := s.follow(changes); err != nil {
			t.Fatalf("%s: %v", s.about, err)
		}
		for path, content := range changes.changed {
			if err := os.WriteFile(filepath.Join(root, path), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func runIn(t *testing.T, directory, script string) {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "bash", "-euc", script)
	shell.Dir = directory
	if said, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, said)
	}
}

// copyRepository copies the files that git knows or would take, so that nothing built comes along.
func copyRepository(t *testing.T) string {
	t.Helper()
	root := testenv.DataDir(t)
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	names, err := list.Output()
	if err != nil {
		t.Fatalf("list the repository's files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
