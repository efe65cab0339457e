package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/internal/testenv"
)

// TestAddingAType_FitsTheRepository follows docs/adding-a-type.md on paper: what it changes is here, and right where it
// stands. TestSoak_AddingAType also generates, builds and runs it.
func TestAddingAType_FitsTheRepository(t *testing.T) {
	t.Parallel()
	after := &tree{root: ".."}
	for _, s := range addingSteps(t) {
		if s.language == "sh" {
			checkCommands(t, after, s.box)
		} else if err := s.follow(after); err != nil {
			t.Errorf("%s: %v", s.about, err)
		}
	}
	for path, content := range after.changed {
		switch filepath.Ext(path) {
		case ".go":
			checkGo(t, path, content)
		case ".graphqls":
			if schema, err := gqlparser.LoadSchema(&ast.Source{Name: path, Input: content}); err != nil || schema.Types["Notice"] == nil {
				t.Errorf("%s: got %v, want a schema with the new type", path, err)
			}
		}
	}
	migrate(t, after)
}

func TestAddingAType_SeesProblems(t *testing.T) {
	t.Parallel()
	for about, s := range map[string]instruction{
		"no instruction":    {"Do it.", "go", "x"},
		"new file exists":   {"New file `go.mod`:", "go", "x"},
		"no such directory": {"New file `nowhere/a.go`:", "go", "x"},
		"no such file":      {"At the end of `nowhere.go`:", "go", "x"},
		"no such place":     {"In `go.mod`, behind `nothing of the kind`:", "go", "x"},
		"several places":    {"In `schema.graphqls`, behind `}`:", "graphql", "x"},
	} {
		if err := s.follow(&tree{root: ".."}); err == nil {
			t.Errorf("%s: got no problem, want one", about)
		}
	}
}

// checkGo wants a whole file that is formatted, in the package of its directory.
func checkGo(t *testing.T, path, content string) {
	t.Helper()
	if formatted, err := format.Source([]byte(content)); err != nil || string(formatted) != content {
		t.Errorf("%s: got %v, want it formatted:\n%s", path, err, formatted)
	}
	name := func(file string, source any) string {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.Name.Name
	}
	others, err := filepath.Glob(filepath.Join("..", filepath.Dir(path), "*.go"))
	if err != nil || len(others) == 0 {
		t.Fatalf("%s: got %v, %v; want a directory of Go files", path, others, err)
	}
	if got := name(path, content); !slices.ContainsFunc(others, func(other string) bool { return name(other, nil) == got }) {
		t.Errorf("%s: got package %s, want that of its directory", path, got)
	}
}

// checkCommands wants each package that go is to look at, and each test that it is to run.
func checkCommands(t *testing.T, in *tree, box string) {
	t.Helper()
	for line := range strings.Lines(box) {
		if !strings.HasPrefix(line, "go ") {
			t.Errorf("got %q, want a command of go's", line)
		}
		for _, found := range regexp.MustCompile(` (\./\S+)`).FindAllStringSubmatch(line, -1) {
			if _, err := os.Stat(filepath.Join(in.root, found[1])); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if run := regexp.MustCompile(`-run '(\w+)'`).FindStringSubmatch(line); run != nil &&
			!slices.ContainsFunc(slices.Collect(maps.Values(in.changed)), func(content string) bool { return strings.Contains(content, "\nfunc "+run[1]) }) {
			t.Errorf("%s: got no such test on the page", line)
		}
	}
}

// migrate runs the migrations up, down and up again, and sees a change of a row get its tag.
func migrate(t *testing.T, after *tree) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), testenv.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }()
	for _, direction := range []string{"up", "down", "up"} {
		path := "migrations/20270101000001_notices.tx." + direction + ".sql"
		if after.changed[path] == "" {
			t.Fatalf("got no %s, want it on the page", path)
		}
		if _, err := db.Exec(t.Context(), after.changed[path]); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var id, tagged int
	if err := db.QueryRow(t.Context(), `INSERT INTO notices (title) VALUES ('First') RETURNING id`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM changelog.outbox WHERE tag = $1`, fmt.Sprint("notice:", id)).Scan(&tagged); err != nil || tagged == 0 {
		t.Errorf("got %d entries with the tag of a new row, %v; want some", tagged, err)
	}
}

// instruction is a box of the page with what the text before it says to do with it.
type instruction struct {
	about    string // the paragraph before the box
	language string
	box      string
}

func addingSteps(t *testing.T) []instruction {
	t.Helper()
	text, err := os.ReadFile("../docs/adding-a-type.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := instructions(string(text))
	if boxes := strings.Count("\n"+string(text), "\n```") / 2; len(steps) != boxes || boxes < 14 {
		t.Fatalf("got %d steps of %d boxes, want those of the page", len(steps), boxes)
	}
	return steps
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

// follow changes the tree as an instruction says that is not one for the shell.
func (s instruction) follow(in *tree) error {
	if m := regexp.MustCompile("New file `([^`]+)`[^`]*$").FindStringSubmatch(s.about); m != nil {
		return in.create(m[1], s.box)
	}
	if m := regexp.MustCompile("At the end of `([^`]+)`:$").FindStringSubmatch(s.about); m != nil {
		return in.edit(m[1], func(old string) (string, error) { return old + s.box, nil })
	}
	m := regexp.MustCompile("In `([^`]+)`, behind `([^`]+)`[^`]*$").FindStringSubmatch(s.about)
	if m == nil {
		return errors.New("not an instruction")
	}
	return in.edit(m[1], func(old string) (string, error) {
		if found := strings.Count(old, m[2]+"\n"); found != 1 {
			return "", fmt.Errorf("got %d places %q in %s, want 1", found, m[2], m[1])
		}
		return strings.Replace(old, m[2]+"\n", m[2]+"\n"+s.box, 1), nil
	})
}

// tree is a directory with changes that are not written yet.
type tree struct {
	root    string
	changed map[string]string // contents by path
}

func (in *tree) create(path, content string) error {
	if _, err := in.read(path); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("new file %s: got one already (%w)", path, errors.Join(err, os.ErrExist))
	}
	if _, err := os.Stat(filepath.Dir(filepath.Join(in.root, path))); err != nil {
		return err
	}
	in.write(path, content)
	return nil
}

func (in *tree) edit(path string, change func(old string) (string, error)) error {
	old, err := in.read(path)
	if err != nil {
		return err
	}
	changed, err := change(old)
	if err != nil {
		return err
	}
	in.write(path, changed)
	return nil
}

func (in *tree) read(path string) (string, error) {
	if content, ok := in.changed[path]; ok {
		return content, nil
	}
	content, err := os.ReadFile(filepath.Join(in.root, path))
	return string(content), err
}

func (in *tree) write(path, content string) {
	if in.changed == nil {
		in.changed = map[string]string{}
	}
	in.changed[path] = content
}
