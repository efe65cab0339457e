package resolvers

import (
	"context"

	"freshet/internal/auth"
	"freshet/internal/store"
	"freshet/models"
)

func (posts) Author(ctx context.Context, post *models.Post) (*models.Profile, error) {
	return from(ctx).profile.load(ctx, post.AuthorID)
}

func (posts) Counts(ctx context.Context, post *models.Post) (*models.PostCounts, error) {
	return from(ctx).postCounts.load(ctx, post.ID)
}

func (posts) ViewerHasLiked(ctx context.Context, post *models.Post) (bool, error) {
	v := auth.Viewer(ctx)
	if v == nil {
		return false, nil
	}
	return from(ctx).liked.load(ctx, store.Pair{Viewer: v.ID, Of: post.ID})
}

func (profiles) Counts(ctx context.Context, p *models.Profile) (*models.ProfileCounts, error) {
	return from(ctx).profileCounts.load(ctx, p.ID)
}

func (profiles) ViewerFollows(ctx context.Context, p *models.Profile) (bool, error) {
	v := auth.Viewer(ctx)
	if v == nil {
		return false, nil
	}
	return from(ctx).follows.load(ctx, store.Pair{Viewer: v.ID, Of: p.ID})
}

func (profiles) Posts(
	ctx context.Context, p *models.Profile, first *int, after *string,
) (*models.PostConnection, error) {
	l := from(ctx)
	page, err := listPage(ctx, &l.authorPosts, store.AuthorPosts, p.ID, first, after)
	if err != nil {
		return nil, err
	}
	return l.connectPosts(ctx, page, after != nil)
}

func (profiles) Followers(
	ctx context.Context, p *models.Profile, first *int, after *string,
) (*models.ProfileConnection, error) {
	l := from(ctx)
	page, err := listPage(ctx, &l.followers, store.Followers, p.ID, first, after)
	if err != nil {
		return nil, err
	}
	return l.connectProfiles(ctx, page, after != nil)
}

func (profiles) Following(
	ctx context.Context, p *models.Profile, first *int, after *string,
) (*models.ProfileConnection, error) {
	l := from(ctx)
	page, err := listPage(ctx, &l.following, store.Following, p.ID, first, after)
	if err != nil {
		return nil, err
	}
	return l.connectProfiles(ctx, page, after != nil)
}

func (viewers) Profile(ctx context.Context, v *models.Viewer) (*models.Profile, error) {
	return from(ctx).profile.load(ctx, v.ID)
}

func (viewers) Settings(ctx context.Context, v *models.Viewer) (*models.Settings, error) {
	return from(ctx).settings.load(ctx, v.ID)
}

func (viewers) Sessions(ctx context.Context, v *models.Viewer) ([]*models.Session, error) {
	shared, err := from(ctx).sessions.load(ctx, v.ID)
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
