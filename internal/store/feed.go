package store

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

const (
	// maxAuthors bounds the tags of a feed page. The pages of those who follow more are fresh by their TTL alone as far
	// as the posts of the others go.
	maxAuthors = 256
	// topCandidates is how many of the newest posts TOP ranks: a like on a post that is twelve hours older weighs half as
	// much, so that what lies behind them would need thousands of likes more.
	topCandidates = 500
	// halfLife of a like's weight, in seconds.
	halfLife = 12 * 60 * 60
)

// FeedKey is a page of a viewer's feed.
type FeedKey struct {
	Viewer models.ID
	First  int
	Order  models.FeedOrder
	// Categories and Languages are sorted and joined by commas; "" keeps all.
	Categories, Languages string
	Since                 int64 // Unix µs; 0 keeps all
	After                 Cursor
}

// NewFeedKey makes a key of what a client asked for, and refuses what it may not ask for.
func NewFeedKey(
	viewer models.ID, first *int, after *string, filter *models.FeedFilter, order models.FeedOrder,
) (key FeedKey, err error) {
	key = FeedKey{Viewer: viewer, Order: order}
	if key.First, err = pageSize(first); err != nil {
		return key, err
	}
	if filter != nil {
		if key.Categories, err = wordSet("filter.categories", filter.Categories); err != nil {
			return key, err
		}
		if key.Languages, err = wordSet("filter.languages", filter.Languages); err != nil {
			return key, err
		}
		if filter.Since != nil {
			key.Since = filter.Since.UnixMicro()
		}
	}
	if after != nil {
		key.After, err = decodeCursor(*after, key.fingerprint(), order == models.FeedOrderTop)
	}
	return key, err
}

// wordSet is words in one order, each once, so that the order a client gives them in does not divide the cache.
func wordSet(argument string, words []string) (string, error) {
	const most = 20
	if len(words) > most {
		return "", models.BadArgument(argument, "may have %d entries, not %d", most, len(words))
	}
	for _, word := range words {
		ok := word != "" && len(word) <= 32
		for _, c := range word {
			ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
		}
		if !ok {
			return "", models.BadArgument(argument, "%q has not the form of a slug or language code", word)
		}
	}
	words = slices.Clone(words)
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ","), nil
}

// list names the whole list that the page belongs to.
func (k FeedKey) list() string {
	var b strings.Builder
	b.WriteString("user:" + k.Viewer.String())
	if k.Order != models.FeedOrderNewest {
		b.WriteString(":order=" + strings.ToLower(k.Order.String()))
	}
	if k.Categories != "" {
		b.WriteString(":categories=" + k.Categories)
	}
	if k.Languages != "" {
		b.WriteString(":languages=" + k.Languages)
	}
	if k.Since != 0 {
		b.WriteString(":since=" + strconv.FormatInt(k.Since, 10))
	}
	return b.String()
}

func (k FeedKey) fingerprint() uint32 { return fingerprintOf(kindFeed + ":" + k.list()) }

func (k FeedKey) key() string {
	return k.list() + ":first=" + strconv.Itoa(k.First) + k.After.variant(k.fingerprint())
}

func (s *Store) feedKind(p policy.Effective) {
	s.Feed = cache.NewKind(s.cache, cache.KindOptions[FeedKey, *Page]{
		Name: kindFeed, TTL: p.TTL, Key: FeedKey.key, Load: s.loadFeeds,
		Tags: func(key FeedKey, page *Page, _ bool) []string {
			all := tags(p, "$viewer.id", key.Viewer.String())
			if page != nil {
				for _, author := range page.Authors {
					all = append(all, "feed:"+author.String())
				}
			}
			return all
		},
	})
}

// feedRow is a spot of a feed page, with the authors that the page was chosen from.
type feedRow struct {
	spotRow
	AuthorID models.ID
	Authors  []models.ID `bun:",array"`
	NewestAt time.Time
	NewestID models.ID
}

// loadFeeds reads the pages in one statement. Each merges the heads of the followed authors' lists: what it costs grows
// with the number of authors, not with how much they have written; only a filter that matches little looks through their
// index entries for what does.
func (s *Store) loadFeeds(ctx context.Context, keys []FeedKey) (_ map[FeedKey]*Page, err error) {
	defer failed(&err, "feeds %v", keys)
	queries := make([]*bun.SelectQuery, len(keys))
	for i, key := range keys {
		var page *bun.SelectQuery
		if key.Order == models.FeedOrderTop {
			page = s.top(key)
		} else { // with as many columns as top
			page = s.newest(key, int64(key.First)+1).
				ColumnExpr("0::float8 AS score, post.published_at AS newest_at, post.id AS newest_id")
		}
		page = s.db.NewSelect().ColumnExpr("page.*").TableExpr("(?) AS page", page).
			Join("JOIN profiles AS author ON author.id = page.author_id")
		// The left join keeps the authors of an empty page: the first post of one of them makes it stale.
		queries[i] = s.db.NewSelect().
			ColumnExpr("? AS n, page.*, followed.authors", i).
			TableExpr("(SELECT array_agg(followee_id) AS authors FROM (?) AS f) AS followed", s.db.NewSelect().
				Table("follows").Column("followee_id").Where("follower_id = ?", key.Viewer).Order("followee_id").Limit(maxAuthors)).
			Join("LEFT JOIN (?) AS page ON true", page)
	}
	var rows []feedRow
	if err := s.unionAll(queries).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	pages := make(map[FeedKey]*Page, len(keys))
	for i, key := range keys {
		pages[key] = feedPage(rows, i, key)
	}
	return pages, nil
}

