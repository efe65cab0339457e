package resolvers

import (
	"context"

	"freshet/internal/auth"
	"freshet/internal/store"
	"freshet/models"
)

func (queries) Feed(
	ctx context.Context, first *int, after *string, filter *models.FeedFilter, order models.FeedOrder,
) (*models.PostConnection, error) {
	key, err := store.NewFeedKey(auth.Viewer(ctx).ID, first, after, filter, order)
	if err != nil {
		return nil, err
	}
	page, err := from(ctx).feed.load(ctx, key)
	if err != nil {
		return nil, err
	}
	return from(ctx).connectPosts(ctx, page, after != nil)
}

func (queries) Profile(ctx context.Context, id models.ID) (*models.Profile, error) {
	return from(ctx).profile.load(ctx, id)
}

func (queries) ProfileByHandle(ctx context.Context, handle string) (*models.Profile, error) {
	normal, ok := models.NormalHandle(handle)
	if !ok {
		return nil, nil
	}
	id, err := from(ctx).handle.load(ctx, normal)
	if err != nil || id == 0 {
		return nil, err
	}
	return from(ctx).profile.load(ctx, id)
}

func (queries) Viewer(ctx context.Context) (*models.Viewer, error) { return auth.Viewer(ctx), nil }

func (queries) Post(ctx context.Context, id models.ID) (*models.Post, error) {
	return from(ctx).post.load(ctx, id)
}

func (r queries) Config(ctx context.Context, platform models.Platform) (*models.Config, error) {
	return r.config(ctx, platform)
}

// config follows the small kind that says which version is current to the version's own entry.
func (*Resolver) config(ctx context.Context, platform models.Platform) (*models.Config, error) {
	version, err := from(ctx).currentConfig.load(ctx, platform)
	if err != nil || version == 0 {
		return nil, err
	}
	return from(ctx).config.load(ctx, store.ConfigKey{Platform: platform, Version: version})
}
