// Package resolvers answers the fields of the schema, each through a dataloader.
//
// A resolver does not know that a cache exists: its loader asks a kind of the store, and the kind decides where the value
// comes from.
package resolvers

import (
	"context"
	"errors"

	"github.com/99designs/gqlgen/graphql"

	"freshet/graph"
	"freshet/internal/auth"
	"freshet/internal/external"
	"freshet/internal/ledger"
	"freshet/internal/store"
	"freshet/models"
)

// Resolver is the root of all resolvers.
type Resolver struct {
	store    *store.Store
	ledger   *ledger.Ledger
	auth     *auth.Auth
	external *external.Sources
}

// New makes the root of all resolvers.
func New(s *store.Store, l *ledger.Ledger, a *auth.Auth, e *external.Sources) *Resolver {
	return &Resolver{store: s, ledger: l, auth: a, external: e}
}

// Schema is the schema with these resolvers behind it.
func (r *Resolver) Schema() graphql.ExecutableSchema {
	return graph.NewExecutableSchema(graph.Config{
		Resolvers:  r,
		Directives: graph.DirectiveRoot{Authenticated: authenticated, RequiresScopes: requiresScopes},
	})
}

// Mutation implements graph.ResolverRoot, as do the methods that follow.
func (r *Resolver) Mutation() graph.MutationResolver { return mutations{r} }

// Post has the fields of Post that its row lacks.
func (r *Resolver) Post() graph.PostResolver { return posts{r} }

// Profile has the fields of Profile that its row lacks.
func (r *Resolver) Profile() graph.ProfileResolver { return profiles{r} }

// Query has the fields of Query.
func (r *Resolver) Query() graph.QueryResolver { return queries{r} }

// Viewer has the fields of Viewer beyond the session.
func (r *Resolver) Viewer() graph.ViewerResolver { return viewers{r} }

type (
	mutations struct{ *Resolver }
	posts     struct{ *Resolver }
	profiles  struct{ *Resolver }
	queries   struct{ *Resolver }
	viewers   struct{ *Resolver }
)

func authenticated(ctx context.Context, _ any, next graphql.Resolver) (any, error) {
	if auth.Viewer(ctx) == nil {
		return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "This field is for those who are signed in."}
	}
	return next(ctx)
}

func requiresScopes(ctx context.Context, _ any, next graphql.Resolver, scopes [][]string) (any, error) {
	// gqlgen asks the last directive first: whoever is not signed in is to hear that.
	return authenticated(ctx, nil, func(ctx context.Context) (any, error) {
		if !auth.Viewer(ctx).May(scopes) {
			return nil, &models.Error{Code: models.CodeForbidden, Message: "This field asks for scopes that the session lacks."}
		}
		return next(ctx)
	})
}

// refused takes a Refusal out of err, for the payload; any other error stays one.
func refused(err error) ([]*models.UserError, error) {
	var refusal models.Refusal
	if errors.As(err, &refusal) {
		return refusal, nil
	}
	return []*models.UserError{}, err
}
