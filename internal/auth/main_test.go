package auth

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/internal/store"
	"freshet/internal/testenv"
	"freshet/models"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// rig is an Auth over real servers, with a clock that the test moves and a log that it reads.
type rig struct {
	*Auth
	t       testing.TB
	db      *bun.DB
	redis   *redis.Client
	changes *cache.Log
	logging sync.Mutex
	logged  testenv.Log

	mu  sync.Mutex
	at  time.Time
	ran int // statements of the store
}

// waitLong is for budgets that are no part of what a test is about: only a hang reaches it.
const waitLong = 5 * time.Minute

// cheap hashes keep the tests quick.
var cheap = HashCost{MemoryKiB: 8, Passes: 1}

func newRig(t testing.TB) *rig {
	t.Helper()
	url := testenv.Database(t)
	r := &rig{t: t, changes: cache.NewLog(nil), at: time.Now().Truncate(time.Second)}
	r.changes.Reset(cache.Position{Epoch: 1})
	r.changes.Grant(r.changes.Position(), math.MaxInt64)
	o, err := redis.ParseURL(testenv.SharedRedis(t))
	r.noError(err)
	o.ContextTimeoutEnabled = true
	r.redis = redis.NewClient(o)
	c := cache.New(cache.Options{Redis: r.redis, Freshness: r.changes, ReadBudget: waitLong, WriteBudget: waitLong})
	t.Cleanup(func() { c.Close(); r.redis.Close() })
	r.db, err = store.Open(url, 4)
	r.noError(err)
	storeDB, err := store.Open(url, 4)
	r.noError(err)
	storeDB = storeDB.WithQueryHook(r)
	t.Cleanup(func() { storeDB.Close(); r.db.Close() })
	log := slog.New(slog.NewTextHandler(&r.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := store.New(store.Options{DB: storeDB, Cache: c, Policy: schemaPolicy(t), Committed: r.committed, Log: log})
	r.noError(err)
	r.Auth = New(Options{Store: s, Redis: r.redis, Log: log, Now: r.clock, HashCost: cheap})
	r.attempts.budget = waitLong
	t.Cleanup(r.Auth.Close)
	return r
}

func schemaPolicy(t testing.TB) *policy.Table {
	t.Helper()
	text, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	table, err := policy.Read(schema)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// committed applies what the triggers have noted, as the change log does.
func (r *rig) committed(ctx context.Context) error {
	r.logging.Lock()
	defer r.logging.Unlock()
	var noted []string
	err := r.db.NewRaw("DELETE FROM changelog.outbox RETURNING tag").Scan(ctx, &noted)
	if err == nil && !r.changes.Apply(r.changes.Position(), noted) {
		err = errors.New("the log did not take a change")
	}
	return err
}

// The rig is a hook of the store's database.
func (r *rig) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (r *rig) AfterQuery(context.Context, *bun.QueryEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ran++
}

// statements of the store since the last call.
func (r *rig) statements() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.ran
	r.ran = 0
	return n
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

// settle waits for background work, and for the log to have what it wrote.
func (r *rig) settle() {
	r.t.Helper()
	r.work.Wait()
	r.noError(r.committed(r.t.Context()))
}

func (r *rig) exec(statement string, args ...any) {
	r.t.Helper()
	if _, err := r.db.ExecContext(r.t.Context(), statement, args...); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
	r.noError(r.committed(r.t.Context()))
}

func (r *rig) noError(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

const password = "correct horse battery"

func (r *rig) signUp(handle string) (string, *models.Viewer) {
	r.t.Helper()
	token, viewer, err := r.SignUp(r.t.Context(), models.SignUpInput{Handle: handle, Name: "Name", Password: password, Device: "phone"})
	r.noError(err)
	return token, viewer
}

func (r *rig) signedOut(token string) {
	r.t.Helper()
	viewer, err := r.Authenticate(r.t.Context(), token)
	var refused *models.Error
	if !errors.As(err, &refused) || refused.Code != models.CodeUnauthenticated || viewer != nil {
		r.t.Errorf("authenticate: got %+v, %v, want an error of %s", viewer, err, models.CodeUnauthenticated)
	}
}

func (r *rig) signedIn(token string) *models.Viewer {
	r.t.Helper()
	viewer, err := r.Authenticate(r.t.Context(), token)
	if err != nil {
		r.t.Fatalf("authenticate: got %v, want a viewer", err)
	}
	return viewer
}
