package resolvers

import (
	"context"
	"time"

	"github.com/graph-gophers/dataloader/v7"

	"freshet/cache"
	"freshet/internal/store"
	"freshet/models"
)

// gather is how long a loader waits for more keys: the resolvers of a list's entries start within microseconds of each
// other, and every level of an operation waits once.
const gather = 100 * time.Microsecond

// loaders batch the reads of one response and remember them. They must not outlive a write: each root field of a mutation
// gets its own.
type loaders struct {
	profile       loader[models.ID, *models.Profile]
	handle        loader[string, models.ID]
	profileCounts loader[models.ID, *models.ProfileCounts]
	post          loader[models.ID, *models.Post]
	postCounts    loader[models.ID, *models.PostCounts]
	liked         loader[store.Pair, bool]
	follows       loader[store.Pair, bool]
	feed          loader[store.FeedKey, *store.Page]
	authorPosts   loader[store.ListKey, *store.Page]
	followers     loader[store.ListKey, *store.Page]
	following     loader[store.ListKey, *store.Page]
	settings      loader[models.ID, *models.Settings]
	sessions      loader[models.ID, []*models.Session]
	config        loader[store.ConfigKey, *models.Config]
	currentConfig loader[models.Platform, int]
}

type loadersKey struct{}

// WithLoaders returns a context with fresh loaders. They read under this context, whoever asks them first: one field's
// end must not cancel what others wait for.
func (r *Resolver) WithLoaders(ctx context.Context) context.Context {
	s := r.store
	return context.WithValue(ctx, loadersKey{}, &loaders{
		profile:       newLoader(ctx, s.Profiles),
		handle:        newLoader(ctx, s.Handles),
		profileCounts: newLoader(ctx, s.ProfileCounts),
		post:          newLoader(ctx, s.Posts),
		postCounts:    newLoader(ctx, s.PostCounts),
		liked:         newLoader(ctx, s.Likes),
		follows:       newLoader(ctx, s.Follows),
		feed:          newLoader(ctx, s.Feed),
		authorPosts:   newLoader(ctx, s.AuthorPosts),
		followers:     newLoader(ctx, s.Followers),
		following:     newLoader(ctx, s.Following),
		settings:      newLoader(ctx, s.Settings),
		sessions:      newLoader(ctx, s.Sessions),
		config:        newLoader(ctx, s.Configs),
		currentConfig: newLoader(ctx, s.CurrentConfigs),
	})
}

func from(ctx context.Context) *loaders { return ctx.Value(loadersKey{}).(*loaders) }

// loader is a dataloader over a kind. What does not exist loads as the zero value.
type loader[K comparable, V any] struct {
	batched *dataloader.Loader[K, V]
	read    func(keys []K) (map[K]V, error)
}

func newLoader[K comparable, V any](ctx context.Context, kind *cache.Kind[K, V]) loader[K, V] {
	read := func(keys []K) (map[K]V, error) { return kind.Many(ctx, keys) }
	batch := func(_ context.Context, keys []K) []*dataloader.Result[V] {
		values, err := read(keys)
		results := make([]*dataloader.Result[V], len(keys))
		for i, key := range keys {
			results[i] = &dataloader.Result[V]{Data: values[key], Error: err}
		}
		return results
	}
	return loader[K, V]{dataloader.NewBatchedLoader(batch, dataloader.WithWait[K, V](gather)), read}
}

// load waits for one key, together with those that other resolvers ask for meanwhile.
func (l loader[K, V]) load(ctx context.Context, key K) (V, error) { return l.batched.Load(ctx, key)() }

// prime reads keys that are known together in one batch, without waiting for more, and remembers them.
func (l loader[K, V]) prime(ctx context.Context, keys []K) (map[K]V, error) {
	values, err := l.read(keys)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		l.batched.Prime(ctx, key, values[key])
	}
	return values, nil
}
