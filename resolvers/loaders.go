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
	profile       *dataloader.Loader[models.ID, *models.Profile]
	handle        *dataloader.Loader[string, models.ID]
	profileCounts *dataloader.Loader[models.ID, *models.ProfileCounts]
	post          *dataloader.Loader[models.ID, *models.Post]
	postCounts    *dataloader.Loader[models.ID, *models.PostCounts]
	liked         *dataloader.Loader[store.Pair, bool]
	follows       *dataloader.Loader[store.Pair, bool]
	feed          *dataloader.Loader[store.FeedKey, *store.Page]
	authorPosts   *dataloader.Loader[store.ListKey, *store.Page]
	followers     *dataloader.Loader[store.ListKey, *store.Page]
	following     *dataloader.Loader[store.ListKey, *store.Page]
	settings      *dataloader.Loader[models.ID, *models.Settings]
	sessions      *dataloader.Loader[models.ID, []*models.Session]
	config        *dataloader.Loader[store.ConfigKey, *models.Config]
	currentConfig *dataloader.Loader[models.Platform, int]
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

// newLoader reads batches of keys from a kind. What does not exist loads as the zero value.
func newLoader[K comparable, V any](ctx context.Context, kind *cache.Kind[K, V]) *dataloader.Loader[K, V] {
	batch := func(_ context.Context, keys []K) []*dataloader.Result[V] {
		values, err := kind.Many(ctx, keys)
		results := make([]*dataloader.Result[V], len(keys))
		for i, key := range keys {
			results[i] = &dataloader.Result[V]{Data: values[key], Error: err}
		}
		return results
	}
	return dataloader.NewBatchedLoader(batch, dataloader.WithWait[K, V](gather))
}

// load waits for one key.
func load[K comparable, V any](ctx context.Context, l *dataloader.Loader[K, V], key K) (V, error) {
	return l.Load(ctx, key)()
}

// loadAll waits for several keys and leaves out what does not exist.
func loadAll[K comparable, V any](ctx context.Context, l *dataloader.Loader[K, *V], keys []K) ([]*V, error) {
	values, errs := l.LoadMany(ctx, keys)()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}
