package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clients has the scripts that use GraphQL clients as apps do, one file a client and way of using it.
const clients = "clients"

// TestClients runs each script against one server.
func TestClients(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(clients, "node_modules")); err != nil {
		t.Fatal("the clients are not installed: run make test, or npm ci in e2e/clients")
	}
	scripts, err := filepath.Glob(filepath.Join(clients, "*.test.mjs"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("got scripts %v, %v; want some", scripts, err)
	}
	at := startSite(t)
	for _, script := range scripts {
		script = filepath.Base(script)
		t.Run(strings.TrimSuffix(script, ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			runScript(t, at, script)
		})
	}
}

// runScript tells the script about the server and fails with what it says.
func runScript(t *testing.T, at site, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	node := exec.CommandContext(ctx, "node", script)
	node.Dir = clients
	node.Env = append(os.Environ(),
		"FRESHET_URL="+at.origin,
		"FRESHET_TOKEN="+at.token,
		"FRESHET_ADMIN_TOKEN="+at.admin,
		"FRESHET_PROGRAM="+at.program,
		"DATABASE_URL="+at.database,
	)
	if said, err := node.CombinedOutput(); err != nil {
		t.Errorf("node %s: got %v, want all its tests to pass; it said:\n%s", script, err, said)
	}
}
