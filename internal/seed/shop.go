package seed

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// goods are what there is of each category of products, with a price in cents that others are near.
var goods = []struct {
	category string
	cents    int
	things   []string
}{
	{"audio", 8900, []string{"Headphones", "Speaker", "Record Player", "Microphone", "Radio"}},
	{"books", 1800, []string{"Atlas", "Cookbook", "Field Guide", "Short Stories", "Travel Diary"}},
	{"garden", 2400, []string{"Watering Can", "Spade", "Bird House", "Seed Box", "Plant Pot"}},
	{"home", 4500, []string{"Lamp", "Blanket", "Wall Clock", "Cushion", "Mirror"}},
	{"kitchen", 3200, []string{"Teapot", "Bread Knife", "Frying Pan", "Scales", "Mixing Bowl"}},
	{"outdoor", 12900, []string{"Tent", "Backpack", "Hammock", "Sleeping Bag", "Lantern"}},
	{"stationery", 900, []string{"Notebook", "Fountain Pen", "Pencil Case", "Wall Calendar", "Letter Set"}},
	{"toys", 2100, []string{"Kite", "Wooden Train", "Puzzle", "Spinning Top", "Building Blocks"}},
}

var (
	makes  = []string{"Small", "Large", "Folding", "Classic", "Handmade", "Light", "Sturdy", "Travel", "Family", "Everyday"}
	shades = []string{"Red", "Blue", "Green", "Black", "White", "Yellow", "Grey", "Orange"}
)

// writeShop adds products, balances for those who can sign in, and some orders of the demo account.
func writeShop(ctx context.Context, tx pgx.Tx, w *world) error {
	d := newDice()
	names, about, categories := make([]string, w.products), make([]string, w.products), make([]string, w.products)
	cents, added := make([]int, w.products), make([]int, w.products)
	for i := range w.products {
		d.take(streamProducts, i)
		of := goods[i%len(goods)]
		thing := of.things[d.IntN(len(of.things))]
		kind, shade := makes[d.IntN(len(makes))], shades[d.IntN(len(shades))]
		names[i], categories[i] = fmt.Sprintf("%s %s %s", kind, shade, thing), of.category
		about[i] = fmt.Sprintf("%s, no. %d of our %s range.", thing, i+1, of.category)
		cents[i] = of.cents/2 + d.IntN(of.cents/50)*50 + 49
		added[i] = 60 * (w.products - i) // a minute apart, in seconds before now
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO products (id, name, description, category, price, currency, added_at)
		SELECT n, name, about, category, cents / 100.0, 'EUR', $6::timestamptz - added * interval '1 second'
		FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[]) WITH ORDINALITY
			AS p (name, about, category, cents, added, n)`, names, about, categories, cents, added, w.now)
	if err != nil {
		return fmt.Errorf("products: %w", err)
	}
	for _, statement := range []string{
		fmt.Sprintf("ALTER TABLE products ALTER id RESTART WITH %d", w.products+1),
		"INSERT INTO wallets (profile_id, balance) SELECT profile_id, 500 FROM accounts",
		`INSERT INTO orders (profile_id, status, total, currency, placed_at, idempotency_key, request)
			SELECT w.profile_id, CASE n WHEN 3 THEN 'PLACED' ELSE 'SHIPPED' END, p.price * n, p.currency, p.added_at, 'demo-' || n, ''
			FROM wallets w, generate_series(1, 3) n JOIN products p ON p.id = n WHERE w.profile_id = 1 ORDER BY n`,
		`INSERT INTO order_lines (order_id, line, product_id, name, quantity, price)
			SELECT o.id, 1, p.id, p.name, (o.total / p.price)::int, p.price
			FROM orders o JOIN products p ON o.idempotency_key = 'demo-' || p.id`,
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
