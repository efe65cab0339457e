package ledger

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"freshet/internal/store"
	"freshet/internal/testenv"
	"freshet/models"
)

// statements notes what a database is asked.
type statements struct {
	mu  sync.Mutex
	all []string
}

func (s *statements) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (s *statements) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, e.Query)
}

// A balance and an order are found by indexes, among those of many, and what a key has ordered is too.
func TestPlans_OfMoney(t *testing.T) {
	t.Parallel()
	plain, err := store.Open(testenv.Database(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, fill := range []string{
		`INSERT INTO profiles (id, handle, name) SELECT n, 'p0' || n, '' FROM generate_series(1, 3000) n`,
		`INSERT INTO wallets (profile_id, balance) SELECT n, 100 FROM generate_series(1, 3000) n`,
		`INSERT INTO orders (id, profile_id, total, currency, idempotency_key, request)
			SELECT n, 1 + n % 3000, 1, 'EUR', 'key ' || n, '' FROM generate_series(1, 9000) n`,
		`INSERT INTO order_lines (order_id, line, name, quantity, price) SELECT n, line, '', 1, 1 FROM generate_series(1, 9000) n, generate_series(1, 2) line`,
		`ANALYZE`,
	} {
		if _, err := plain.ExecContext(t.Context(), fill); err != nil {
			t.Fatalf("%s: %v", fill, err)
		}
	}
	seen := &statements{}
	l := New(plain.WithQueryHook(seen))
	wallet, err := l.Wallet(t.Context(), 77)
	if err != nil || wallet.Balance.String() != "100" {
		t.Errorf("wallet: got %+v, %v, want 100", wallet, err)
	}
	order, err := l.Order(t.Context(), 77, 76)
	if err != nil || order == nil || len(order.Lines) != 2 {
		t.Fatalf("order: got %+v, %v, want one with two lines", order, err)
	}
	if again, err := readOrder(t.Context(), l.db, "o.profile_id = ? AND o.idempotency_key = ?", models.ID(77), "key 76"); err != nil || again == nil {
		t.Errorf("order by its key: got %v, %v", again, err)
	}
	if len(seen.all) != 5 {
		t.Errorf("statements: got %q, want 5: a wallet, and an order and its lines twice", seen.all)
	}
	explain := func(statement string, with bool) (plan string) {
		tx, err := plain.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		_, err = tx.ExecContext(t.Context(), fmt.Sprintf("SET LOCAL enable_indexscan = %t; SET LOCAL enable_bitmapscan = %[1]t", with))
		if err == nil {
			err = tx.QueryRowContext(t.Context(), "EXPLAIN (FORMAT JSON) "+statement).Scan(&plan)
		}
		if err != nil {
			t.Fatalf("explain %s: %v", statement, err)
		}
		return plan
	}
	for _, statement := range seen.all {
		if plan := explain(statement, true); strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s: got a plan that reads a table from end to end: %s", statement, plan)
		}
		if plan := explain(statement, false); !strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s: got no complaint without indexes, want one: the check is blind", statement)
		}
	}
}
