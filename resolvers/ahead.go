package resolvers

import (
	"context"
	"slices"
	"sync"

	"github.com/99designs/gqlgen/graphql"

	"freshet/internal/auth"
	"freshet/internal/store"
	"freshet/models"
)

// Looking ahead: the resolver of a list knows its entries before their fields are resolved. It has what those fields
// will ask for read in one batch of each kind, all at once, so that how many batches a list costs does not depend on how
// the resolvers of its entries are scheduled. An error is left for the field that asks again.

func (l *loaders) postsAhead(ctx context.Context, posts []*models.Post) {
	fields := nodeFields(ctx, "PostEdge", "Post")
	var work sync.WaitGroup
	defer work.Wait()
	if slices.Contains(fields, "author") {
		work.Go(func() { l.profile.loadAll(ctx, each(posts, func(p *models.Post) models.ID { return p.AuthorID })) })
	}
	if slices.Contains(fields, "counts") {
		work.Go(func() { l.postCounts.loadAll(ctx, each(posts, func(p *models.Post) models.ID { return p.ID })) })
	}
	if v := auth.Viewer(ctx); v != nil && slices.Contains(fields, "viewerHasLiked") {
		work.Go(func() {
			l.liked.loadAll(ctx, each(posts, func(p *models.Post) store.Pair { return store.Pair{Viewer: v.ID, Of: p.ID} }))
		})
	}
}

func (l *loaders) profilesAhead(ctx context.Context, profiles []*models.Profile) {
	fields := nodeFields(ctx, "ProfileEdge", "Profile")
	var work sync.WaitGroup
	defer work.Wait()
	if slices.Contains(fields, "counts") {
		work.Go(func() {
			l.profileCounts.loadAll(ctx, each(profiles, func(p *models.Profile) models.ID { return p.ID }))
		})
	}
	if v := auth.Viewer(ctx); v != nil && slices.Contains(fields, "viewerFollows") {
		work.Go(func() {
			l.follows.loadAll(ctx, each(profiles, func(p *models.Profile) store.Pair { return store.Pair{Viewer: v.ID, Of: p.ID} }))
		})
	}
}

func each[T any, K any](nodes []*T, key func(*T) K) []K {
	keys := make([]K, len(nodes))
	for i, node := range nodes {
		keys[i] = key(node)
	}
	return keys
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
