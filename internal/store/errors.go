package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"freshet/models"
)

// SQLSTATE of broken constraints.
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503"
	checkViolation      = "23514"
)

// away tells whether err is of a database that can't be reached, or can't work at present, rather than of a statement. Of a
// caller whose time is up or who has gone it knows nothing.
func away(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// Connections; resources such as connections and disk space; shutdown, crash and start; a standby.
		for _, class := range []string{"08", "53", "57P", "25006"} {
			if strings.HasPrefix(pg.Code, class) {
				return true
			}
		}
		return false
	}
	var connect *pgconn.ConnectError
	var network *net.OpError
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Away turns the error of a database that is away into one that says so to clients, and leaves others as they are.
func Away(err error) error {
	if !away(err) {
		return err
	}
	return &models.Error{Code: models.CodeUnavailable, Message: "the database is away, try again", Err: err}
}

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

// refuseNone refuses the argument at path if a statement has found nothing to change.
func refuseNone(result sql.Result, message string, path ...string) error {
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return models.Refuse(models.UserErrorCodeNotFound, message, path...)
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
