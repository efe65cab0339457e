package archtest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// requirement is a line of go.mod, as `go mod edit -json` prints it.
type requirement struct {
	Path     string
	Indirect bool
}

// checkDependencies wants each direct dependency and each tool named in the document, on a line with its reason.
func checkDependencies(paths []string, document string) (problems []string) {
	const fewestWords = 6 // the name, and a sentence
	for _, path := range paths {
		explained := false
		for line := range strings.Lines(document) {
			explained = explained || mentions(line, path) && len(strings.Fields(line)) >= fewestWords
		}
		if !explained {
			problems = append(problems, "docs/dependencies.md has no sentence for "+path)
		}
	}
	return problems
}

// mentions is about whole paths: a line about uptrace/bun/extra says nothing about uptrace/bun.
func mentions(line, path string) bool {
	for {
		at := strings.Index(line, path)
		if at < 0 {
			return false
		}
		line = line[at+len(path):]
		if line == "" || !strings.ContainsAny(line[:1], "/-_.abcdefghijklmnopqrstuvwxyz0123456789") || strings.HasPrefix(line, ". ") {
			return true
		}
	}
}

func TestDependencies_HaveReasons(t *testing.T) {
	t.Parallel()
	var mod struct {
		Require []requirement
		Tool    []requirement
	}
	if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range mod.Require {
		if !r.Indirect {
			paths = append(paths, r.Path)
		}
	}
	for _, tool := range mod.Tool {
		paths = append(paths, tool.Path)
	}
	document, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkDependencies(paths, string(document)))
}

func TestDependencies_SeesProblems(t *testing.T) {
	t.Parallel()
	document := "`example.org/a`: parses what others have written, and is quick.\nexample.org/b\n`example.org/c/v2`: does what c cannot do alone.\n"
	mustFind(t, checkDependencies([]string{"example.org/a", "example.org/b", "example.org/c"}, document), "for example.org/b", "for example.org/c")
}
