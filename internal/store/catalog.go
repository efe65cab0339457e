package store

import (
	"cmp"
	"context"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// ProductsKey is a page of products. Category and Search are "" for all.
type ProductsKey struct {
	Category, Search string
	First            int
	After            Cursor
}

// NewProductsKey makes a key of what a client asked for, and refuses what it may not ask for.
func NewProductsKey(category, search *string, first *int, after *string) (key ProductsKey, err error) {
	if key.First, err = pageSize(first); err != nil {
		return key, err
	}
	if category != nil {
		if key.Category, err = wordSet("category", []string{*category}); err != nil {
			return key, err
		}
	}
	if search != nil {
		const most = 100
		if utf8.RuneCountInString(*search) > most || !utf8.ValidString(*search) || strings.ContainsRune(*search, 0) {
			return key, models.BadArgument("search", "may have %d characters of Unicode without U+0000", most)
		}
		key.Search = strings.ToLower(strings.Join(strings.Fields(*search), " "))
	}
	if after != nil {
		key.After, err = decodeCursor(*after, key.fingerprint(), false)
	}
	return key, err
}

func (k ProductsKey) list() string {
	list := cmp.Or(k.Category, "-")
	if k.Search != "" {
		list += ":search=" + url.QueryEscape(k.Search)
	}
	return list
}

func (k ProductsKey) fingerprint() uint32 { return fingerprintOf(kindProducts + ":" + k.list()) }

func (k ProductsKey) key() string {
	return k.list() + ":first=" + strconv.Itoa(k.First) + k.After.variant(k.fingerprint())
}

func (s *Store) catalogKinds(p map[string]policy.Effective) {
	s.Products = cache.NewKind(s.cache, cache.KindOptions[models.ID, *models.Product]{
		Name: kindProduct, TTL: p[kindProduct].TTL, Key: models.ID.String, Load: s.loadProducts,
		Tags: func(id models.ID, _ *models.Product, _ bool) []string {
			return tags(p[kindProduct], "$key.id", id.String())
		},
	})
	s.ProductPages = cache.NewKind(s.cache, cache.KindOptions[ProductsKey, *Page]{
		Name: kindProducts, TTL: p[kindProducts].TTL, Key: ProductsKey.key, Load: s.loadProductPages,
		Tags: func(key ProductsKey, _ *Page, _ bool) []string {
			return tags(p[kindProducts], "$args.category", cmp.Or(key.Category, "-"))
		},
	})
}

func (s *Store) loadProducts(ctx context.Context, ids []models.ID) (_ map[models.ID]*models.Product, err error) {
	defer failed(&err, "products %v", ids)
	var rows []*models.Product
	if err := s.db.NewSelect().Model(&rows).Where("product.id IN ?", bun.Tuple(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	return byKey(rows, func(p *models.Product) models.ID { return p.ID }), nil
}

// loadProductPages reads the pages in one statement.
func (s *Store) loadProductPages(ctx context.Context, keys []ProductsKey) (_ map[ProductsKey]*Page, err error) {
	defer failed(&err, "%d pages of products", len(keys))
	queries := make([]*bun.SelectQuery, len(keys))
	for i, key := range keys {
		q := s.db.NewSelect().Table("products").ColumnExpr("? AS n, id, added_at AS at", i).
			OrderExpr("added_at DESC, id DESC").Limit(int64(key.First) + 1)
		if key.Category != "" {
			q.Where("category = ?", key.Category)
		}
		if key.Search != "" {
			q.Where("words @@ websearch_to_tsquery('simple', ?)", key.Search)
		}
		behind(q, key.After.Spot, "added_at", "id")
		queries[i] = q
	}
	var rows []spotRow
	if err := s.unionAll(queries).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	pages := make(map[ProductsKey]*Page, len(keys))
	for i, key := range keys {
		pages[key] = newPage(rows, i, key.First, func(r spotRow) int64 { return r.At.UnixMicro() })
		pages[key].List = key.fingerprint()
	}
	return pages, nil
}

// CreateProduct adds a product and returns its id.
func (s *Store) CreateProduct(ctx context.Context, in models.CreateProductInput) (id models.ID, err error) {
	defer failed(&err, "create product")
	product := &models.Product{
		Name: in.Name, Description: in.Description, Category: in.Category, Price: in.Price, Currency: in.Currency,
	}
	err = s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(product).Returning("id").Exec(ctx)
		return refuseProductCategory(err)
	})
	return product.ID, err
}

// UpdateProduct changes what in says of a product.
func (s *Store) UpdateProduct(ctx context.Context, in models.UpdateProductInput) (err error) {
	defer failed(&err, "update product %v", in.ProductID)
	q := s.db.NewUpdate().Table("products").Set("id = id").Where("id = ?", in.ProductID)
	changes := setter{q: q}
	for column, value := range map[string]*string{
		"name": in.Name.Value(), "description": in.Description.Value(), "category": in.Category.Value(),
		"currency": in.Currency.Value(),
	} {
		if value != nil {
			changes.set(column, *value)
		}
	}
	if price := in.Price.Value(); price != nil {
		changes.set("price", *price)
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		result, err := q.Conn(tx).Exec(ctx)
		if err != nil {
			return refuseProductCategory(err)
		}
		return refuseNone(result, "There is no such product.", "input", "productId")
	})
}

// DeleteProduct removes a product. Orders of it stay.
func (s *Store) DeleteProduct(ctx context.Context, id models.ID) (err error) {
	defer failed(&err, "delete product %v", id)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.ExecContext(ctx, "DELETE FROM products WHERE id = ?", id)
		if err != nil {
			return err
		}
		return refuseNone(result, "There is no such product.", "input", "productId")
	})
}

func refuseProductCategory(err error) error {
	return refuseForeign(err, "products_category_fkey", "There is no such category.", "input", "category")
}
