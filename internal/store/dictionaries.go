package store

import (
	"context"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// DictionaryKey is one version of a dictionary. As with ConfigKey, which version is current is another, small kind.
type DictionaryKey struct {
	Name    models.DictionaryName
	Version int
}

func (k DictionaryKey) key() string { return dictionaryName(k.Name) + ":v" + strconv.Itoa(k.Version) }

func dictionaryName(n models.DictionaryName) string { return strings.ToLower(n.String()) }

func (s *Store) dictionaryKinds(p map[string]policy.Effective) {
	s.Dictionaries = cache.NewKind(s.cache, cache.KindOptions[DictionaryKey, *models.Dictionary]{
		Name: kindDictionary, TTL: p[kindDictionary].TTL, Key: DictionaryKey.key, Load: s.loadDictionaries,
		Tags: func(key DictionaryKey, _ *models.Dictionary, _ bool) []string {
			return tags(p[kindDictionary], "$key.name", key.Name.String())
		},
	})
	s.CurrentDictionaries = cache.NewKind(s.cache, cache.KindOptions[models.DictionaryName, int]{
		Name: kindCurrentDictionary, TTL: p[kindCurrentDictionary].TTL, Key: dictionaryName, Load: s.loadCurrentDictionaries,
		Tags: func(name models.DictionaryName, _ int, _ bool) []string {
			return tags(p[kindCurrentDictionary], "$args.name", name.String())
		},
	})
}

func (s *Store) loadDictionaries(
	ctx context.Context, keys []DictionaryKey,
) (_ map[DictionaryKey]*models.Dictionary, err error) {
	defer failed(&err, "dictionaries %v", keys)
	wanted := make([][]any, len(keys))
	for i, key := range keys {
		wanted[i] = []any{key.Name, key.Version}
	}
	var rows []*models.Dictionary
	if err := s.db.NewSelect().Model(&rows).Where("(d.name, d.version) IN ?", bun.Tuple(wanted)).Scan(ctx); err != nil {
		return nil, err
	}
	return byKey(rows, func(d *models.Dictionary) DictionaryKey { return DictionaryKey{d.Name, d.Version} }), nil
}

func (s *Store) loadCurrentDictionaries(
	ctx context.Context, names []models.DictionaryName,
) (_ map[models.DictionaryName]int, err error) {
	defer failed(&err, "current dictionaries %v", names)
	return latest(ctx, s.db, "name", names, func(d *models.Dictionary) (models.DictionaryName, int) { return d.Name, d.Version })
}

// dictionarySource is the table that a dictionary is made of, and the column of its codes.
func dictionarySource(n models.DictionaryName) (table, code string) {
	switch n {
	case models.DictionaryNameLanguages:
		return "languages", "code"
	case models.DictionaryNameCountries:
		return "countries", "code"
	case models.DictionaryNamePostCategories:
		return "categories", "slug"
	default:
		return "product_categories", "slug"
	}
}

// SaveDictionaryEntry adds or renames an entry; the table's trigger makes the next version.
func (s *Store) SaveDictionaryEntry(ctx context.Context, in models.SaveDictionaryEntryInput) (err error) {
	defer failed(&err, "save %q in dictionary %v", in.Code, in.Dictionary)
	table, code := dictionarySource(in.Dictionary)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO ? (?, name) VALUES (?, ?) ON CONFLICT (?) DO UPDATE SET name = excluded.name",
			bun.Ident(table), bun.Ident(code), in.Code, in.Name, bun.Ident(code))
		if broken(err, checkViolation, table+"_"+code+"_check") {
			return models.Refuse(models.UserErrorCodeInvalid, "The code has not the form of this dictionary.", "input", "code")
		}
		return err
	})
}
