// Package archtest holds the tests that keep the structure of the repository: who imports whom, and how long and how
// well described things are. Each rule also runs on a small example that breaks it, since a rule that cannot fail
// protects nothing.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "freshet"

// floors is the plan of the house: a package imports from strictly lower floors alone, so that every package can be
// understood with only what is below it in mind.
var floors = map[string]int{
	"models":              0,
	"migrations":          0,
	"cache":               0,
	"internal/policy":     0,
	"internal/devenv":     0,
	"internal/manifest":   0,
	"internal/playground": 0,
	"internal/clientaddr": 0,
	"internal/front":      0,
	"internal/jwt":        0,
	"internal/tracing":    0,
	"internal/redisconn":  0,
	"graph":               1,
	"internal/changelog":  1,
	"internal/inspect":    1,
	"internal/operation":  1,
	"internal/external":   1,
	"internal/ratelimit":  1,
	"internal/store":      1,
	"internal/auth":       2,
	"internal/ledger":     2,
	"internal/doctor":     1,
	"internal/persisted":  2,
	"internal/seed":       2,
	"internal/verifier":   2,
	"internal/opcache":    3,
	"resolvers":           3,
	"internal/server":     4,
	"internal/command":    5,
	"":                    6, // server.go
	"cmd/bench":           7,
	// The rest of what is inside cmd/bench stands on the floor below this one.
	"cmd/bench/internal/freshness": 6,
	// Nothing but tests.
	"internal/archtest": testOnly,
	"internal/testenv":  testOnly,
	"e2e":               testOnly,
	"cmd/test":          testOnly,
}

// testOnly is above every floor: no package but another of these can import it, and tests may import all.
const testOnly = 100

// pkg is what `go list -json` says about a package, without its tests.
type pkg struct {
	ImportPath string
	Imports    []string
}

// floorOf also knows the packages inside cmd/bench, which belong to it.
func floorOf(path string) (floor int, known bool) {
	path = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	if floor, known = floors[path]; !known && strings.HasPrefix(path, "cmd/bench/") {
		return floors["cmd/bench"] - 2, true
	}
	return floor, known
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

func checkFloors(pkgs []pkg) (problems []string) {
	for _, p := range pkgs {
		floor, known := floorOf(p.ImportPath)
		if !known {
			problems = append(problems, p.ImportPath+" has no floor: give it one in this test")
			continue
		}
		for _, imported := range p.Imports {
			if !ours(imported) {
				continue
			}
			below, _ := floorOf(imported) // an unknown one is a problem of its own
			if below == testOnly && floor != testOnly {
				problems = append(problems, fmt.Sprintf("%s imports %s, which is for tests", p.ImportPath, imported))
			} else if below >= floor && floor != testOnly {
				problems = append(problems, fmt.Sprintf("%s on floor %d imports %s on floor %d", p.ImportPath, floor, imported, below))
			}
		}
	}
	return problems
}

// checkProduction looks at everything that is linked into a program.
func checkProduction(deps []string) (problems []string) {
	for _, dep := range deps {
		floor, known := floorOf(dep)
		switch {
		case dep == "testing", strings.HasPrefix(dep, "testing/"), strings.HasPrefix(dep, "github.com/google/go-cmp"), strings.HasPrefix(dep, "go.uber.org/goleak"),
			ours(dep) && known && floor == testOnly:
			problems = append(problems, "the program links "+dep+", which is for tests")
		}
	}
	return problems
}

// goCommand runs the go tool at the top of the repository.
func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go %s: %v: %s", strings.Join(args, " "), err, exit.Stderr)
		}
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func list(t *testing.T) []pkg {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(goCommand(t, "list", "-json=ImportPath,Imports", "./...")))
	var pkgs []pkg
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// report fails the test for each problem of the repository.
func report(t *testing.T, problems []string) {
	t.Helper()
	for _, problem := range problems {
		t.Error(problem)
	}
}

// mustFind fails unless the rule sees exactly the problems that an example was made with, each given by a part of it.
func mustFind(t *testing.T, problems []string, want ...string) {
	t.Helper()
	if len(problems) != len(want) {
		t.Errorf("problems in the example: got %q, want %d", problems, len(want))
	}
	for _, part := range want {
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, part) }) {
			t.Errorf("problems in the example: got %q, want one with %q", problems, part)
		}
	}
}

func TestFloors(t *testing.T) {
	t.Parallel()
	report(t, checkFloors(list(t)))
}

func TestFloors_SeesProblems(t *testing.T) {
	t.Parallel()
	mustFind(t, checkFloors([]pkg{
		{"freshet/cache", []string{"context", "freshet/internal/store"}},
		{"freshet/internal/auth", []string{"freshet/internal/persisted"}},
		{"freshet/internal/util", nil},
		{"freshet/resolvers", []string{"freshet/internal/testenv", "freshet/graph"}},
		{"freshet/internal/testenv", []string{"freshet/migrations"}},
		{"freshet", []string{"freshet/internal/command", "freshet/internal/server"}},
	}),
		"freshet/cache on floor 0 imports freshet/internal/store on floor 1",
		"freshet/internal/auth on floor 2 imports freshet/internal/persisted on floor 2",
		"freshet/internal/util has no floor",
		"freshet/resolvers imports freshet/internal/testenv, which is for tests")
}

func TestProduction_LinksNoTestCode(t *testing.T) {
	t.Parallel()
	report(t, checkProduction(strings.Fields(string(goCommand(t, "list", "-deps", ".")))))
}

func TestProduction_SeesProblems(t *testing.T) {
	t.Parallel()
	mustFind(t, checkProduction([]string{"context", "testing", "github.com/google/go-cmp/cmp", "freshet/cache", "freshet/internal/testenv"}),
		"links testing,", "go-cmp", "internal/testenv")
}
