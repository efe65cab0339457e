package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAddingAType follows docs/adding-a-type.md in a copy of the repository.
func TestAddingAType(t *testing.T) {
	t.Parallel()
	root := copyRepository(t)
	text, err := os.ReadFile("../docs/adding-a-type.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := instructions(string(text))
	if len(steps) < 14 {
		t.Fatalf("got %d steps, want those of the page", len(steps))
	}
	for _, s := range steps {
		if err := s.follow(root); err != nil {
			t.Fatalf("%s: %v", s.about, err)
		}
	}
}

// instruction is a box of the page with what the text before it says to do with it.
type instruction struct {
	about    string // the paragraph before the box
	language string
	box      string
}

// instructions finds the boxes, each with the last paragraph before it.
func instructions(text string) (steps []instruction) {
	for _, found := range regexp.MustCompile("(?s)([^\n]+(?:\n[^\n]+)*)\n\n```(\\w+)\n(.*?)```\n").FindAllStringSubmatch(text, -1) {
		steps = append(steps, instruction{strings.Join(strings.Fields(found[1]), " "), found[2], found[3]})
	}
	for _, found := range regexp.MustCompile("(?s)```\n\n```sh\n(.*?)```\n").FindAllStringSubmatch(text, -1) {
		steps = append(steps, instruction{"at last", "sh", found[1]})
	}
	return steps
}

var (
	makesFile = regexp.MustCompile("New file `([^`]+)`[^`]*$")
	atTheEnd  = regexp.MustCompile("At the end of `([^`]+)`:$")
	behind    = regexp.MustCompile("In `([^`]+)`, behind `([^`]+)`[^`]*$")
)

func (s instruction) follow(root string) error {
	if s.language == "sh" {
		return runIn(root, s.box)
	}
	if m := makesFile.FindStringSubmatch(s.about); m != nil {
		return os.WriteFile(filepath.Join(root, m[1]), []byte(s.box), 0o600)
	}
	if m := atTheEnd.FindStringSubmatch(s.about); m != nil {
		return edit(filepath.Join(root, m[1]), func(old string) string { return old + s.box })
	}
	m := behind.FindStringSubmatch(s.about)
	if m == nil {
		return os.ErrInvalid
	}
	found := 0
	err := edit(filepath.Join(root, m[1]), func(old string) string {
		found = strings.Count(old, m[2]+"\n")
		before, after, _ := strings.Cut(old, m[2]+"\n")
		return before + m[2] + "\n" + s.box + after
	})
	if found != 1 {
		return fmt.Errorf("got %d places %q in %s, want 1: %w", found, m[2], m[1], os.ErrInvalid)
	}
	return err
}

func edit(path string, change func(string) string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(change(string(old))), 0o600)
}

type failedCommand struct {
	err  error
	said string
}

func (f failedCommand) Error() string { return f.err.Error() + "\n" + f.said }

func runIn(directory, script string) error {
	shell := exec.Command("bash", "-euc", script)
	shell.Dir = directory
	if said, err := shell.CombinedOutput(); err != nil {
		return failedCommand{err, string(said)}
	}
	return nil
}

// copyRepository copies the files that git knows or would take, so that nothing built comes along.
func copyRepository(t *testing.T) string {
	t.Helper()
	root := openDirectory(t)
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
