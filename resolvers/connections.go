package resolvers

import (
	"context"
	"sync"

	"freshet/internal/store"
	"freshet/models"
)

// lookahead has read what the fields of a page's entries will ask for.
type lookahead func(ctx context.Context, page *store.Page, work *sync.WaitGroup)

// connect makes a connection of a page. An entry that was deleted after the page was cached is left out.
func connect[T any](
	ctx context.Context, page *store.Page, nodes *loader[models.ID, *T], ahead lookahead, continued bool,
) (*models.Connection[T], error) {
	var work sync.WaitGroup
	ahead(ctx, page, &work)
	found, err := nodes.loadAll(ctx, page.IDs())
	work.Wait()
	if err != nil {
		return nil, err
	}
	c := &models.Connection[T]{
		Edges:    make([]*models.Edge[T], 0, len(found)),
		PageInfo: &models.PageInfo{HasNextPage: page.More, HasPreviousPage: continued},
	}
	for _, spot := range page.Spots {
		if node := found[spot.ID]; node != nil {
			c.Edges = append(c.Edges, &models.Edge[T]{Cursor: page.Cursor(spot), Node: node})
		}
	}
	if n := len(page.Spots); n > 0 {
		// The ends of the page itself, deleted entries included: the next page must continue behind them.
		first, last := page.Cursor(page.Spots[0]), page.Cursor(page.Spots[n-1])
		c.PageInfo.StartCursor, c.PageInfo.EndCursor = &first, &last
	}
	return c, nil
}

func (l *loaders) connectPosts(ctx context.Context, page *store.Page, continued bool) (*models.PostConnection, error) {
	return connect(ctx, page, &l.post, l.postsAhead, continued)
}

func (l *loaders) connectProfiles(
	ctx context.Context, page *store.Page, continued bool,
) (*models.ProfileConnection, error) {
	return connect(ctx, page, &l.profile, l.profilesAhead, continued)
}

// listPage loads a page of one of a profile's lists.
func listPage(
	ctx context.Context, pages *loader[store.ListKey, *store.Page], name store.List, of models.ID, first *int, after *string,
) (*store.Page, error) {
	key, err := store.NewListKey(name, of, first, after)
	if err != nil {
		return nil, err
	}
	return pages.load(ctx, key)
}
