package ledger

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/shopspring/decimal"

	"freshet/internal/store"
	"freshet/internal/testenv"
	"freshet/models"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type rig struct {
	*Ledger
	t *testing.T
}

// newRig has two viewers, the first with 100.00, and two products in EUR, one in USD.
func newRig(t *testing.T) rig {
	t.Helper()
	db, err := store.Open(testenv.Database(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := rig{New(db), t}
	r.exec(`INSERT INTO profiles (id, handle, name) VALUES (1, 'ann', 'Ann'), (2, 'bob', 'Bob');
		INSERT INTO wallets (profile_id, balance) VALUES (1, 100);
		INSERT INTO products (id, name, category, price, currency) VALUES
			(1, 'Kite', 'toys', 12.50, 'EUR'), (2, 'Atlas', 'books', 40, 'EUR'), (3, 'Ball', 'toys', 1, 'USD')`)
	return r
}

func (r rig) exec(query string) {
	r.t.Helper()
	if _, err := r.db.ExecContext(r.t.Context(), query); err != nil {
		r.t.Fatal(err)
	}
}

// state is all that an order can change.
func (r rig) state() string {
	r.t.Helper()
	var text string
	err := r.db.NewRaw(`SELECT concat_ws(' ', (SELECT string_agg(profile_id || ':' || balance, ',' ORDER BY profile_id) FROM wallets),
		(SELECT count(*) FROM orders), (SELECT count(*) FROM order_lines))`).Scan(r.t.Context(), &text)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

func line(product models.ID, quantity int, price string) *models.OrderLineInput {
	return &models.OrderLineInput{ProductID: product, Quantity: quantity, Price: decimal.RequireFromString(price)}
}

func order(key string, lines ...*models.OrderLineInput) models.PlaceOrderInput {
	return models.PlaceOrderInput{IdempotencyKey: key, Lines: lines}
}

func TestPlace_TakesTheTotal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	placed, err := r.Place(t.Context(), 1, order("k", line(2, 1, "40.0"), line(1, 2, "12.5")))
	if err != nil {
		t.Fatal(err)
	}
	if got := placed.Total.StringFixed(2); got != "65.00" || placed.Status != models.OrderStatusPlaced || placed.PlacedAt.IsZero() {
		t.Errorf("order: got %s, %s, %v, want 65.00 PLACED now", got, placed.Status, placed.PlacedAt)
	}
	read, err := r.Order(t.Context(), 1, placed.ID)
	if err != nil || len(read.Lines) != 2 || read.Lines[0].Name != "Atlas" || read.Lines[1].Quantity != 2 {
		t.Errorf("order read: got %+v, %v, want Atlas and two kites", read, err)
	}
	if got := r.state(); got != "1:35.00 1 2" {
		t.Errorf("state: got %s, want 1:35.00 1 2", got)
	}
	r.exec("DELETE FROM products WHERE id = 1")
	if read, err := r.Order(t.Context(), 1, placed.ID); err != nil || read.Lines[1].ProductID != nil || read.Lines[1].Name != "Kite" {
		t.Errorf("order of a product that is gone: got %+v, %v, want its line without the product", read, err)
	}
}

func TestOrder_OthersAreAbsent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	placed, err := r.Place(t.Context(), 1, order("k", line(1, 1, "12.50")))
	if err != nil {
		t.Fatal(err)
	}
	for viewer, id := range map[models.ID]models.ID{2: placed.ID, 1: placed.ID + 1} {
		if got, err := r.Order(t.Context(), viewer, id); got != nil || err != nil {
			t.Errorf("order %v of %v: got %+v, %v, want none", id, viewer, got, err)
		}
	}
	if w, err := r.Wallet(t.Context(), 2); err != nil || w.Balance.StringFixed(2) != "0.00" || w.Currency != "EUR" {
		t.Errorf("wallet of one who never had any: got %+v, %v, want 0.00 EUR", w, err)
	}
}

func TestPlace_RefusalsChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.Place(t.Context(), 1, order("used", line(1, 1, "12.50"))); err != nil {
		t.Fatal(err)
	}
	before := r.state()
	for name, c := range map[string]struct {
		viewer models.ID
		in     models.PlaceOrderInput
		code   models.UserErrorCode
		path   string
	}{
		"too dear":         {1, order("a", line(2, 3, "40")), models.UserErrorCodeInsufficientBalance, "input.lines"},
		"no balance":       {2, order("a", line(1, 1, "12.50")), models.UserErrorCodeInsufficientBalance, "input.lines"},
		"unknown product":  {1, order("a", line(1, 1, "12.50"), line(9, 1, "1")), models.UserErrorCodeNotFound, "input.lines.1"},
		"changed price":    {1, order("a", line(1, 1, "12.49")), models.UserErrorCodeConflict, "input.lines.0"},
		"another currency": {1, order("a", line(3, 1, "1")), models.UserErrorCodeInvalid, "input.lines.0"},
		"key of another":   {1, order("used", line(1, 2, "12.50")), models.UserErrorCodeConflict, "input.idempotencyKey"},
	} {
		_, err := r.Place(t.Context(), c.viewer, c.in)
		var refusal models.Refusal
		if !errors.As(err, &refusal) || len(refusal) != 1 || refusal[0].Code != c.code || strings.Join(refusal[0].Path, ".") != c.path {
			t.Errorf("%s: got %v, want a refusal %s of %s", name, err, c.code, c.path)
		}
		if got := r.state(); got != before {
			t.Errorf("%s: got the state %s, want %s as before", name, got, before)
		}
	}
	// A refused order did not use its key up, and a key is one viewer's.
	r.exec("INSERT INTO wallets (profile_id, balance) VALUES (2, 12.50)")
	for viewer, key := range map[models.ID]string{1: "a", 2: "used"} {
		if _, err := r.Place(t.Context(), viewer, order(key, line(1, 1, "12.50"))); err != nil {
			t.Errorf("key %q of %v: got %v, want an order", key, viewer, err)
		}
	}
}

