package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"freshet/models"
)

// SQLSTATE of broken constraints.
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503"
)

// broken tells whether err is the violation of a constraint.
func broken(err error, sqlState, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == sqlState && pg.ConstraintName == constraint
}

// refuseForeign turns a reference to what is not there into a refusal of the argument at path.
func refuseForeign(err error, constraint, message string, path ...string) error {
	if broken(err, foreignKeyViolation, constraint) {
		return models.Refuse(models.UserErrorCodeNotFound, message, path...)
	}
	return err
}

// setter collects the columns of an UPDATE.
type setter struct {
	q   *bun.UpdateQuery
	any bool
}

func (s *setter) set(column string, value any) {
	s.q.Set("? = ?", bun.Ident(column), value)
	s.any = true
}

// update runs an UPDATE that changes anything.
func (s *Store) update(ctx context.Context, changes *setter) error {
	if !changes.any {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := changes.q.Conn(tx).Exec(ctx)
		return err
	})
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
