package resolvers

import (
	"context"
	"sync"

	"freshet/internal/auth"
	"freshet/internal/store"
	"freshet/models"
)

func (queries) Products(
	ctx context.Context, category, search *string, first *int, after *string,
) (*models.ProductConnection, error) {
	key, err := store.NewProductsKey(category, search, first, after)
	if err != nil {
		return nil, err
	}
	l := from(ctx)
	page, err := l.products.load(ctx, key)
	if err != nil {
		return nil, err
	}
	return connect(ctx, page, &l.product, func(context.Context, *store.Page, *sync.WaitGroup) {}, after != nil)
}

func (queries) Product(ctx context.Context, id models.ID) (*models.Product, error) {
	return from(ctx).product.load(ctx, id)
}

func (queries) Categories(ctx context.Context) (*models.Dictionary, error) {
	return dictionary(ctx, models.DictionaryNameProductCategories)
}

func (queries) Dictionary(ctx context.Context, name models.DictionaryName) (*models.Dictionary, error) {
	return dictionary(ctx, name)
}

// dictionary follows the small kind that says which version is current to the version's own entry.
func dictionary(ctx context.Context, name models.DictionaryName) (*models.Dictionary, error) {
	version, err := from(ctx).currentDictionary.load(ctx, name)
	if err != nil || version == 0 {
		return nil, err
	}
	return from(ctx).dictionary.load(ctx, store.DictionaryKey{Name: name, Version: version})
}

func (queries) TopPosts(ctx context.Context, period models.Period, categories []string) ([]*models.Post, error) {
	key, err := store.NewTopKey(period, categories)
	if err != nil {
		return nil, err
	}
	return top(ctx, &from(ctx).topPosts, &from(ctx).post, key)
}

func (queries) TopProfiles(ctx context.Context, period models.Period) ([]*models.Profile, error) {
	return top(ctx, &from(ctx).topProfiles, &from(ctx).profile, store.TopKey{Period: period})
}

// top loads what a list names. What was deleted after the list was cached is left out.
func top[T any](
	ctx context.Context, lists *loader[store.TopKey, []models.ID], nodes *loader[models.ID, *T], key store.TopKey,
) ([]*T, error) {
	ids, err := lists.load(ctx, key)
	if err != nil {
		return nil, err
	}
	found, err := nodes.loadAll(ctx, ids)
	list := make([]*T, 0, len(ids))
	for _, id := range ids {
		if node := found[id]; node != nil {
			list = append(list, node)
		}
	}
	return list, err
}

func (queries) Statistics(ctx context.Context) (*models.Statistics, error) {
	return from(ctx).statistics.load(ctx, store.Everything{})
}

func (r queries) Account(ctx context.Context) (*models.Wallet, error) {
	return r.ledger.Wallet(ctx, auth.Viewer(ctx).ID)
}

func (r queries) Order(ctx context.Context, id models.ID) (*models.Order, error) {
	return r.ledger.Order(ctx, auth.Viewer(ctx).ID, id)
}

func (r mutations) CreateProduct(ctx context.Context, input models.CreateProductInput) (*models.CreateProductPayload, error) {
	var id models.ID
	errs, err := attempt(input, func(in models.CreateProductInput) (err error) {
		id, err = r.store.CreateProduct(ctx, in)
		return err
	})
	out := &models.CreateProductPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Product, err = from(ctx).product.load(ctx, id)
	}
	return out, err
}

func (r mutations) UpdateProduct(ctx context.Context, input models.UpdateProductInput) (*models.UpdateProductPayload, error) {
	errs, err := attempt(input, func(in models.UpdateProductInput) error { return r.store.UpdateProduct(ctx, in) })
	out := &models.UpdateProductPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Product, err = from(ctx).product.load(ctx, input.ProductID)
	}
	return out, err
}

func (r mutations) DeleteProduct(ctx context.Context, input models.DeleteProductInput) (*models.DeleteProductPayload, error) {
	errs, err := refused(r.store.DeleteProduct(ctx, input.ProductID))
	out := &models.DeleteProductPayload{UserErrors: errs}
	if changed(errs, err) {
		out.DeletedProductID = &input.ProductID
	}
	return out, err
}

func (r mutations) SaveDictionaryEntry(
	ctx context.Context, input models.SaveDictionaryEntryInput,
) (*models.SaveDictionaryEntryPayload, error) {
	errs, err := attempt(input, func(in models.SaveDictionaryEntryInput) error { return r.store.SaveDictionaryEntry(ctx, in) })
	out := &models.SaveDictionaryEntryPayload{UserErrors: errs}
	if changed(errs, err) {
		out.Dictionary, err = dictionary(ctx, input.Dictionary)
	}
	return out, err
}

func (r mutations) PlaceOrder(ctx context.Context, input models.PlaceOrderInput) (*models.PlaceOrderPayload, error) {
	var out models.PlaceOrderPayload
	var err error
	out.UserErrors, err = attempt(input, func(in models.PlaceOrderInput) (err error) {
		out.Order, err = r.ledger.Place(ctx, auth.Viewer(ctx).ID, in)
		return err
	})
	return &out, err
}
