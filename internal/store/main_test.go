package store

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/internal/testenv"
	"freshet/models"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// rig is a Store over real servers. It counts statements, and stands in for the change log of one instance.
type rig struct {
	*Store
	t testing.TB
	// foreign is a pool of other writers: its statements are not counted.
	foreign *bun.DB
	redis   *redis.Client
	log     *cache.Log
	logging sync.Mutex

	mu         sync.Mutex
	statements []string
}

func newRig(t testing.TB) *rig { return newRigWith(t, func(*cache.Options) {}) }

func newRigWith(t testing.TB, change func(*cache.Options)) *rig {
	t.Helper()
	return newRigOn(t, testenv.Database(t), change, func(*Options) {})
}

func newRigOn(t testing.TB, url string, change func(*cache.Options), changeStore func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, foreign: openPool(t, url), log: cache.NewLog(nil)}
	r.log.Reset(cache.Position{Epoch: 1})
	r.log.Grant(r.log.Position(), math.MaxInt64)
	redisOptions, err := redis.ParseURL(testenv.SharedRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	redisOptions.ContextTimeoutEnabled = true
	r.redis = redis.NewClient(redisOptions)
	options := cache.Options{Redis: r.redis, Freshness: r.log, ReadBudget: waitLong, WriteBudget: waitLong}
	change(&options)
	c := cache.New(options)
	t.Cleanup(func() { c.Close(); r.redis.Close() })
	db := openPool(t, url)
	db = db.WithQueryHook(r)
	o := Options{DB: db, Cache: c, Policy: schemaPolicy(t), Committed: r.committed}
	changeStore(&o)
	r.Store, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// waitLong is for budgets that are no part of what a test is about: only a hang reaches it.
const waitLong = 5 * time.Minute

func openPool(t testing.TB, url string) *bun.DB {
	t.Helper()
	db, err := Open(url, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func schemaPolicy(t testing.TB) *policy.Table {
	t.Helper()
	text, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphqls", Input: string(text)})
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
	err := r.foreign.NewRaw("DELETE FROM changelog.outbox RETURNING tag").Scan(ctx, &noted)
	if err == nil && !r.log.Apply(r.log.Position(), noted) {
		err = errors.New("the log did not take a change")
	}
	return err
}

// The rig is a hook of the store's database.
func (r *rig) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (r *rig) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, e.Query)
}

// ran returns the statements of the store since the last call.
func (r *rig) ran() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	statements := r.statements
	r.statements = nil
	return statements
}

// exec is what another writer does. Its changes are in the log when it returns.
func (r *rig) exec(query string, args ...any) {
	r.t.Helper()
	if _, err := r.foreign.ExecContext(r.t.Context(), query, args...); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	if err := r.committed(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// query reads what is in the database, behind the store's back.
func query[T any](r *rig, text string, args ...any) (rows []T) {
	r.t.Helper()
	if err := r.foreign.NewRaw(text, args...).Scan(r.t.Context(), &rows); err != nil {
		r.t.Fatalf("%s: %v", text, err)
	}
	return rows
}

// read is a read through a kind that must find something.
func read[K comparable, V any](r *rig, kind *cache.Kind[K, V], key K) V {
	r.t.Helper()
	value, found, err := kind.One(r.t.Context(), key)
	if err != nil || !found {
		r.t.Fatalf("%s %v: got found %v, %v, want a value", kind.Name, key, found, err)
	}
	return value
}

// people makes profiles 1 to n with accounts: handles are p1, p2 …
func (r *rig) people(n int) {
	r.t.Helper()
	r.exec(`INSERT INTO profiles (id, handle, name) SELECT n, 'p0' || n, 'Person ' || n FROM generate_series(1, ?) n`, n)
	r.exec(`INSERT INTO accounts (profile_id, password_hash) SELECT n, '' FROM generate_series(1, ?) n`, n)
	r.exec(`SELECT setval(pg_get_serial_sequence('profiles', 'id'), 1000000)`)
}

// refusedWith fails unless err is a refusal of the field with the code.
func (r *rig) refusedWith(err error, code models.UserErrorCode, field string) {
	r.t.Helper()
	var refusal models.Refusal
	if !errors.As(err, &refusal) || len(refusal) != 1 || refusal[0].Code != code ||
		strings.Join(refusal[0].Path, ".") != field || refusal[0].Message == "" {
		r.t.Errorf("got %v %+v, want a refusal %s of %s", err, refusal, code, field)
	}
}

func (r *rig) noError(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func ptr[T any](value T) *T { return &value }
