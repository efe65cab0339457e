package command

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"
	"github.com/vektah/gqlparser/v2/formatter"

	"freshet/cache"
	"freshet/internal/auth"
	"freshet/internal/changelog"
	"freshet/internal/external"
	"freshet/internal/jwt"
	"freshet/internal/ledger"
	"freshet/internal/opcache"
	"freshet/internal/operation"
	"freshet/internal/persisted"
	"freshet/internal/playground"
	"freshet/internal/policy"
	"freshet/internal/redisconn"
	"freshet/internal/server"
	"freshet/internal/store"
	"freshet/internal/tracing"
	"freshet/internal/verifier"
	"freshet/models"
	"freshet/resolvers"
)

// instance is one running server's parts, from the connections up.
type instance struct {
	options  ServeOptions
	db       *bun.DB
	logDB    *bun.DB
	replica  *bun.DB // nil: none
	redis    redis.UniversalClient
	cache    *cache.Cache
	node     *changelog.Node
	policy   *policy.Table
	store    *store.Store
	auth     *auth.Auth
	root     *resolvers.Resolver
	schema   graphql.ExecutableSchema
	compiler *operation.Compiler
	results  *opcache.Cache
	library  *persisted.Library
	texts    *persisted.Automatic // nil: not supported
	external *external.Sources
	limits   server.Limits
	tokens   *jwt.Verifier // nil: there is no identity provider
	verifier *verifier.Verifier
	registry *prometheus.Registry
	history  history
	started  time.Time
	tracer   *tracing.Tracer // nil: no traces

	background context.Context
	stop       context.CancelFunc // ends background
	work       sync.WaitGroup
}

// logConns is enough for the sequencer's office, its rounds, the log's tail and the writers' waits, whatever the store's
// pool is busy with.
const logConns = 5

// newInstance connects, and starts to follow the change log. The caller closes it.
func newInstance(ctx context.Context, o ServeOptions) (_ *instance, err error) {
	i := &instance{options: o, registry: prometheus.NewRegistry(), started: time.Now(), stop: func() {}}
	defer func() {
		if err != nil {
			i.close()
		}
	}()
	if i.db, err = store.Open(o.DatabaseURL, o.DatabaseConns); err != nil {
		return nil, err
	}
	if i.logDB, err = store.Open(cmp.Or(o.LogDatabaseURL, o.DatabaseURL), logConns); err != nil {
		return nil, err
	}
	if i.tracer, err = tracing.New(ctx, tracing.Options{
		Endpoint: o.TraceEndpoint, Sample: o.TraceSample, Service: o.Service, Instance: o.Name,
	}); err != nil {
		return nil, err
	}
	if i.redis, err = redisconn.Open(o.RedisURL, o.RedisConns); err != nil {
		return nil, err
	}
	if err := requireSchema(ctx, i.db); err != nil {
		return nil, err
	}
	if o.LogDatabaseURL != "" {
		if err := requireSame(ctx, i.db, i.logDB); err != nil {
			return nil, err
		}
	}
	if err := i.openReplica(ctx); err != nil {
		return nil, err
	}
	if err := i.assemble(); err != nil {
		return nil, err
	}
	if err := i.library.Load(ctx); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	i.background, i.stop = background, stop
	i.work.Go(func() { i.node.Run(background) })
	i.work.Go(func() { i.verifier.Run(background) })
	i.work.Go(func() { i.library.Run(background) })
	i.work.Go(func() { i.removeEndedSessions(background) })
	i.runGuards()
	return i, nil
}

