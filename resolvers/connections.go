package resolvers

import (
	"context"

	"github.com/graph-gophers/dataloader/v7"

	"freshet/internal/store"
	"freshet/models"
)

// connect makes a connection of a page. An entry that was deleted after the page was cached is left out.
func connect[T any](
	ctx context.Context, page *store.Page, nodes *dataloader.Loader[models.ID, *T], continued bool,
) (*models.Connection[T], error) {
	values, err := loadAll(ctx, nodes, page.IDs())
	if err != nil {
		return nil, err
	}
	c := &models.Connection[T]{
		Edges:    make([]*models.Edge[T], 0, len(values)),
		PageInfo: &models.PageInfo{HasNextPage: page.More, HasPreviousPage: continued},
	}
	for i, node := range values {
		if node != nil {
			c.Edges = append(c.Edges, &models.Edge[T]{Cursor: page.Cursor(page.Spots[i]), Node: node})
		}
	}
	if n := len(page.Spots); n > 0 {
		// The ends of the page itself, deleted entries included: the next page must continue behind them.
		first, last := page.Cursor(page.Spots[0]), page.Cursor(page.Spots[n-1])
		c.PageInfo.StartCursor, c.PageInfo.EndCursor = &first, &last
	}
	return c, nil
}

// list resolves one of a profile's lists.
func list[T any](
	ctx context.Context, pages *dataloader.Loader[store.ListKey, *store.Page], nodes *dataloader.Loader[models.ID, *T],
	name store.List, of models.ID, first *int, after *string,
) (*models.Connection[T], error) {
	key, err := store.NewListKey(name, of, first, after)
	if err != nil {
		return nil, err
	}
	page, err := load(ctx, pages, key)
	if err != nil {
		return nil, err
	}
	return connect(ctx, page, nodes, after != nil)
}
