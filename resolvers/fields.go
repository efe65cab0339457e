package resolvers

import (
	"context"

	"freshet/internal/auth"
	"freshet/internal/store"
	"freshet/models"
)

func (posts) Author(ctx context.Context, post *models.Post) (*models.Profile, error) {
	return load(ctx, from(ctx).profile, post.AuthorID)
}

func (posts) Counts(ctx context.Context, post *models.Post) (*models.PostCounts, error) {
	return load(ctx, from(ctx).postCounts, post.ID)
}

func (posts) ViewerHasLiked(ctx context.Context, post *models.Post) (bool, error) {
	v := auth.Viewer(ctx)
	if v == nil {
		return false, nil
	}
	return load(ctx, from(ctx).liked, store.Pair{Viewer: v.ID, Of: post.ID})
}

func (profiles) Counts(ctx context.Context, p *models.Profile) (*models.ProfileCounts, error) {
	return load(ctx, from(ctx).profileCounts, p.ID)
}

func (profiles) ViewerFollows(ctx context.Context, p *models.Profile) (bool, error) {
	v := auth.Viewer(ctx)
	if v == nil {
		return false, nil
	}
	return load(ctx, from(ctx).follows, store.Pair{Viewer: v.ID, Of: p.ID})
}

func (profiles) Posts(
	ctx context.Context, p *models.Profile, first *int, after *string,
) (*models.PostConnection, error) {
	l := from(ctx)
	return list(ctx, l.authorPosts, l.post, store.AuthorPosts, p.ID, first, after)
}

func (profiles) Followers(
	ctx context.Context, p *models.Profile, first *int, after *string,
) (*models.ProfileConnection, error) {
	l := from(ctx)
	return list(ctx, l.followers, l.profile, store.Followers, p.ID, first, after)
}

func (profiles) Following(
	ctx context.Context, p *models.Profile, first *int, after *string,
) (*models.ProfileConnection, error) {
	l := from(ctx)
	return list(ctx, l.following, l.profile, store.Following, p.ID, first, after)
}

func (viewers) Profile(ctx context.Context, v *models.Viewer) (*models.Profile, error) {
	return load(ctx, from(ctx).profile, v.ID)
}

func (viewers) Settings(ctx context.Context, v *models.Viewer) (*models.Settings, error) {
	return load(ctx, from(ctx).settings, v.ID)
}

func (viewers) Sessions(ctx context.Context, v *models.Viewer) ([]*models.Session, error) {
	shared, err := load(ctx, from(ctx).sessions, v.ID)
	if err != nil {
		return nil, err
	}
	own := make([]*models.Session, len(shared))
	for i, session := range shared {
		marked := *session
		marked.Current = session.ID == v.SessionID
		own[i] = &marked
	}
	return own, nil
}
