package changelog

import (
	"database/sql"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"freshet/internal/testenv"
	"freshet/migrations"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// openDatabase is a pool on a migrated database of the test's own.
func openDatabase(t testing.TB) *sql.DB {
	t.Helper()
	return openPool(t, testenv.Database(t))
}

func openPool(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url+"&default_query_exec_mode=exec")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(8)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func queryValue[T any](t testing.TB, db *sql.DB, query string, args ...any) (value T) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func migrateUp(t testing.TB, db *sql.DB) {
	t.Helper()
	if _, err := migrations.Up(t.Context(), bun.NewDB(db, pgdialect.New())); err != nil {
		t.Fatal(err)
	}
}
