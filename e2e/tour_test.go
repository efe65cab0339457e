package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

// followTour follows docs/tour.md: each box of commands runs in one shell after the other, and prints what the box behind it
// says. A machine can be so busy that what the caches keep has ended before it is asked for again. The tour is then followed
// anew.
func followTour(t *testing.T, at site) {
	text, err := os.ReadFile("../docs/tour.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := tourSteps(string(text))
	if len(steps) < 6 {
		t.Fatalf("got %d steps, want those of the tour", len(steps))
	}
	testenv.Eventually(t, "a tour on which the caches keep what they may", func() bool {
		return tourOnce(t, at, steps)
	})
}

// tourOnce reports false if a cache kept less than the tour says, and fails for any other difference.
func tourOnce(t *testing.T, at site, steps []tourStep) bool {
	t.Helper()
	beginTour(t, at)
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
	shell.Dir = t.TempDir()
	said, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("got %v after\n%s", err, said)
	}
	for i, s := range steps {
		_, part, _ := strings.Cut(string(said), fmt.Sprintf("<step %d>\n", i))
		part, _, _ = strings.Cut(part, fmt.Sprintf("<step %d>\n", i+1))
		if matchesBox(part, s.want) {
			continue
		}
		if keptLess(part, s.want) {
			t.Logf("after\n%s\ngot less kept\n%s\nthan\n%s", s.commands, part, s.want)
			return false
		}
		t.Errorf("after\n%s\ngot\n%s\nwant\n%s", s.commands, part, s.want)
	}
	return true
}

// keptLess reports whether an output says that something was not kept for as long as the wanted one says.
func keptLess(got, want string) bool {
	for _, kept := range []string{"; kept", "hit", "stale_tag"} {
		if strings.Contains(want, kept) && !strings.Contains(got, kept) && strings.Contains(got, "miss") {
			return true
		}
	}
	return false
}

// beginTour undoes what an earlier tour has left: a changed name, and what is in Redis.
func beginTour(t *testing.T, at site) {
	t.Helper()
	execute(t, at, `UPDATE profiles SET name = 'Demo' WHERE handle = 'demo'`)
	options, err := redis.ParseURL(at.redis)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	if err := client.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
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

func TestTour_SeesWhatWasKeptLess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		got, want string
		less      bool
	}{
		{"miss: expired; kept", "hit in redis", true},
		{"miss: absent; not kept: why", "miss: absent; kept", true},
		{"miss: expired; kept", "miss: stale_tag, …; kept", true},
		{"miss: stale_tag; kept", "miss: absent; kept", false},
		{"error", "hit in redis", false},
		{"miss", "uncacheable", false},
	} {
		if got := keptLess(c.got, c.want); got != c.less {
			t.Errorf("%q and %q: got %v, want %v", c.got, c.want, got, c.less)
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
