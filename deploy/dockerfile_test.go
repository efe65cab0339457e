package deploy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
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