func TestPlace_SameKeyIsOneOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var group sync.WaitGroup
	ids := make([]models.ID, 12)
	for i := range ids {
		price := "12.50"
		if i%2 == 0 {
			price = "12.5" // the same price
		}
		group.Go(func() {
			placed, err := r.Place(t.Context(), 1, order("k", line(1, 1, price)))
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = placed.ID
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("orders of one key: got %v, want one", ids)
		}
	}
	if got := r.state(); got != "1:87.50 1 1" {
		t.Errorf("state: got %s, want 1:87.50 1 1", got)
	}
}

func TestPlace_NeverSpendsTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var group sync.WaitGroup
	for i := range 12 {
		lines := []*models.OrderLineInput{line(1, 1, "12.50"), line(2, 1, "40")}
		if i%2 == 0 {
			lines[0], lines[1] = lines[1], lines[0]
		}
		group.Go(func() {
			if _, err := r.Place(t.Context(), 1, order(string(rune('a'+i)), lines...)); err != nil && !errors.As(err, new(models.Refusal)) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := r.state(); got != "1:47.50 1 2" {
		t.Errorf("state: got %s, want one order, 1:47.50 1 2", got)
	}
}

// An order that PostgreSQL gave up for another's sake is tried again.
func TestPlace_TriesAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`CREATE SEQUENCE tries;
		CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('tries') < 3 THEN RAISE EXCEPTION USING ERRCODE = '40001'; END IF; RETURN NEW;
		END $$;
		CREATE TRIGGER give_up BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION give_up()`)
	if _, err := r.Place(t.Context(), 1, order("k", line(1, 1, "12.50"))); err != nil {
		t.Errorf("third try: got %v, want an order", err)
	}
	r.exec("ALTER SEQUENCE tries RESTART; ALTER SEQUENCE tries MINVALUE -9 RESTART WITH -9")
	if _, err := r.Place(t.Context(), 1, order("l", line(1, 1, "12.50"))); err == nil {
		t.Error("three tries in vain: got no error, want one")
	}
	if got := r.state(); got != "1:87.50 1 1" {
		t.Errorf("state: got %s, want 1:87.50 1 1", got)
	}
}
