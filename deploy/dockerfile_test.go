package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// checkDockerfile parses as BuildKit does, and wants a small image that runs without rights.
func checkDockerfile(text string) error {
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return err
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return err
	}
	var problems []error
	names := map[string]bool{"scratch": true}
	for _, stage := range stages {
		_, tag, _ := strings.Cut(stage.BaseName, ":")
		if !names[stage.BaseName] && (tag == "" || tag == "latest" || !strings.Contains(tag, ".")) {
			problems = append(problems, fmt.Errorf("the base %q has no pinned tag", stage.BaseName))
		}
		names[stage.Name] = true
	}
	last := stages[len(stages)-1]
	user, static := "", false
	for _, command := range last.Commands {
		if u, ok := command.(*instructions.UserCommand); ok {
			user = u.User
		}
	}
	for _, command := range stages[0].Commands {
		if run, ok := command.(*instructions.RunCommand); ok {
			static = static || strings.Contains(strings.Join(run.CmdLine, " "), "CGO_ENABLED=0 go build")
		}
	}
	if name, _, _ := strings.Cut(user, ":"); name == "" || name == "root" || name == "0" {
		problems = append(problems, fmt.Errorf("the last stage runs as %q", user))
	}
	if len(stages) < 2 || last.BaseName != "scratch" || !static {
		problems = append(problems, errors.New("want a static binary, alone in the last stage"))
	}
	return errors.Join(problems...)
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	wantValid(t, read(t, "Dockerfile"), checkDockerfile,
		[2]string{"USER 65532:65532\n", ""},
		[2]string{"USER 65532:65532", "USER 0"},
		[2]string{"golang:1.26.8-bookworm", "golang"},
		[2]string{"golang:1.26.8-bookworm", "golang:latest"},
		[2]string{"FROM scratch", "FROM golang:1.26.8-bookworm"},
		[2]string{"CGO_ENABLED=0 ", ""},
		[2]string{"ENTRYPOINT", "ENTERPOINT"},
		[2]string{"WORKDIR /src", "WORKDIR"},
	)
}

// needed are the files of the repository that the binary is built from.
func needed(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,GoFiles,EmbedFiles,Module", ".")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"go.mod", "go.sum"}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p struct {
			Dir                 string
			GoFiles, EmbedFiles []string
			Module              *struct{ Main bool }
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		dir, err := filepath.Rel(root, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(p.GoFiles, p.EmbedFiles...) {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files
}

func TestDockerignore_LeavesWhatTheBinaryNeeds(t *testing.T) {
	t.Parallel()
	files := needed(t)
	if len(files) < 100 {
		t.Errorf("got %d files, want those of the program", len(files))
	}
	check := func(text string) error {
		patterns, err := ignorefile.ReadAll(strings.NewReader(text))
		if err != nil {
			return err
		}
		matcher, err := patternmatcher.New(patterns)
		if err != nil {
			return err
		}
		for _, file := range files {
			if ignored, err := matcher.MatchesOrParentMatches(file); err != nil || ignored {
				return fmt.Errorf("%s does not get to the build (%v)", file, err)
			}
		}
		return nil
	}
	wantValid(t, read(t, "../.dockerignore"), check,
		[2]string{"!internal/playground/web/samples\n", ""},
		[2]string{"cmd/bench", "cmd\ninternal/seed/texts"},
		[2]string{"docs", "models"},
	)
}
