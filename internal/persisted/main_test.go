package persisted

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/changelog"
	"freshet/internal/manifest"
	"freshet/internal/operation"
	"freshet/internal/policy"
	"freshet/internal/store"
	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// rig is a list of persisted operations for the real schema in a real database.
type rig struct {
	*Registry
	t      testing.TB
	schema string
	log    testenv.Log

	mu sync.Mutex
	at time.Time
}

func newRig(t testing.TB) *rig {
	t.Helper()
	text, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(testenv.Database(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &rig{t: t, schema: string(text), at: time.Now().UTC().Truncate(time.Second)}
	r.Registry = &Registry{DB: db, Compiler: r.compiler(r.schema)}
	return r
}

func (r *rig) compiler(schema string) *operation.Compiler {
	r.t.Helper()
	parsed, err := ReadSchema("schema.graphqls", schema)
	if err != nil {
		r.t.Fatal(err)
	}
	table, err := policy.Read(parsed)
	if err != nil {
		r.t.Fatal(err)
	}
	return operation.NewCompiler(operation.Options{Schema: parsed, Policy: table})
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *rig) wait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

// try publishes operations given as id, text, id, text.
func (r *rig) try(app, version string, activate bool, idsAndTexts ...string) (*Report, error) {
	m := &manifest.Manifest{Format: "a test"}
	var pairs []string
	for i := 0; i < len(idsAndTexts); i += 2 {
		pairs = append(pairs, `[`+quote(idsAndTexts[i])+`, `+quote(idsAndTexts[i+1])+`]`)
	}
	m, err := manifest.Read([]byte("[" + strings.Join(pairs, ",\n") + "]"))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.Publish(r.t.Context(), Publication{App: app, Version: version, Manifest: m, Activate: activate})
}

func quote(s string) string { return `"` + strings.NewReplacer(`"`, `\"`, "\n", `\n`).Replace(s) + `"` }

// publish publishes and activates what must be valid.
func (r *rig) publish(app, version string, idsAndTexts ...string) *Report {
	r.t.Helper()
	report, err := r.try(app, version, true, idsAndTexts...)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) exec(db bun.IDB, query string) {
	r.t.Helper()
	_, err := db.ExecContext(r.t.Context(), query)
	r.must(err)
}

// library is one that was loaded.
func (r *rig) library() *Library {
	r.t.Helper()
	l := New(Options{DB: r.DB, Compiler: r.Compiler, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Now: r.now})
	r.must(l.Load(r.t.Context()))
	return l
}

// want looks an id up and wants the text, or nothing if it is empty.
func (r *rig) want(l *Library, id, app, text string) {
	r.t.Helper()
	e, ok := l.ByID(id, app)
	got := ""
	if ok {
		got = e.Operation.Document.Text
	}
	if got != text {
		r.t.Errorf("%s for %q: got %q, want %q", id, app, got, text)
	}
}

// run runs the library, and a node of the change log that tells it of changes, until the test ends.
func (r *rig) run(l *Library, client redis.UniversalClient, service string) {
	node := changelog.New(changelog.Options{
		DB: r.DB.DB, Redis: client, Log: cache.NewLog(nil), Service: service, Applied: l.Changed, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { node.Run(ctx) })
	work.Go(func() { l.Run(ctx) })
	r.t.Cleanup(func() {
		stop()
		work.Wait()
	})
	// What is committed before the node follows the log is found by looking.
	testenv.Eventually(r.t, "the change log followed", func() bool { return node.Stats().Granted })
}

// waitLong is for budgets that are no part of what a test is about: only a hang reaches it.
const waitLong = 5 * time.Minute

func openRedis(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled, o.MaxRetries, o.DialTimeout, o.ReadTimeout = true, -1, waitLong, waitLong
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

const (
	profile = `query Profile($id: ID!) { profile(id: $id) { id name } }`
	bio     = `query Profile($id: ID!) { profile(id: $id) { id bio } }`
	feed    = `query Feed { feed { nodes { id title } } }`
	devices = `query Devices { viewer { sessions { id current } } }`
	like    = `mutation Like($input: LikeInput!) { like(input: $input) { post { id } userErrors { code } } }`
)
