package naive

import (
	"context"
	"database/sql"
	"log/slog"
	"strconv"
	"sync"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"github.com/redis/go-redis/v9"

	"freshet/cache"
	"freshet/internal/changelog"
)

// Hasty is Freshet's own cache and change log, but for one thing: a write is answered at its COMMIT, without waiting for
// the instances to know of it.
type Hasty struct {
	Rows Rows

	dbs       []*sql.DB
	instances []hastyInstance
	stop      context.CancelFunc
	work      sync.WaitGroup
}

type hastyInstance struct {
	cache    *cache.Cache
	log      *cache.Log
	profiles *cache.Kind[int64, int]
}

// NewHasty starts n instances, over the database at url. It runs until Close.
func NewHasty(ctx context.Context, rows Rows, url string, client redis.UniversalClient, n int) (*Hasty, error) {
	h := &Hasty{Rows: rows}
	ctx, h.stop = context.WithCancel(ctx)
	for range n {
		db, err := sql.Open("pgx", url)
		if err != nil {
			h.Close()
			return nil, err
		}
		h.dbs = append(h.dbs, db)
		log := cache.NewLog(nil)
		i := hastyInstance{log: log, cache: cache.New(cache.Options{Redis: client, Service: "hasty", Freshness: log})}
		i.profiles = cache.NewKind(i.cache, cache.KindOptions[int64, int]{
			Name: "profile", TTL: ttl, Key: func(id int64) string { return strconv.FormatInt(id, 10) },
			Tags: func(id int64, _ int, _ bool) []string { return []string{"profile:" + strconv.FormatInt(id, 10)} },
			Load: h.load,
		})
		h.instances = append(h.instances, i)
		node := changelog.New(changelog.Options{
			DB: db, Redis: client, Log: log, Service: "hasty", Name: "hasty", Logger: slog.New(slog.DiscardHandler),
		})
		h.work.Go(func() { node.Run(ctx) })
	}
	return h, nil
}

// Ready reports whether every instance may answer from its cache.
func (h *Hasty) Ready() bool {
	for _, i := range h.instances {
		if _, granted := i.log.AsOf(); !granted {
			return false
		}
	}
	return true
}

func (h *Hasty) load(ctx context.Context, ids []int64) (map[int64]int, error) {
	versions := make(map[int64]int, len(ids))
	for _, id := range ids {
		version, err := h.Rows.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		versions[id] = version
	}
	return versions, nil
}

// Read goes through the instance's cache.
func (h *Hasty) Read(ctx context.Context, instance int, id int64) (int, error) {
	values, err := h.instances[instance].profiles.Many(ctx, []int64{id})
	return values[id], err
}

// Write commits.
func (h *Hasty) Write(ctx context.Context, _ int, id int64, version int) error {
	return h.Rows.Store(ctx, id, version)
}

// Close stops the instances.
func (h *Hasty) Close() error {
	h.stop()
	h.work.Wait()
	for _, i := range h.instances {
		i.cache.Close()
	}
	for _, db := range h.dbs {
		db.Close()
	}
	return nil
}

var (
	_ Cache = (*SetDel)(nil)
	_ Cache = (*Singleflight)(nil)
	_ Cache = (*TagSets)(nil)
	_ Cache = (*Forgiving)(nil)
	_ Cache = (*Hasty)(nil)
)
