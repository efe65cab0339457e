package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestTour follows docs/tour.md: each box of commands runs in one shell after the other, and prints what the box behind it
// says.
func TestTour(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/tour.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := tourSteps(string(text))
	if len(steps) < 6 {
		t.Fatalf("got %d steps, want those of the tour", len(steps))
	}
	at := startSite(t)
	var script strings.Builder
	script.WriteString("set -eu\n")
	for i, s := range steps {
		fmt.Fprintf(&script, "echo '<step %d>'\n%s\n", i, s.commands)
	}
	commands := strings.NewReplacer(
		"http://localhost:8080", at.origin, ".freshet/", at.data+"/", "go run . explain", at.program+" explain --data "+at.data,
		"go run . ", at.program+" ",
	).Replace(script.String())
	shell := exec.CommandContext(t.Context(), "bash", "-c", commands)
	shell.Dir = openDirectory(t)
	said, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("got %v after\n%s", err, said)
	}
	for i, s := range steps {
		_, part, _ := strings.Cut(string(said), fmt.Sprintf("<step %d>\n", i))
		part, _, _ = strings.Cut(part, fmt.Sprintf("<step %d>\n", i+1))
		if !matchesBox(part, s.want) {
			t.Errorf("after\n%s\ngot\n%s\nwant\n%s", s.commands, part, s.want)
		}
	}
}

func TestTour_SeesDifferences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		got, want string
		same      bool
	}{
		{"a 1 b\nc\n", "a … b\nc", true},
		{"a 1 b\nc\n", "a … b\n…", true},
		{"a 1 b\nc\n", "a … c", false},
		{"a.b\n", "axb", false},
		{"more\na\n", "a", false},
		{"a\nmore\n", "a", false},
	} {
		if got := matchesBox(c.got, c.want); got != c.same {
			t.Errorf("%q and %q: got %v, want %v", c.got, c.want, got, c.same)
		}
	}
}

type tourStep struct{ commands, want string }

// tourSteps are the boxes marked sh, each with the box marked text that follows it.
func tourSteps(text string) (steps []tourStep) {
	for _, found := range regexp.MustCompile("(?s)```sh\n(.*?)\n```(?:\n\n```text\n(.*?)\n```)?").FindAllStringSubmatch(text, -1) {
		steps = append(steps, tourStep{found[1], found[2]})
	}
	return steps
}

// matchesBox compares whole outputs. In want, … stands for anything.
func matchesBox(got, want string) bool {
	if want == "" {
		return true
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "…", "(?s:.*)")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got))
}