// assemble puts the parts together, each on those before it.
func (i *instance) assemble() error {
	observer, err := server.NewCacheMetrics(i.registry)
	if err != nil {
		return err
	}
	statements, err := server.NewSQLMetrics(i.registry)
	if err != nil {
		return err
	}
	i.db = i.db.WithQueryHook(statements)
	if i.replica != nil {
		i.replica = i.replica.WithQueryHook(statements)
	}
	log, tuning := cache.NewLog(nil), i.options.tuning
	i.cache = cache.New(cache.Options{
		Redis: i.redis, Service: i.options.Service, Freshness: log, Observer: observer, Log: i.options.Log,
		LocalBytes: i.options.Memory, ReadBudget: tuning.redisBudget, WriteBudget: tuning.redisBudget, Lease: tuning.lease,
	})
	i.verifier = verifier.New(verifier.Options{
		Verify: func(ctx context.Context, tag string) (bool, bool, error) { return i.store.Verify(ctx, tag) },
		Log:    i.options.Log,
	})
	i.node = changelog.New(changelog.Options{
		DB: i.logDB.DB, Redis: i.redis, Log: log, Service: i.options.Service, Name: i.options.Name, Logger: i.options.Log,
		Grant: tuning.lease, Stuck: tuning.lease, Poll: tuning.outboxPoll,
		Applied: func(tags []string) {
			i.verifier.Changed(tags)
			i.library.Changed(tags)
		},
	})
	err = server.RegisterInstance(i.registry, server.Instance{
		Log: i.node.Stats, Verifier: i.verifier.Stats, CacheAvailable: i.cache.Available, Database: i.db.DB.Stats, Redis: i.redis.PoolStats,
	})
	if err != nil {
		return err
	}
	if err := server.RegisterRedis(i.registry, i.redis); err != nil {
		return err
	}
	if i.policy, err = Policy(); err != nil {
		return err
	}
	i.store, err = store.New(store.Options{
		DB: i.db, Replica: i.replica, Cache: i.cache, Policy: i.policy, Committed: i.node.Committed, Log: i.options.Log,
	})
	if err != nil {
		return err
	}
	if err := i.registerReplica(); err != nil {
		return err
	}
	i.external, err = external.New(external.Options{
		Cache: i.cache, Policy: i.policy, Redis: i.redis, Service: i.options.Service, Log: i.options.Log,
		ECB: i.options.External.ECB, Nominatim: i.options.External.Nominatim, Contact: i.options.External.Contact,
	})
	if err != nil {
		return err
	}
	if err := i.guard(); err != nil {
		return err
	}
	i.auth = i.newAuth()
	if err := server.RegisterLimits(i.registry, i.limits, i.auth.TooEarly); err != nil {
		return err
	}
	i.root = resolvers.New(i.store, ledger.New(i.db), i.auth, i.external)
	i.schema = i.root.Schema()
	i.compiler = operation.NewCompiler(operation.Options{
		Schema: i.schema.Schema(), Policy: i.policy, Introspection: i.options.Introspection,
	})
	i.library = persisted.New(persisted.Options{DB: i.db, Compiler: i.compiler, Log: i.options.Log, Poll: tuning.buildsPoll})
	if i.options.Automatic {
		i.texts = persisted.NewAutomatic(persisted.AutomaticOptions{
			Redis: i.redis, Service: i.options.Service, Available: i.cache.Available, Log: i.options.Log, Budget: tuning.redisBudget,
		})
	}
	i.results = opcache.New(opcache.Options{Cache: i.cache, Version: release(i.schema), LocalBytes: i.options.ResultMemory})
	return nil
}

// release tells apart what may answer the same operation in different ways: the schema with its policy, and the program.
func release(schema graphql.ExecutableSchema) string {
	var text strings.Builder
	formatter.NewFormatter(&text).FormatSchema(schema.Schema())
	sum := sha256.Sum256([]byte(text.String()))
	version := hex.EncodeToString(sum[:])
	if info, ok := debug.ReadBuildInfo(); ok {
		version += info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				version += setting.Value
			}
		}
	}
	return version
}

// listen makes the instance's HTTP server. Token, if any, is what requests from the playground begin with, and adminToken
// what its overview of the caches does.
func (i *instance) listen(token, adminToken string) (*server.Server, error) {
	o := i.serverOptions()
	if i.options.Playground {
		o.Playground, o.Caches = i.playground(token, adminToken), i.caches()
		i.work.Go(func() { i.remember(i.background) })
	}
	srv, err := server.New(o)
	if err == nil {
		i.work.Go(func() { i.warm(srv) })
	}
	return srv, err
}

// listenAs makes an HTTP server for one who is to see what the caches do, and whom authenticate tells.
func (i *instance) listenAs(authenticate func(context.Context, string) (*models.Viewer, error)) (*server.Server, error) {
	o := i.serverOptions()
	o.Authenticate = authenticate
	o.Inspect = func(*models.Viewer) bool { return true }
	return server.New(o)
}

