package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"freshet/internal/testenv"
)

// clients has the scripts that use GraphQL clients as apps do, one file a client and way of using it.
const clients = "clients"

// useClients runs all scripts, in one process: most of what each one costs is loading the same packages.
func useClients(t *testing.T, _ context.Context, at site) {
	if _, err := os.Stat(filepath.Join(clients, "node_modules")); err != nil {
		t.Fatal("the clients are not installed: run make test, or npm ci in e2e/clients")
	}
	ctx, cancel := testenv.UntilHang(t.Context())
	defer cancel()
	node := exec.CommandContext(ctx, "node", "all.mjs")
	node.Dir = clients
	node.Env = append(os.Environ(),
		"FRESHET_URL="+at.origin,
		"FRESHET_TOKEN="+at.token,
		"FRESHET_ADMIN_TOKEN="+at.admin,
		"FRESHET_PROGRAM="+at.program,
		"DATABASE_URL="+at.database,
	)
	said, err := node.CombinedOutput()
	if err != nil {
		t.Errorf("got %v, want all tests of the scripts to pass; they said:\n%s", err, said)
	}
	scripts, globErr := filepath.Glob(filepath.Join(clients, "*.test.mjs"))
	if globErr != nil || len(scripts) == 0 {
		t.Fatalf("got scripts %v, %v; want some", scripts, globErr)
	}
	for _, script := range scripts {
		if ran := "# " + filepath.Base(script) + "\n"; !strings.Contains(string(said), ran) {
			t.Errorf("got no %q in what the scripts said, want each to have run:\n%s", ran, said)
		}
	}
}
