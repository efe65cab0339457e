package resolvers

import (
	"context"
	"strings"
	"time"

	"freshet/internal/external"
	"freshet/models"
)

func (queries) ExchangeRates(ctx context.Context, base string) (*models.ExchangeRates, error) {
	table, err := from(ctx).rates.load(ctx, external.RatesKey)
	if err != nil {
		return nil, err
	}
	base = strings.ToUpper(base)
	rates, ok := table.Based(base)
	if !ok {
		return nil, models.BadArgument("base", "must be the ISO 4217 code of a currency that the European Central Bank has rates of")
	}
	out := &models.ExchangeRates{
		Base: base, Day: table.Day.Format(time.DateOnly), Source: "European Central Bank", Rates: make([]*models.ExchangeRate, len(rates)),
	}
	for i, r := range rates {
		out.Rates[i] = &models.ExchangeRate{Currency: r.Currency, Rate: r.Value}
	}
	return out, nil
}

func (queries) Geocode(ctx context.Context, query string, first *int) ([]*models.Place, error) {
	key, err := external.NewPlaceKey(query, first)
	if err != nil {
		return nil, err
	}
	places, err := from(ctx).places.load(ctx, key)
	if err == nil && places == nil {
		places = []*models.Place{} // nothing found is an answer
	}
	return places, err
}
