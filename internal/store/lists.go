package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// Page is one page of a list, as ids: what they name is kept under kinds of its own, so that an edit shows in every page
// at once.
type Page struct {
	Spots []Spot `cbor:"1,keyasint"`
	// More tells that the list goes on.
	More bool `cbor:"2,keyasint,omitempty"`
	// List is the fingerprint of the list, for cursors.
	List uint32 `cbor:"3,keyasint"`
	// Newest is for the cursors of TOP.
	Newest Spot `cbor:"4,keyasint"`
	// Authors are whose posts a feed page was chosen from, up to maxAuthors of them, for its tags.
	Authors []models.ID `cbor:"5,keyasint,omitempty"`
	// By are the authors of the posts that the page lists, each once; nil for a page of profiles.
	By []models.ID `cbor:"6,keyasint,omitempty"`
}

// IDs are what the page lists, in order.
func (p *Page) IDs() []models.ID {
	ids := make([]models.ID, len(p.Spots))
	for i, spot := range p.Spots {
		ids[i] = spot.ID
	}
	return ids
}

// Cursor continues the page's list behind a spot of the page.
func (p *Page) Cursor(spot Spot) string { return Cursor{Spot: spot, Newest: p.Newest}.encode(p.List) }

// List names one of the lists that a profile has.
type List string

// The lists.
const (
	AuthorPosts List = kindAuthorPosts
	Followers   List = kindFollowers
	Following   List = kindFollowing
)

// ListKey is a page of one of a profile's lists.
type ListKey struct {
	List  List
	Of    models.ID
	First int
	After Cursor // zero for the first page
}

// NewListKey makes a key of what a client asked for, and refuses what it may not ask for.
func NewListKey(l List, of models.ID, first *int, after *string) (ListKey, error) {
	key := ListKey{List: l, Of: of}
	var err error
	if key.First, err = pageSize(first); err != nil {
		return key, err
	}
	if after != nil {
		key.After, err = decodeCursor(*after, key.fingerprint(), false)
	}
	return key, err
}

// usualPage is how many entries a client gets that does not say.
const usualPage = 20

// pageSize is how many entries a client gets.
func pageSize(first *int) (int, error) {
	const most = 100
	if first == nil {
		return usualPage, nil
	}
	if *first < 1 || *first > most {
		return 0, models.BadArgument("first", "must be between 1 and %d, not %d", most, *first)
	}
	return *first, nil
}

func (k ListKey) fingerprint() uint32 { return fingerprintOf(string(k.List) + ":" + k.Of.String()) }

func (k ListKey) key() string {
	return k.Of.String() + ":first=" + strconv.Itoa(k.First) + k.After.variant(k.fingerprint())
}

// source is where a list comes from: the rows of table whose column owner is the profile, ordered by column at, then by
// column id, both falling.
type source struct{ table, owner, at, id string }

func (l List) source() source {
	switch l {
	case Followers:
		return source{"follows", "followee_id", "followed_at", "follower_id"}
	case Following:
		return source{"follows", "follower_id", "followed_at", "followee_id"}
	default:
		return source{"posts", "author_id", "published_at", "id"}
	}
}

func (s *Store) listKinds(p map[string]policy.Effective) {
	kind := func(l List) *cache.Kind[ListKey, *Page] {
		effective := p[string(l)]
		return cache.NewKind(s.cache, cache.KindOptions[ListKey, *Page]{
			Name: string(l), TTL: effective.TTL, Key: ListKey.key, Load: s.loadLists,
			Tags: func(key ListKey, _ *Page, _ bool) []string { return tags(effective, "$key.id", key.Of.String()) },
		})
	}
	s.AuthorPosts, s.Followers, s.Following = kind(AuthorPosts), kind(Followers), kind(Following)
	s.feedKind(p[kindFeed])
}

// spotRow is a Spot on its way out of the database, with the number of the page it belongs to.
type spotRow struct {
	N     int
	ID    models.ID
	At    time.Time
	Score float64
}

// loadLists reads the pages in one statement, each from its cursor on.
func (s *Store) loadLists(ctx context.Context, keys []ListKey) (_ map[ListKey]*Page, err error) {
	defer failed(&err, "lists %v", keys)
	queries := make([]*bun.SelectQuery, len(keys))
	for i, key := range keys {
		from := key.List.source()
		queries[i] = s.db.NewSelect().Table(from.table).
			ColumnExpr("? AS n, ? AS id, ? AS at", i, bun.Ident(from.id), bun.Ident(from.at)).
			Where("? = ?", bun.Ident(from.owner), key.Of).
			OrderExpr("? DESC, ? DESC", bun.Ident(from.at), bun.Ident(from.id)).
			Limit(int64(key.First) + 1)
		behind(queries[i], key.After.Spot, from.at, from.id)
	}
	var rows []spotRow
	if err := s.unionAll(queries).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	pages := make(map[ListKey]*Page, len(keys))
	for i, key := range keys {
		pages[key] = newPage(rows, i, key.First, func(r spotRow) int64 { return r.At.UnixMicro() })
		pages[key].List = key.fingerprint()
		if key.List == AuthorPosts {
			pages[key].By = []models.ID{key.Of}
		}
	}
	return pages, nil
}

// behind keeps the rows that come after a spot, if there is one, in an order by time and id.
func behind(q *bun.SelectQuery, spot Spot, at, id string) {
	if spot != (Spot{}) {
		q.Where("(?, ?) < (?, ?)", bun.Ident(at), bun.Ident(id), time.UnixMicro(spot.Rank).UTC(), spot.ID)
	}
}

// unionAll makes one statement of several that each number their rows.
func (s *Store) unionAll(queries []*bun.SelectQuery) *bun.SelectQuery {
	all := s.db.NewSelect().TableExpr("(?) AS rows", queries[0])
	for _, q := range queries[1:] {
		all.UnionAll(s.db.NewSelect().TableExpr("(?) AS rows", q))
	}
	return all
}

// newPage takes the rows of page n: first of them at most, one more tells that there are more. It sorts them again: SQL
// promises no order behind UNION ALL.
func newPage(rows []spotRow, n, first int, rank func(spotRow) int64) *Page {
	page := &Page{}
	for _, row := range rows {
		if row.N == n {
			page.Spots = append(page.Spots, Spot{Rank: rank(row), ID: row.ID})
		}
	}
	slices.SortFunc(page.Spots, func(a, b Spot) int { return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(b.ID, a.ID)) })
	if len(page.Spots) > first {
		page.Spots, page.More = page.Spots[:first], true
	}
	return page
}
