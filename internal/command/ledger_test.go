package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/internal/testenv"
)

// tapped is what a Redis holds, and all that it was asked to do meanwhile.
type tapped struct {
	t       *testing.T
	client  redis.UniversalClient
	monitor *testenv.Monitor
}

func tap(t *testing.T, a *api, w *world) *tapped {
	t.Helper()
	return &tapped{t, a.instance.redis, testenv.NewMonitor(t, w.redis)}
}

// all is every key with its value, and every command so far.
func (r *tapped) all() string {
	r.t.Helper()
	var b strings.Builder
	keys := r.client.Scan(r.t.Context(), 0, "", 1000).Iterator()
	for keys.Next(r.t.Context()) {
		value, _ := r.client.Get(r.t.Context(), keys.Val()).Result() // what is no string is in the commands
		b.WriteString(keys.Val() + " " + value + "\n")
	}
	if err := keys.Err(); err != nil {
		r.t.Fatal(err)
	}
	return b.String() + strings.Join(r.monitor.Commands(), "\n")
}

const buy = `mutation($key: String!, $lines: [OrderLineInput!]!) { placeOrder(input: {idempotencyKey: $key, lines: $lines}) {
	order { id status total currency lines { productId name quantity price } } userErrors { code path } } }`

// shop is a viewer with money, and a product.
func shop(w *world, a *api) (token string, variables map[string]any) {
	w.t.Helper()
	token, id := a.person("ann")
	w.exec("INSERT INTO wallets (profile_id, balance) VALUES (?, 7654321.09)", id)
	w.exec("INSERT INTO products (id, name, category, price, currency) VALUES (1, 'Distinctive Kite', 'toys', 1234.57, 'EUR')")
	return token, map[string]any{
		"key": "key-of-the-client", "lines": []any{map[string]any{"productId": "1", "quantity": 3, "price": "1234.57"}},
	}
}

// No byte of balances and orders gets into Redis or into a process's memory, alone or beside what is cached.
func TestLedger_IsNeverCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	redis := tap(t, a, w)
	token, variables := shop(w, a)
	order := a.get(token, "placeOrder.order", buy, variables).(map[string]any)
	if order["total"] != "3703.71" || order["status"] != "PLACED" {
		t.Fatalf("order: got %v, want 3703.71 PLACED", order)
	}
	queries := []string{
		`{ account { balance currency } }`,
		`{ order(id: "1") { id total lines { name quantity } } }`,
		`{ product(id: "1") { name price } account { balance } viewer { settings { theme } } order(id: "1") { total lines { price } } statistics { posts } }`,
	}
	for _, query := range queries {
		for range 3 {
			got := a.send("", fmt.Sprintf(`{"query": %q}`, query), "Authorization: Bearer "+token)
			if control := got.header.Get("Cache-Control"); got.status != 200 || !strings.Contains(control, "no-store") {
				t.Errorf("%s: got %d, Cache-Control %q, want no-store", query, got.status, control)
			}
			if strings.Contains(query, "account") && !strings.Contains(got.body, "7650617.38") {
				t.Errorf("%s: got %s, want the balance 7650617.38", query, got.body)
			}
		}
	}
	a.stored(1, "product:*")
	seen := redis.all()
	for _, secret := range []string{"7654321", "7650617", "3703.71", "key-of-the-client", "placeOrder"} {
		if strings.Contains(seen, secret) {
			t.Errorf("Redis: got %q in it, want nothing of balances and orders", secret)
		}
	}
	if !strings.Contains(seen, "Distinctive Kite") {
		t.Error("Redis: got nothing of the product, want its entry: the search looks into values")
	}
	// Nothing tells the caches of these changes: whoever kept anything would answer with it.
	w.exec("UPDATE wallets SET balance = 5.50; UPDATE orders SET status = 'SHIPPED', total = 1")
	a.wantAt(token, "account.balance", "5.50", queries[0], nil)
	a.wantAt(token, "order.total", "1.00", queries[1], nil)
	a.wantAt(token, "account.balance", "5.50", queries[2], nil)
}

func TestLedger_OverTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	token, variables := shop(w, a)
	other, _ := a.person("bob")
	first := a.get(token, "placeOrder.order", buy, variables)
	if again := a.get(token, "placeOrder.order", buy, variables); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("the same request again: got %v, want %v", again, first)
	}
	a.wantAt(token, "account.balance", "7650617.38", `{ account { balance } }`, nil)
	a.wantAt(other, "order", nil, `{ order(id: "1") { total } }`, nil)
	a.wantAt(token, "order", nil, `{ order(id: "999") { total } }`, nil)
	a.wantAt(other, "placeOrder.userErrors", "[map[code:INSUFFICIENT_BALANCE path:[input lines]]]", buy, variables)
	for what, change := range map[string]func(line map[string]any){
		"[map[code:INVALID path:[input lines]]]":     func(line map[string]any) { line["quantity"] = 101 },
		"[map[code:NOT_FOUND path:[input lines 0]]]": func(line map[string]any) { line["productId"] = "9" },
		"[map[code:CONFLICT path:[input lines 0]]]":  func(line map[string]any) { line["price"] = "1" },
	} {
		line := map[string]any{"productId": "1", "quantity": 1, "price": "1234.57"}
		change(line)
		a.wantAt(token, "placeOrder.userErrors", what, buy, map[string]any{"key": "another", "lines": []any{line}})
	}
	for _, query := range []string{`{ account { balance } }`, `{ order(id: "1") { total } }`} {
		if got := a.ask("", query, nil, nil); len(got.Errors) != 1 || got.Errors[0].Extensions["code"] != "UNAUTHENTICATED" {
			t.Errorf("%s by a stranger: got %s %+v, want UNAUTHENTICATED", query, got.Data, got.Errors)
		}
	}
	for _, price := range []any{12.5, "1e2", "1,5"} {
		variables["lines"].([]any)[0].(map[string]any)["price"] = price
		if got := a.ask(token, buy, variables, nil); len(got.Errors) != 1 || got.Errors[0].Extensions["code"] != "BAD_USER_INPUT" {
			t.Errorf("price %v: got %s %+v, want BAD_USER_INPUT", price, got.Data, got.Errors)
		}
	}
	a.wantAt(token, "account.balance", "7650617.38", `{ account { balance } }`, nil)
}

// All that the schema says of money is private and not for keeping.
func TestLedger_SchemaKeepsItOutOfCaches(t *testing.T) {
	t.Parallel()
	schema := newWorld(t).start().instance.schema.Schema()
	for _, name := range []string{"Account", "Order", "OrderLine"} {
		hint := schema.Types[name].Directives.ForName("cacheControl")
		if got := hint.Arguments.ForName("maxAge").Value.Raw + hint.Arguments.ForName("scope").Value.Raw; got != "0PRIVATE" {
			t.Errorf("%s: got %s, want 0 and PRIVATE", name, got)
		}
	}
	fields := slices.Clone(schema.Query.Fields)
	fields = slices.DeleteFunc(fields, func(f *ast.FieldDefinition) bool {
		return !slices.Contains([]string{"Account", "Order"}, f.Type.Name())
	})
	for _, f := range fields {
		if f.Directives.ForName("authenticated") == nil {
			t.Errorf("Query.%s: got no @authenticated, want it", f.Name)
		}
	}
	if len(fields) != 2 {
		t.Errorf("fields of money: got %d, want 2", len(fields))
	}
}
