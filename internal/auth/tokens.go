package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"freshet/internal/jwt"
	"freshet/internal/store"
	"freshet/models"
)

// Provider says how tokens of an identity provider sign people in.
type Provider struct {
	// Tokens verifies them.
	Tokens *jwt.Verifier
	// Scopes that a token's scope claim can give. Default: none, whatever it claims.
	Scopes []string
	// NewProfiles makes a profile for a subject that has none yet. Otherwise such a token is refused: identities are then
	// added to the table of that name.
	NewProfiles bool
}

// holder is the viewer that a provider's token is of. Its identity is read through the cache, so that one that is blocked
// or deleted lets nobody in from that moment on, however long the token is valid.
func (a *Auth) holder(ctx context.Context, token string) (*models.Viewer, error) {
	claims, err := a.provider.Tokens.Verify(ctx, token)
	switch {
	case errors.Is(err, jwt.ErrUnavailable):
		return nil, &models.Error{Code: models.CodeUnavailable, Message: "The identity provider can't be reached, try again.", Err: err}
	case err != nil:
		return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "The token is not valid, or not any more.", Err: err}
	}
	key := store.IdentityKey{Issuer: a.provider.Tokens.Issuer, Subject: claims.Subject}
	identity, found, err := a.store.Identities.One(ctx, key)
	if err != nil {
		return nil, err
	}
	if !found && a.provider.NewProfiles {
		identity, err = a.store.NewIdentity(ctx, key, newProfile(claims))
		if err != nil {
			return nil, err
		}
		found = identity != nil
	}
	if !found || identity.Blocked {
		return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "The token's holder has no profile here."}
	}
	v := &models.Viewer{ID: identity.ProfileID}
	for _, scope := range claims.Scopes {
		if slices.Contains(a.provider.Scopes, scope) && !slices.Contains(v.Scopes, scope) {
			v.Scopes = append(v.Scopes, scope)
		}
	}
	return v, nil
}

// newProfile has a handle that nobody has chosen, which its owner can change.
func newProfile(claims *jwt.Claims) *models.Profile {
	const longest = 50
	handle := "user_" + strings.ToLower(rand.Text()[:16])
	name := []rune(strings.Join(strings.Fields(strings.ReplaceAll(claims.Name, "\x00", " ")), " "))
	if len(name) == 0 {
		name = []rune(handle)
	}
	return &models.Profile{Handle: handle, Name: string(name[:min(len(name), longest)])}
}