func (i *instance) serverOptions() server.Options {
	return server.Options{
		Addr:          i.options.Addr,
		Schema:        i.schema,
		Compiler:      i.compiler,
		Results:       i.results,
		ResultHeaders: i.options.ResultHeaders,
		Persisted: server.Persisted{
			Library: i.library, Automatic: i.texts, Enforcement: i.options.Enforcement,
		},
		Authenticate:   i.auth.Authenticate,
		Limits:         i.limits,
		Response:       i.root.WithLoaders,
		RootField:      i.root.WithMutationLoaders,
		Ready:          i.ready,
		Tracer:         i.tracer,
		Log:            i.options.Log,
		Registry:       i.registry,
		Origins:        i.options.Origins,
		BodyLimit:      i.options.BodyLimit,
		RequestTimeout: i.options.RequestTimeout,
		DrainDelay:     i.options.DrainDelay,
		DrainTimeout:   i.options.DrainTimeout,
	}
}

// warm begins once this instance may keep results.
func (i *instance) warm(srv *server.Server) {
	const hottest, look = 50, 50 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !i.node.Stats().Granted {
		select {
		case <-i.background.Done():
			return
		case <-tick.C:
		}
	}
	srv.Warm(i.background, hottest)
}

func (i *instance) playground(token, adminToken string) http.Handler {
	words := make(map[string]string)
	for _, rule := range i.policy.Rules() {
		words[rule.Coordinate] = rule.String()
	}
	return playground.Handler(playground.Options{Token: token, AdminToken: adminToken, Policy: words})
}

// ready tells what requests need. Without Redis they are slower, not fewer.
func (i *instance) ready(ctx context.Context) []server.Check {
	var redisErr error
	if !i.cache.Available() {
		redisErr = errors.New("out of use after repeated faults")
	} else {
		redisErr = i.redis.Ping(ctx).Err()
	}
	return []server.Check{
		{Name: "postgresql", Err: i.db.PingContext(ctx)},
		{Name: "redis", Optional: true, Err: redisErr},
	}
}

// removeEndedSessions keeps the table of sessions from growing for ever.
func (i *instance) removeEndedSessions(ctx context.Context) {
	const pause = 10 * time.Minute
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if _, err := i.store.RemoveEndedSessions(ctx, time.Now()); err != nil && ctx.Err() == nil {
			i.options.Log.Warn("ended sessions were not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close stops what runs, from the top down: requests have ended, then what they left in the background, then the grant
// is given back, then the connections.
func (i *instance) close() {
	if i.auth != nil {
		i.auth.Close()
	}
	if i.cache != nil {
		i.cache.Close()
	}
	i.stop()
	i.work.Wait()
	if i.texts != nil {
		i.texts.Close()
	}
	if i.external != nil {
		i.external.Close()
	}
	if i.tokens != nil {
		i.tokens.Close()
	}
	i.endTraces()
	for _, db := range []*bun.DB{i.db, i.logDB, i.replica} {
		if db != nil {
			db.Close()
		}
	}
	if i.redis != nil {
		i.redis.Close()
	}
}

// endTraces sends the last spans, if the collector takes them soon.
func (i *instance) endTraces() {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := i.tracer.Close(ctx); err != nil {
		i.options.Log.Warn("the last spans were not sent", "error", err)
	}
}

// Serve runs an instance until ctx ends, and drains it.
func Serve(ctx context.Context, o ServeOptions) error {
	takeLogs(o.Log)
	i, err := newInstance(ctx, o)
	if err != nil {
		return err
	}
	defer i.close()
	srv, err := i.listen("", "")
	if err != nil {
		return listenError(o.Addr, err)
	}
	o.Log.Info("serving", "addr", srv.Addr().String())
	return srv.Serve(ctx)
}

// Policy reads the effective cache policy of the schema that is built in.
func Policy() (*policy.Table, error) {
	table, err := policy.Read(resolvers.New(nil, nil, nil, nil).Schema().Schema())
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return table, nil
}
