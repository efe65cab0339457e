package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// checkCompose loads like docker compose does, schema and references included, and then looks at our own rules.
func checkCompose(text string) error {
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  ".",
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(text)}},
		Environment: types.Mapping{"POSTGRES_PASSWORD": "a", "REDIS_PASSWORD": "b", "GRAFANA_PASSWORD": "c"},
	})
	if err != nil {
		return err
	}
	var problems []error
	for name, service := range project.Services {
		if _, tag, _ := strings.Cut(service.Image, ":"); tag == "" || tag == "latest" {
			problems = append(problems, fmt.Errorf("%s: the image %q has no pinned tag", name, service.Image))
		}
		for _, port := range service.Ports {
			if !slices.Contains([]string{"balancer", "grafana"}, name) {
				problems = append(problems, fmt.Errorf("%s: port %s is open to all", name, port.Published))
			}
		}
	}
	return errors.Join(problems...)
}

func TestCompose(t *testing.T) {
	t.Parallel()
	wantValid(t, read(t, "compose.yaml"), checkCompose,
		[2]string{"restart: unless-stopped", "restrat: unless-stopped"},
		[2]string{"postgres: { condition: service_healthy }", "postgresql: { condition: service_healthy }"},
		[2]string{"postgres:17.6-bookworm", "postgres:latest"},
		[2]string{"stop_grace_period: 40s", "stop_grace_period: soon"},
		[2]string{"image: prom/prometheus", "ports: [\"9090:9090\"]\n    image: prom/prometheus"},
	)
	text := read(t, "compose.yaml")
	for line := range strings.Lines(text) {
		if strings.Contains(line, "PASSWORD") && !strings.Contains(line, "${") && !strings.HasPrefix(line, "#") {
			t.Errorf("a password in a file: %s", line)
		}
	}
}