func feedPage(rows []feedRow, n int, key FeedKey) *Page {
	var own []spotRow
	var page Page
	by := make(map[models.ID]models.ID, key.First) // by post
	for _, row := range rows {
		if row.N != n {
			continue
		}
		page.Authors = row.Authors
		if row.ID == 0 {
			continue // an empty page: nothing but its authors
		}
		own = append(own, row.spotRow)
		by[row.ID] = row.AuthorID
		if key.Order == models.FeedOrderTop {
			page.Newest = Spot{Rank: row.NewestAt.UnixMicro(), ID: row.NewestID}
		}
	}
	rank := func(r spotRow) int64 { return r.At.UnixMicro() }
	if key.Order == models.FeedOrderTop {
		rank = func(r spotRow) int64 { return int64(math.Float64bits(r.Score)) }
	}
	slices.Sort(page.Authors) // the aggregate promises no order, and the same page must be the same bytes
	page.List = key.fingerprint()
	chosen := newPage(own, n, key.First, rank)
	page.Spots, page.More = chosen.Spots, chosen.More
	for _, spot := range page.Spots {
		page.By = append(page.By, by[spot.ID])
	}
	slices.Sort(page.By)
	page.By = slices.Compact(page.By)
	return &page
}

// newest joins a viewer's follows with the head of each followed author's list and keeps the latest posts of all.
func (s *Store) newest(key FeedKey, limit int64) *bun.SelectQuery {
	head := s.db.NewSelect().TableExpr("posts AS post").Column("id", "author_id", "published_at").
		Where("post.author_id = f.followee_id").
		OrderExpr("post.published_at DESC, post.id DESC").Limit(limit)
	if key.Categories != "" {
		head.Where("post.category IN ?", bun.Tuple(strings.Split(key.Categories, ",")))
	}
	if key.Languages != "" {
		head.Where("post.language IN ?", bun.Tuple(strings.Split(key.Languages, ",")))
	}
	if key.Since != 0 {
		head.Where("post.published_at >= ?", time.UnixMicro(key.Since).UTC())
	}
	if key.Order == models.FeedOrderNewest {
		behind(head, key.After.Spot, "post.published_at", "post.id")
	} else if key.After.Newest != (Spot{}) {
		at := time.UnixMicro(key.After.Newest.Rank).UTC()
		head.Where("(post.published_at, post.id) <= (?, ?)", at, key.After.Newest.ID)
	}
	return s.db.NewSelect().
		ColumnExpr("post.id, post.published_at AS at, post.author_id").
		TableExpr("follows AS f").
		Join("CROSS JOIN LATERAL (?) AS post", head).
		Where("f.follower_id = ?", key.Viewer).
		OrderExpr("post.published_at DESC, post.id DESC").Limit(limit)
}

// top ranks the newest posts by engagement that halves with each halfLife: log2 of (likes + 1) · 2^(-age / halfLife),
// without the term that is the same for all, so that the order does not depend on the time of asking.
func (s *Store) top(key FeedKey) *bun.SelectQuery {
	ranked := s.db.NewSelect().
		ColumnExpr("post.id, post.at, post.author_id").
		// A subquery, not a join: the planner would read all counts rather than look some hundreds up.
		ColumnExpr("log(2.0, coalesce((?), 0) + 1)::float8 + extract(epoch FROM post.at)::float8 / ? AS score",
			s.db.NewSelect().TableExpr("post_counts AS c").Column("likes").Where("c.post_id = post.id"), halfLife).
		ColumnExpr("first_value(post.at) OVER (ORDER BY post.at DESC, post.id DESC) AS newest_at").
		ColumnExpr("first_value(post.id) OVER (ORDER BY post.at DESC, post.id DESC) AS newest_id").
		TableExpr("(?) AS post", s.newest(key, topCandidates))
	q := s.db.NewSelect().TableExpr("(?) AS ranked", ranked).
		OrderExpr("score DESC, id DESC").Limit(int64(key.First) + 1)
	if key.After != (Cursor{}) {
		q.Where("(score, id) < (?, ?)", math.Float64frombits(uint64(key.After.Spot.Rank)), key.After.Spot.ID)
	}
	return q
}
