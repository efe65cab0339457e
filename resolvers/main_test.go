package resolvers

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/cache"
	"freshet/internal/auth"
	"freshet/internal/external"
	"freshet/internal/ledger"
	"freshet/internal/policy"
	"freshet/internal/store"
	"freshet/internal/testenv"
	"freshet/models"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// rig is the root of the resolvers over real servers, with an executor as the server has it.
type rig struct {
	*Resolver
	t       testing.TB
	db      *bun.DB
	log     *cache.Log
	exec    *executor.Executor
	logging sync.Mutex

	mu      sync.Mutex
	batches []cache.Batch
}

func newRig(t testing.TB) *rig {
	t.Helper()
	url := testenv.Database(t)
	r := &rig{t: t, log: cache.NewLog(nil)}
	r.log.Reset(cache.Position{Epoch: 1})
	r.log.Grant(r.log.Position(), math.MaxInt64)
	o, err := redis.ParseURL(testenv.SharedRedis(t))
	r.noError(err)
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	const waitLong = time.Minute // budgets are no part of what is tested here
	c := cache.New(cache.Options{Redis: client, Freshness: r.log, Observer: r, ReadBudget: waitLong, WriteBudget: waitLong})
	t.Cleanup(func() { c.Close(); client.Close() })
	r.db, err = store.Open(url, 8)
	r.noError(err)
	t.Cleanup(func() { r.db.Close() })
	table, err := policy.Read(New(nil, nil, nil, nil).Schema().Schema())
	r.noError(err)
	s, err := store.New(store.Options{DB: r.db, Cache: c, Policy: table, Committed: r.committed})
	r.noError(err)
	a := auth.New(auth.Options{Store: s, HashCost: auth.HashCost{MemoryKiB: 8, Passes: 1}}) // cheap
	t.Cleanup(a.Close)
	e, err := external.New(external.Options{Cache: c, Policy: table}) // which has no source to ask
	r.noError(err)
	t.Cleanup(e.Close)
	r.Resolver = New(s, ledger.New(r.db), a, e)
	r.exec = executor.New(r.Schema())
	r.exec.AroundResponses(func(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
		return next(r.WithLoaders(ctx))
	})
	r.exec.AroundRootFields(func(ctx context.Context, next graphql.RootResolver) graphql.Marshaler {
		if graphql.GetOperationContext(ctx).Operation.Operation == ast.Mutation {
			ctx = r.WithLoaders(ctx)
		}
		return next(ctx)
	})
	return r
}

// committed applies what the triggers have noted, as the change log does.
func (r *rig) committed(ctx context.Context) error {
	r.logging.Lock()
	defer r.logging.Unlock()
	var noted []string
	err := r.db.NewRaw("DELETE FROM changelog.outbox RETURNING tag").Scan(ctx, &noted)
	if err == nil && !r.log.Apply(r.log.Position(), noted) {
		err = errors.New("the log did not take a change")
	}
	return err
}

// The rig is the cache's observer.
func (r *rig) Stored(string, int) {}

func (r *rig) Observe(_ context.Context, b cache.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, b)
}

// read gives, by kind, how many keys each batch since the last call asked for.
func (r *rig) read() map[string][]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := map[string][]int{}
	for _, b := range r.batches {
		keys[b.Kind] = append(keys[b.Kind], b.Keys)
		slices.Sort(keys[b.Kind])
	}
	r.batches = nil
	return keys
}

func (r *rig) execSQL(statement string, args ...any) {
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

// ask runs an operation for a viewer, or for nobody.
func (r *rig) ask(v *models.Viewer, operation string) *graphql.Response {
	r.t.Helper()
	ctx := r.t.Context()
	if v != nil {
		ctx = auth.WithViewer(ctx, v)
	}
	ctx = graphql.StartOperationTrace(ctx)
	op, refused := r.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: operation})
	if len(refused) > 0 {
		r.t.Fatalf("%s: %v", operation, refused)
	}
	next, ctx := r.exec.DispatchOperation(ctx, op)
	return next(ctx)
}

// data is what an operation answers that must not fail.
func (r *rig) data(v *models.Viewer, operation string) string {
	r.t.Helper()
	response := r.ask(v, operation)
	if len(response.Errors) > 0 {
		r.t.Fatalf("%s: %v", operation, response.Errors)
	}
	return string(response.Data)
}

func (r *rig) want(v *models.Viewer, operation, want string) {
	r.t.Helper()
	if got := r.data(v, operation); got != want {
		r.t.Errorf("%s: got %s, want %s", operation, got, want)
	}
}

func decode[T any](r *rig, data string) (value T) {
	r.t.Helper()
	r.noError(json.Unmarshal([]byte(data), &value))
	return value
}

// people makes profiles 1 to n; 1 follows all others, each of whom has written the post with ten times their id.
func (r *rig) people(n int) *models.Viewer {
	r.t.Helper()
	r.execSQL("INSERT INTO profiles (id, handle, name) SELECT n, 'p0' || n, 'Person ' || n FROM generate_series(1, ?) n", n)
	r.execSQL("SELECT setval(pg_get_serial_sequence('profiles', 'id'), 1000)")
	r.execSQL("INSERT INTO accounts (profile_id, password_hash) SELECT n, '' FROM generate_series(1, ?) n", n)
	r.execSQL("INSERT INTO follows (follower_id, followee_id) SELECT 1, n FROM generate_series(2, ?) n", n)
	r.execSQL(`INSERT INTO posts (id, author_id, title, body, category, language, published_at)
		SELECT n * 10, n, 'Post ' || n, '', 'food', 'en', timestamptz '2026-03-01+00' + n * interval '1 hour' FROM generate_series(2, ?) n`, n)
	return &models.Viewer{ID: 1, SessionID: 1, Scopes: []string{}}
}

// startOperation is the context in which an operation's resolvers run.
func startOperation(t testing.TB, r *rig, text string) (context.Context, *ast.OperationDefinition) {
	t.Helper()
	ctx := graphql.StartOperationTrace(t.Context())
	op, refused := r.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: text})
	if len(refused) > 0 {
		t.Fatalf("%s: %v", text, refused)
	}
	return graphql.WithOperationContext(ctx, op), op.Operation
}
