package store

import (
	"slices"
	"strings"
	"testing"

	"freshet/models"
)

func TestTop_MostLikedOfThePeriodFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(4)
	r.exec(`INSERT INTO posts (id, author_id, title, body, category, language, published_at) VALUES
		(1, 1, '', '', 'food', 'en', now() - interval '1 hour'), (2, 2, '', '', 'sport', 'en', now() - interval '2 days'),
		(3, 2, '', '', 'food', 'en', now() - interval '3 days'), (4, 3, '', '', 'food', 'en', now() - interval '20 days'),
		(5, 3, '', '', 'food', 'en', now() - interval '40 days'), (6, 4, '', '', 'food', 'en', now() + interval '1 hour')`)
	r.exec(`INSERT INTO likes (post_id, profile_id) SELECT p, n FROM (VALUES (1, 1), (2, 2), (3, 1), (5, 4)) v (p, most),
		LATERAL generate_series(1, most) n`)
	for _, c := range []struct {
		period     models.Period
		categories []string
		want       []models.ID
	}{
		{models.PeriodDay, nil, []models.ID{1}},
		{models.PeriodWeek, nil, []models.ID{2, 3, 1}},
		{models.PeriodMonth, nil, []models.ID{2, 3, 1, 4}},
		{models.PeriodWeek, []string{"sport", "food", "sport"}, []models.ID{2, 3, 1}},
		{models.PeriodWeek, []string{"food"}, []models.ID{3, 1}},
		{models.PeriodWeek, []string{"travel"}, []models.ID{}},
	} {
		key, err := NewTopKey(c.period, c.categories)
		r.noError(err)
		if got := read(r, r.TopPosts, key); !slices.Equal(got, c.want) {
			t.Errorf("top posts of %v in %v: got %v, want %v", c.period, c.categories, got, c.want)
		}
	}
	if got, want := read(r, r.TopProfiles, TopKey{Period: models.PeriodWeek}), []models.ID{2, 1}; !slices.Equal(got, want) {
		t.Errorf("top profiles: got %v, want %v", got, want)
	}
	if got, want := *read(r, r.Statistics, Everything{}), (models.Statistics{Profiles: 4, Posts: 6, Likes: 8}); got != want {
		t.Errorf("statistics: got %+v, want %+v", got, want)
	}
	r.ran()
	r.exec("DELETE FROM likes")
	read(r, r.Statistics, Everything{})
	read(r, r.TopPosts, TopKey{Period: models.PeriodDay})
	if got := r.ran(); len(got) != 0 {
		t.Errorf("statements after a like was taken back: got %q, want none before the TTL ends", got)
	}
}

func TestTopKey_IsCanonical(t *testing.T) {
	t.Parallel()
	one, _ := NewTopKey(models.PeriodWeek, []string{"travel", "food", "food"})
	other, _ := NewTopKey(models.PeriodWeek, []string{"food", "travel"})
	if one != other || one.key() != "week:categories=food,travel" {
		t.Errorf("keys: got %q and %q, want week:categories=food,travel", one.key(), other.key())
	}
	for _, refused := range [][]string{{"a:b"}, {""}, strings.Split(strings.Repeat("a ", 21), " ")[:21]} {
		_, err := NewTopKey(models.PeriodWeek, refused)
		wantBadArgument(t, strings.Join(refused, " "), err, "categories")
	}
}

func TestProducts_SearchAndCursors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`INSERT INTO products (id, name, description, category, price, currency, added_at)
		SELECT n, CASE WHEN n % 3 = 0 THEN 'Red Kite ' ELSE 'Blue Ball ' END || n, 'For windy days', (ARRAY['toys', 'outdoor'])[1 + n % 2], n, 'EUR',
			timestamptz '2026-03-01+00' + (n / 4) * interval '1 second' FROM generate_series(1, 60) n`)
	for _, c := range []struct{ category, search, where string }{
		{"", "", "true"},
		{"toys", "", "category = 'toys'"},
		{"toys", "  KITE red", "category = 'toys' AND id % 3 = 0"},
		{"", `windy -kite`, "id % 3 <> 0"},
		{"", `"kite red"`, "false"},
		{"", `'; DROP TABLE products; -- & | ! <-> :*`, "false"},
	} {
		got := traverse(r, r.ProductPages, 7, func(first *int, after *string) (ProductsKey, error) {
			var category *string
			if c.category != "" {
				category = &c.category
			}
			return NewProductsKey(category, &c.search, first, after)
		})
		want := query[models.ID](r, "SELECT id FROM products WHERE "+c.where+" ORDER BY added_at DESC, id DESC")
		if !slices.Equal(got, want) {
			t.Errorf("products of %q with %q: got %v, want %v", c.category, c.search, got, want)
		}
	}
}

func TestDictionaries_VersionsNeverChange(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := read(r, r.CurrentDictionaries, models.DictionaryNameCountries)
	old := read(r, r.Dictionaries, DictionaryKey{models.DictionaryNameCountries, first})
	r.noError(r.SaveDictionaryEntry(t.Context(), models.SaveDictionaryEntryInput{
		Dictionary: models.DictionaryNameCountries, Code: "DE", Name: "Deutschland",
	}))
	second := read(r, r.CurrentDictionaries, models.DictionaryNameCountries)
	if second != first+1 {
		t.Fatalf("version after a change: got %d, want %d", second, first+1)
	}
	nameOf := func(d *models.Dictionary) string {
		for _, e := range d.Entries {
			if e.Code == "DE" {
				return e.Name
			}
		}
		return ""
	}
	again := read(r, r.Dictionaries, DictionaryKey{models.DictionaryNameCountries, first})
	renamed := read(r, r.Dictionaries, DictionaryKey{models.DictionaryNameCountries, second})
	if nameOf(old) != "Germany" || nameOf(again) != "Germany" || nameOf(renamed) != "Deutschland" {
		t.Errorf("names: got %q, %q and then %q, want Germany twice and then Deutschland", nameOf(old), nameOf(again), nameOf(renamed))
	}
	err := r.SaveDictionaryEntry(t.Context(), models.SaveDictionaryEntryInput{
		Dictionary: models.DictionaryNameCountries, Code: "xx:", Name: "Nowhere",
	})
	r.refusedWith(err, models.UserErrorCodeInvalid, "input.code")
}
