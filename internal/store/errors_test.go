package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"freshet/cache"
	"freshet/models"
)

func TestRead_DatabaseAway(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	s, err := New(Options{
		DB:     openPool(t, fmt.Sprintf("postgres://nobody@%s/none?sslmode=disable", closed.Addr())),
		Cache:  newRig(t).cache,
		Policy: schemaPolicy(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"session": func() error { _, _, err := s.Session.One(cache.Strict(t.Context()), TokenHash{1}); return err },
		"profile": func() error { _, _, err := s.Profiles.One(t.Context(), 1); return err },
		"write":   func() error { return s.Follow(t.Context(), 1, 2) },
	} {
		var app *models.Error
		if err := read(); !errors.As(err, &app) || app.Code != models.CodeUnavailable {
			t.Errorf("%s: got %v, want an error of code %s", name, err, models.CodeUnavailable)
		}
	}
}

func TestAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&pgconn.PgError{Code: "57P01"}, true},  // admin_shutdown
		{&pgconn.PgError{Code: "53300"}, true},  // too_many_connections
		{&pgconn.PgError{Code: "53100"}, true},  // disk_full
		{&pgconn.PgError{Code: "25006"}, true},  // read_only_sql_transaction
		{&pgconn.PgError{Code: "57014"}, false}, // query_canceled
		{&pgconn.PgError{Code: uniqueViolation}, false},
		{io.ErrUnexpectedEOF, true},
		{pgconn.ErrConnClosed, true},
		{&net.OpError{Op: "read", Err: context.DeadlineExceeded}, false},
		{context.Canceled, false},
		{errors.New("sql: expected 3 destination arguments in Scan, not 2"), false},
	} {
		if got := away(fmt.Errorf("read: %w", c.err)); got != c.want {
			t.Errorf("%v: got away %t, want %t", c.err, got, c.want)
		}
	}
}
