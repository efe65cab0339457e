// Package store holds the SQL of the domain, and beside each query the cache kind it lives under.
//
// Reads go through the kinds, which are fields of Store; writes are its methods. A write returns when no instance can
// answer with what it replaced.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// Options says what a Store works with. All fields but Replica and Log are needed.
type Options struct {
	DB *bun.DB
	// Replica is a streaming replica of DB, for the reads that promise their age alone; nil: none.
	Replica *bun.DB
	Cache   *cache.Cache
	// Policy is the schema's, for the TTLs and tags of the kinds.
	Policy *policy.Table
	// Committed is called after each COMMIT and returns when no instance can answer with what it replaced.
	Committed func(context.Context) error
	// Log is told of what no caller can act on. Default: slog.Default().
	Log *slog.Logger
}

// Store is the domain in PostgreSQL behind its cache. It is safe for concurrent use. What its kinds return is shared:
// nobody may change it.
type Store struct {
	db        *bun.DB
	replica   *replica
	cache     *cache.Cache
	committed func(context.Context) error
	log       *slog.Logger

	Profiles            *cache.Kind[models.ID, *models.Profile]
	Handles             *cache.Kind[string, models.ID]
	ProfileCounts       *cache.Kind[models.ID, *models.ProfileCounts]
	Posts               *cache.Kind[models.ID, *models.Post]
	PostCounts          *cache.Kind[models.ID, *models.PostCounts]
	Likes               *cache.Kind[Pair, bool]
	Follows             *cache.Kind[Pair, bool]
	Feed                *cache.Kind[FeedKey, *Page]
	AuthorPosts         *cache.Kind[ListKey, *Page]
	Followers           *cache.Kind[ListKey, *Page]
	Following           *cache.Kind[ListKey, *Page]
	Settings            *cache.Kind[models.ID, *models.Settings]
	Session             *cache.Kind[TokenHash, *models.Session]
	Sessions            *cache.Kind[models.ID, []*models.Session]
	Identities          *cache.Kind[IdentityKey, *models.Identity]
	Configs             *cache.Kind[ConfigKey, *models.Config]
	CurrentConfigs      *cache.Kind[models.Platform, int]
	Products            *cache.Kind[models.ID, *models.Product]
	ProductPages        *cache.Kind[ProductsKey, *Page]
	Dictionaries        *cache.Kind[DictionaryKey, *models.Dictionary]
	CurrentDictionaries *cache.Kind[models.DictionaryName, int]
	TopPosts            *cache.Kind[TopKey, []models.ID]
	TopProfiles         *cache.Kind[TopKey, []models.ID]
	Statistics          *cache.Kind[Everything, *models.Statistics]
}

// Pair is a viewer and what they may have liked or followed.
type Pair struct{ Viewer, Of models.ID }

// Open makes a pool of at most conns connections to the database at url. It does not connect.
func Open(url string, conns int) (*bun.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("store: the database URL can't be read") // its text may hold a password
	}
	// bun writes arguments into the SQL text: each text prepared would be another prepared statement. Without them the
	// server also works behind a pooler in transaction mode.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := sql.OpenDB(stdlib.GetConnector(*config))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return bun.NewDB(db, pgdialect.New()), nil
}

// New makes a Store. It fails if the schema's policy can't hold for its kinds.
func New(o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{db: o.DB, replica: newReplica(o), cache: o.Cache, committed: o.Committed, log: o.Log}
	effective, err := Effective(o.Policy)
	if err != nil {
		return nil, err
	}
	s.profileKinds(effective)
	s.postKinds(effective)
	s.listKinds(effective)
	s.viewerKinds(effective)
	s.identityKinds(effective)
	s.configKinds(effective)
	s.catalogKinds(effective)
	s.dictionaryKinds(effective)
	s.aggregateKinds(effective)
	return s, nil
}

// write runs fn in a transaction, and waits until what it replaced can't be answered any more. Meanwhile forget removes
// entries that promise their TTL alone.
func (s *Store) write(ctx context.Context, fn func(context.Context, bun.Tx) error, forget ...func(context.Context)) error {
	if err := s.db.RunInTx(ctx, nil, fn); err != nil {
		return err
	}
	var forgetting sync.WaitGroup
	defer forgetting.Wait()
	for _, one := range forget {
		forgetting.Go(func() { one(ctx) })
	}
	// The change stands. If the wait is cut short, the client that asked for it has gone.
	if err := s.committed(ctx); err != nil {
		s.log.WarnContext(ctx, "store: not waited for the caches after a commit", "error", err)
	}
	return nil
}

// failed names the operation and its arguments in an error, tells clients of a database that is away, and leaves a
// refusal as it is.
func failed(err *error, format string, args ...any) {
	if *err == nil {
		return
	}
	if _, refused := (*err).(models.Refusal); refused {
		return
	}
	*err = fmt.Errorf("store: %s: %w", fmt.Sprintf(format, args...), Away(*err))
}
