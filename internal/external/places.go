package external

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"freshet/models"
)

// PlaceKey is what is looked for, and how many places are wanted. NewPlaceKey makes them.
type PlaceKey struct {
	Query string
	First int
}

// String is the key within the kind.
func (k PlaceKey) String() string {
	return url.QueryEscape(k.Query) + ":first=" + strconv.Itoa(k.First)
}

// NewPlaceKey brings a query into the form that shares an entry with others which mean the same: spaces and capitals do
// not matter. The error is for clients.
func NewPlaceKey(query string, first *int) (PlaceKey, error) {
	const longest, most, usual = 200, 20, 5
	key := PlaceKey{Query: strings.ToLower(strings.Join(strings.Fields(query), " ")), First: usual}
	switch n := utf8.RuneCountInString(key.Query); {
	case !utf8.ValidString(query) || strings.ContainsFunc(key.Query, unicode.IsControl):
		return PlaceKey{}, models.BadArgument("query", "must be text without control characters")
	case n < 2 || n > longest:
		return PlaceKey{}, models.BadArgument("query", "must have 2 to %d characters, got %d", longest, n)
	}
	if first != nil {
		key.First = *first
	}
	if key.First < 1 || key.First > most {
		return PlaceKey{}, models.BadArgument("first", "must be 1 to %d, got %d", most, key.First)
	}
	return key, nil
}

// loadPlaces asks once for each key, one after the other: all fail if one does, or what was not asked would be absent.
func (s *Sources) loadPlaces(ctx context.Context, keys []PlaceKey) (map[PlaceKey][]*models.Place, error) {
	found := make(map[PlaceKey][]*models.Place, len(keys))
	for _, key := range keys {
		body, err := s.nominatim.get(ctx, "/search", url.Values{
			"q": {key.Query}, "format": {"jsonv2"}, "limit": {strconv.Itoa(key.First)}, "accept-language": {"en"},
		})
		if err != nil {
			return nil, err
		}
		places, err := parsePlaces(body, key.First)
		if err != nil {
			return nil, s.nominatim.broken(err)
		}
		if len(places) > 0 {
			found[key] = places
		}
	}
	return found, nil
}

// coordinate is a number of degrees, as exact as it came.
func coordinate(text string, most int64) (decimal.Decimal, error) {
	d, err := models.UnmarshalDecimal(text)
	if err != nil || d.Abs().GreaterThan(decimal.NewFromInt(most)) {
		return decimal.Decimal{}, fmt.Errorf("a place at %.40q degrees", text)
	}
	return d, nil
}

// parsePlaces reads Nominatim's jsonv2.
func parsePlaces(body []byte, most int) ([]*models.Place, error) {
	var rows []struct {
		Name      string `json:"display_name"`
		Latitude  string `json:"lat"`
		Longitude string `json:"lon"`
		Category  string `json:"category"`
		Type      string `json:"type"`
		Licence   string `json:"licence"`
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		return nil, errors.New("the list of places is no JSON of the known form")
	}
	places := make([]*models.Place, 0, min(len(rows), most))
	for _, row := range rows[:min(len(rows), most)] {
		latitude, err := coordinate(row.Latitude, 90)
		if err != nil {
			return nil, err
		}
		longitude, err := coordinate(row.Longitude, 180)
		if err != nil || row.Name == "" {
			return nil, errors.Join(err, fmt.Errorf("a place of the name %.40q", row.Name))
		}
		places = append(places, &models.Place{
			Name: row.Name, Latitude: latitude, Longitude: longitude, Category: row.Category, Type: row.Type, Attribution: row.Licence,
		})
	}
	return places, nil
}
