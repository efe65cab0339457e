package command

import (
	"fmt"
	"testing"

	"freshet/models"
)

func TestCatalog_OverTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.start(), w.start()
	plain, id := a.person("ann")
	w.exec(`UPDATE accounts SET scopes = '{admin}' WHERE profile_id = ?`, id)
	admin, _, err := a.instance.auth.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	const create = `mutation($price: Decimal!, $category: String!) { createProduct(input: {name: "Red Kite", category: $category, price: $price}) {
		product { id price currency } userErrors { code path } } }`
	toys := map[string]any{"price": "12.50", "category": "toys"}
	if got := a.ask(plain, create, toys, nil); len(got.Errors) != 1 || got.Errors[0].Extensions["code"] != "FORBIDDEN" {
		t.Errorf("by one without the scope: got %s %+v, want FORBIDDEN", got.Data, got.Errors)
	}
	const list = `query($c: String, $s: String) { products(category: $c, search: $s) { nodes { name price } pageInfo { hasNextPage } } }`
	of := func(c, s any) map[string]any { return map[string]any{"c": c, "s": s} }
	b.wantAt("", "products.nodes", "[]", list, of("toys", nil))
	b.wantAt("", "products.nodes", "[]", list, of(nil, "kite"))
	a.wantAt(admin, "createProduct.product", "map[currency:EUR id:1 price:12.50]", create, toys)
	for _, given := range []map[string]any{of("toys", nil), of(nil, "kite"), of(nil, nil), of("toys", "RED")} {
		b.wantAt("", "products.nodes", "[map[name:Red Kite price:12.50]]", list, given)
	}
	b.wantAt("", "products.nodes", "[]", list, of("books", nil))
	a.wantAt(admin, "updateProduct.product.price", "9.90",
		`mutation { updateProduct(input: {productId: "1", price: "9.9"}) { product { price } } }`, nil)
	b.wantAt("", "products.nodes", "[map[name:Red Kite price:9.90]]", list, of("toys", nil))
	for path, given := range map[string]map[string]any{
		"NOT_FOUND path:[input category]": {"price": "1", "category": "gossip"},
		"INVALID path:[input price]":      {"price": "1.005", "category": "toys"},
	} {
		a.wantAt(admin, "createProduct.userErrors", fmt.Sprintf("[map[code:%s]]", path), create, given)
	}
	a.wantAt(admin, "deleteProduct.deletedProductId", "1", `mutation { deleteProduct(input: {productId: "1"}) { deletedProductId } }`, nil)
	b.wantAt("", "products.nodes", "[]", list, of("toys", nil))
	a.wantAt(admin, "deleteProduct.userErrors", "[map[code:NOT_FOUND]]",
		`mutation { deleteProduct(input: {productId: "1"}) { userErrors { code } } }`, nil)
}

func TestDictionary_OverTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	const read = `{ categories { name version entries { code name } } }`
	a.wantAt("", "categories.version", 1, read, nil)
	a.wantAt("", "categories.version", 1, read, nil)
	w.exec("DELETE FROM product_categories WHERE slug <> 'toys'; UPDATE product_categories SET name = 'Games'")
	if err := a.instance.node.Committed(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.wantAt("", "categories", "map[entries:[map[code:toys name:Games]] name:PRODUCT_CATEGORIES version:3]", read, nil)
	a.wantAt("", "dictionary.version", 1, `{ dictionary(name: LANGUAGES) { version } }`, nil)
}

func TestTop_IsForStrangersToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	ann, _ := a.person("ann")
	a.publish(ann, "One")
	const read = `{ topPosts(period: DAY, categories: ["science", "food", "science"]) { title author { handle } } topProfiles { handle } statistics { posts } }`
	for range 2 {
		got := a.send("", fmt.Sprintf(`{"query": %q}`, read))
		want := `{"data":{"topPosts":[{"title":"One","author":{"handle":"ann"}}],"topProfiles":[{"handle":"ann"}],"statistics":{"posts":1}}}`
		if got.body != want {
			t.Errorf("got %s, want %s", got.body, want)
		}
	}
}
