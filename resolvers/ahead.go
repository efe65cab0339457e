package resolvers

import (
	"context"
	"slices"
	"sync"

	"github.com/99designs/gqlgen/graphql"

	"freshet/internal/auth"
	"freshet/internal/store"
)

// Looking ahead: the resolver of a list knows what its entries are before it has them. It has what their fields will ask for
// read in one batch of each kind, all at the same time as the entries themselves, so that a list costs one turn, and how many
// batches it costs does not depend on how the resolvers of its entries are scheduled. An error is left for the field that
// asks again.

func (l *loaders) postsAhead(ctx context.Context, page *store.Page, work *sync.WaitGroup) {
	fields := nodeFields(ctx, "PostEdge", "Post")
	if slices.Contains(fields, "author") {
		work.Go(func() { l.profile.loadAll(ctx, page.By) })
	}
	if slices.Contains(fields, "counts") {
		work.Go(func() { l.postCounts.loadAll(ctx, page.IDs()) })
	}
	if slices.Contains(fields, "viewerHasLiked") {
		work.Go(func() { l.liked.loadAll(ctx, pairs(ctx, page)) })
	}
}

func (l *loaders) profilesAhead(ctx context.Context, page *store.Page, work *sync.WaitGroup) {
	fields := nodeFields(ctx, "ProfileEdge", "Profile")
	if slices.Contains(fields, "counts") {
		work.Go(func() { l.profileCounts.loadAll(ctx, page.IDs()) })
	}
	if slices.Contains(fields, "viewerFollows") {
		work.Go(func() { l.follows.loadAll(ctx, pairs(ctx, page)) })
	}
}

// pairs are of the viewer and each entry; none without a viewer.
func pairs(ctx context.Context, page *store.Page) []store.Pair {
	v := auth.Viewer(ctx)
	if v == nil {
		return nil
	}
	all := make([]store.Pair, len(page.Spots))
	for i, spot := range page.Spots {
		all[i] = store.Pair{Viewer: v.ID, Of: spot.ID}
	}
	return all
}

// nodeFields are the names of the fields that the operation asks of the nodes of the connection being resolved.
func nodeFields(ctx context.Context, edge, node string) []string {
	op := graphql.GetOperationContext(ctx)
	var names []string
	add := func(field graphql.CollectedField) {
		for _, f := range graphql.CollectFields(op, field.Selections, []string{node}) {
			names = append(names, f.Name)
		}
	}
	for _, field := range graphql.CollectFieldsCtx(ctx, nil) {
		switch field.Name {
		case "nodes":
			add(field)
		case "edges":
			for _, f := range graphql.CollectFields(op, field.Selections, []string{edge}) {
				if f.Name == "node" {
					add(f)
				}
			}
		}
	}
	return names
}
