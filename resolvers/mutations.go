package resolvers

import (
	"context"

	"freshet/internal/auth"
	"freshet/models"
)

// Each mutation checks its input, writes, and reads back through the loaders what it answers with: the store's writes
// return when no cache can answer with what they replaced.

// attempt checks an input and does what it asks for. Reasons to refuse come back for the payload.
func attempt[I interface{ Check() (I, error) }](input I, do func(I) error) ([]*models.UserError, error) {
	input, err := input.Check()
	if err == nil {
		err = do(input)
	}
	return refused(err)
}

// changed tells whether a mutation went through.
func changed(errs []*models.UserError, err error) bool { return err == nil && len(errs) == 0 }

func (r mutations) SignUp(ctx context.Context, input models.SignUpInput) (*models.SignUpPayload, error) {
	var out models.SignUpPayload
	var err error
	out.UserErrors, err = attempt(input, func(in models.SignUpInput) error {
		token, viewer, err := r.auth.SignUp(ctx, in)
		if err == nil {
			out.Token, out.Viewer = &token, viewer
		}
		return err
	})
	return &out, err
}

func (r mutations) SignIn(ctx context.Context, input models.SignInInput) (*models.SignInPayload, error) {
	var out models.SignInPayload
	var err error
	out.UserErrors, err = attempt(input, func(in models.SignInInput) error {
		token, viewer, err := r.auth.SignIn(ctx, in)
		if err == nil {
			out.Token, out.Viewer = &token, viewer
		}
		return err
	})
	return &out, err
}

func (r mutations) SignOut(ctx context.Context) (*models.SignOutPayload, error) {
	v := auth.Viewer(ctx)
	if v.SessionID == 0 {
		return nil, &models.Error{
			Code: models.CodeBadUserInput, Message: "the token is an identity provider's: sign out there",
		}
	}
	// Refused only if it ended in another request meanwhile: it has ended either way.
	_, err := refused(r.store.EndSession(ctx, v.ID, v.SessionID))
	return &models.SignOutPayload{EndedSessionID: v.SessionID}, err
}

func (r mutations) RevokeSession(
	ctx context.Context, input models.RevokeSessionInput,
) (*models.RevokeSessionPayload, error) {
	errs, err := refused(r.store.EndSession(ctx, auth.Viewer(ctx).ID, input.SessionID))
	out := &models.RevokeSessionPayload{UserErrors: errs}
	if changed(errs, err) {
		out.EndedSessionID = &input.SessionID
	}
	return out, err
}

func (r mutations) UpdateProfile(
	ctx context.Context, input models.UpdateProfileInput,
) (*models.UpdateProfilePayload, error) {
	id := auth.Viewer(ctx).ID
	errs, err := attempt(input, func(in models.UpdateProfileInput) error { return r.store.UpdateProfile(ctx, id, in) })
	out := &models.UpdateProfilePayload{UserErrors: errs}
	if changed(errs, err) {
		out.Profile, err = from(ctx).profile.load(ctx, id)
	}
	return out, err
}

func (r mutations) UpdateSettings(
	ctx context.Context, input models.UpdateSettingsInput,
) (*models.UpdateSettingsPayload, error) {
	id := auth.Viewer(ctx).ID
	errs, err := attempt(input, func(in models.UpdateSettingsInput) error { return r.store.UpdateSettings(ctx, id, in) })
	out := &models.UpdateSettingsPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Settings, err = from(ctx).settings.load(ctx, id)
	}
	return out, err
}

func (r mutations) PublishPost(ctx context.Context, input models.PublishPostInput) (*models.PublishPostPayload, error) {
	var id models.ID
	errs, err := attempt(input, func(in models.PublishPostInput) (err error) {
		id, err = r.store.PublishPost(ctx, auth.Viewer(ctx).ID, in)
		return err
	})
	out := &models.PublishPostPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Post, err = from(ctx).post.load(ctx, id)
	}
	return out, err
}

func (r mutations) EditPost(ctx context.Context, input models.EditPostInput) (*models.EditPostPayload, error) {
	errs, err := attempt(input, func(in models.EditPostInput) error {
		return r.store.EditPost(ctx, auth.Viewer(ctx).ID, in)
	})
	out := &models.EditPostPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Post, err = from(ctx).post.load(ctx, input.PostID)
	}
	return out, err
}

func (r mutations) DeletePost(ctx context.Context, input models.DeletePostInput) (*models.DeletePostPayload, error) {
	errs, err := refused(r.store.DeletePost(ctx, auth.Viewer(ctx).ID, input.PostID))
	out := &models.DeletePostPayload{UserErrors: errs}
	if changed(errs, err) {
		out.DeletedPostID = &input.PostID
	}
	return out, err
}

func (r mutations) Follow(ctx context.Context, input models.FollowInput) (*models.FollowPayload, error) {
	errs, err := refused(r.store.Follow(ctx, auth.Viewer(ctx).ID, input.ProfileID))
	out := &models.FollowPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Profile, err = from(ctx).profile.load(ctx, input.ProfileID)
	}
	return out, err
}

func (r mutations) Unfollow(ctx context.Context, input models.UnfollowInput) (*models.UnfollowPayload, error) {
	errs, err := refused(r.store.Unfollow(ctx, auth.Viewer(ctx).ID, input.ProfileID))
	out := &models.UnfollowPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Profile, err = from(ctx).profile.load(ctx, input.ProfileID)
	}
	return out, err
}

func (r mutations) Like(ctx context.Context, input models.LikeInput) (*models.LikePayload, error) {
	errs, err := refused(r.store.Like(ctx, auth.Viewer(ctx).ID, input.PostID))
	out := &models.LikePayload{UserErrors: errs}
	if changed(errs, err) {
		out.Post, err = from(ctx).post.load(ctx, input.PostID)
	}
	return out, err
}

func (r mutations) Unlike(ctx context.Context, input models.UnlikeInput) (*models.UnlikePayload, error) {
	errs, err := refused(r.store.Unlike(ctx, auth.Viewer(ctx).ID, input.PostID))
	out := &models.UnlikePayload{UserErrors: errs}
	if changed(errs, err) {
		out.Post, err = from(ctx).post.load(ctx, input.PostID)
	}
	return out, err
}

func (r mutations) PublishConfig(
	ctx context.Context, input models.PublishConfigInput,
) (*models.PublishConfigPayload, error) {
	errs, err := attempt(input, func(in models.PublishConfigInput) error {
		return r.store.PublishConfig(ctx, auth.Viewer(ctx).ID, in)
	})
	out := &models.PublishConfigPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Config, err = r.config(ctx, input.Platform)
	}
	return out, err
}
