package resolvers

import (
	"context"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/graph-gophers/dataloader/v7"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/cache"
	"freshet/internal/external"
	"freshet/internal/inspect"
	"freshet/internal/store"
	"freshet/models"
)

// gather is how long a loader waits for more keys where others are likely to ask at the same time. On an idle Linux
// machine it lasts a millisecond, the least that the runtime's poller sleeps, which is why nobody waits who is alone.
const gather = 200 * time.Microsecond

// loaders batch the reads of one response and remember them. They must not outlive a write: each root field of a mutation
// gets its own.
type loaders struct {
	several bool              // root fields, resolved at the same time
	inspect *inspect.Recorder // nil: nobody asks

	profile           loader[models.ID, *models.Profile]
	handle            loader[string, models.ID]
	profileCounts     loader[models.ID, *models.ProfileCounts]
	post              loader[models.ID, *models.Post]
	postCounts        loader[models.ID, *models.PostCounts]
	liked             loader[store.Pair, bool]
	follows           loader[store.Pair, bool]
	feed              loader[store.FeedKey, *store.Page]
	authorPosts       loader[store.ListKey, *store.Page]
	followers         loader[store.ListKey, *store.Page]
	following         loader[store.ListKey, *store.Page]
	settings          loader[models.ID, *models.Settings]
	sessions          loader[models.ID, []*models.Session]
	config            loader[store.ConfigKey, *models.Config]
	currentConfig     loader[models.Platform, int]
	product           loader[models.ID, *models.Product]
	products          loader[store.ProductsKey, *store.Page]
	dictionary        loader[store.DictionaryKey, *models.Dictionary]
	currentDictionary loader[models.DictionaryName, int]
	topPosts          loader[store.TopKey, []models.ID]
	topProfiles       loader[store.TopKey, []models.ID]
	statistics        loader[store.Everything, *models.Statistics]
	rates             loader[string, *external.Table]
	places            loader[external.PlaceKey, []*models.Place]
}

type loadersKey struct{}

// WithLoaders returns a context with fresh loaders. They read under this context, whoever asks them first: one field's
// end must not cancel what others wait for.
func (r *Resolver) WithLoaders(ctx context.Context) context.Context {
	s := r.store
	return context.WithValue(ctx, loadersKey{}, &loaders{
		several:           severalRoots(ctx),
		inspect:           inspect.From(ctx),
		profile:           newLoader(ctx, s.Profiles),
		handle:            newLoader(ctx, s.Handles),
		profileCounts:     newLoader(ctx, s.ProfileCounts),
		post:              newLoader(ctx, s.Posts),
		postCounts:        newLoader(ctx, s.PostCounts),
		liked:             newLoader(ctx, s.Likes),
		follows:           newLoader(ctx, s.Follows),
		feed:              newLoader(ctx, s.Feed),
		authorPosts:       newLoader(ctx, s.AuthorPosts),
		followers:         newLoader(ctx, s.Followers),
		following:         newLoader(ctx, s.Following),
		settings:          newLoader(ctx, s.Settings),
		sessions:          newLoader(ctx, s.Sessions),
		config:            newLoader(ctx, s.Configs),
		currentConfig:     newLoader(ctx, s.CurrentConfigs),
		product:           newLoader(ctx, s.Products),
		products:          newLoader(ctx, s.ProductPages),
		dictionary:        newLoader(ctx, s.Dictionaries),
		currentDictionary: newLoader(ctx, s.CurrentDictionaries),
		topPosts:          newLoader(ctx, s.TopPosts),
		topProfiles:       newLoader(ctx, s.TopProfiles),
		statistics:        newLoader(ctx, s.Statistics),
		rates:             newLoader(ctx, r.external.Rates),
		places:            newLoader(ctx, r.external.Places),
	})
}

// WithMutationLoaders is WithLoaders for a root field of a mutation: what it reads back is never older than what it
// wrote, or the field fails.
func (r *Resolver) WithMutationLoaders(ctx context.Context) context.Context {
	return r.WithLoaders(cache.Strict(ctx))
}

func from(ctx context.Context) *loaders { return ctx.Value(loadersKey{}).(*loaders) }

// loader is a dataloader over a kind, made when somebody asks: most responses need few of them. What does not exist loads
// as the zero value.
type loader[K comparable, V any] struct {
	ctx  context.Context
	kind *cache.Kind[K, V]
	once sync.Once
	made *dataloader.Loader[K, V]
}

func newLoader[K comparable, V any](ctx context.Context, kind *cache.Kind[K, V]) loader[K, V] {
	return loader[K, V]{ctx: ctx, kind: kind}
}

func (l *loader[K, V]) batched() *dataloader.Loader[K, V] {
	l.once.Do(func() { l.made = dataloader.NewBatchedLoader(l.batch, dataloader.WithWait[K, V](gather)) })
	return l.made
}

func (l *loader[K, V]) batch(_ context.Context, keys []K) []*dataloader.Result[V] {
	values, err := l.kind.Many(l.ctx, keys)
	results := make([]*dataloader.Result[V], len(keys))
	for i, key := range keys {
		results[i] = &dataloader.Result[V]{Data: values[key], Error: err}
	}
	return results
}

// load waits for one key, together with those that other resolvers ask for meanwhile.
func (l *loader[K, V]) load(ctx context.Context, key K) (V, error) {
	values, err := l.loadAll(ctx, []K{key})
	return values[key], err
}

// loadAll waits for keys that are known together. They are read at once if nobody else can be about to ask for others.
func (l *loader[K, V]) loadAll(ctx context.Context, keys []K) (map[K]V, error) {
	if recorder := from(ctx).inspect; recorder != nil {
		path := graphql.GetPath(ctx).String()
		for _, key := range keys {
			recorder.Want(l.kind.Name, key, path)
		}
	}
	if alone(ctx) {
		values, err := l.kind.Many(l.ctx, keys)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			l.batched().Prime(ctx, key, values[key])
		}
		return values, nil
	}
	thunks := make([]dataloader.Thunk[V], len(keys))
	for i, key := range keys {
		thunks[i] = l.batched().Load(ctx, key)
	}
	values := make(map[K]V, len(keys))
	for i, key := range keys {
		value, err := thunks[i]()
		if err != nil {
			return nil, err
		}
		values[key] = value
	}
	return values, nil
}

// alone tells that no other resolver of the response runs at the same time as this one, or that it would ask for the same
// through the same parent: there is one root field, and no list above.
func alone(ctx context.Context) bool {
	if from(ctx).several {
		return false
	}
	for field := graphql.GetFieldContext(ctx); field != nil; field = field.Parent {
		if field.Index != nil {
			return false
		}
	}
	return true
}

// severalRoots tells whether a query has more than one root field. Those of a mutation are resolved one after the other.
func severalRoots(ctx context.Context) bool {
	op := graphql.GetOperationContext(ctx)
	return op.Operation != nil && op.Operation.Operation == ast.Query &&
		len(graphql.CollectFields(op, op.Operation.SelectionSet, []string{"Query"})) > 1
}
