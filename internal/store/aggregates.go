package store

import (
	"context"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// Aggregates read much and change with every like, so they promise their TTL alone: they are made again shortly before it
// ends, by one, and outlive it for a while if PostgreSQL is away. No mutation shows them to the author of a change. So they
// are all that a replica may answer.

// mostTop is how many a list of the most liked has.
const mostTop = 20

// TopKey is a list of what is most liked in a period.
type TopKey struct {
	Period models.Period
	// Categories are sorted and joined by commas; "" keeps all.
	Categories string
}

// NewTopKey makes a key of what a client asked for, and refuses what it may not ask for.
func NewTopKey(period models.Period, categories []string) (TopKey, error) {
	set, err := wordSet("categories", categories)
	return TopKey{period, set}, err
}

func (k TopKey) key() string {
	key := strings.ToLower(k.Period.String())
	if k.Categories != "" {
		key += ":categories=" + k.Categories
	}
	return key
}

func (k TopKey) span() time.Duration {
	const day = 24 * time.Hour
	switch k.Period {
	case models.PeriodDay:
		return day
	case models.PeriodWeek:
		return 7 * day
	default:
		return 30 * day
	}
}

// Everything is the one key of Statistics.
type Everything struct{}

func (Everything) key() string { return "all" }

func (s *Store) aggregateKinds(p map[string]policy.Effective) {
	top := func(name string, load topQuery) *cache.Kind[TopKey, []models.ID] {
		return cache.NewKind(s.cache, cache.KindOptions[TopKey, []models.ID]{
			Name: name, TTL: p[name].TTL, Grace: grace, Key: TopKey.key, MaxLoads: 2,
			Load: func(ctx context.Context, keys []TopKey) (map[TopKey][]models.ID, error) {
				return s.loadTop(ctx, name, keys, load)
			},
		})
	}
	s.TopPosts, s.TopProfiles = top(kindTopPosts, topPosts), top(kindTopProfiles, topProfiles)
	s.Statistics = cache.NewKind(s.cache, cache.KindOptions[Everything, *models.Statistics]{
		Name: kindStatistics, TTL: p[kindStatistics].TTL, Grace: grace, Key: Everything.key, MaxLoads: 1, Load: s.loadStatistics,
	})
}

// topQuery makes the statement of a list.
type topQuery func(bun.IDB, TopKey) *bun.SelectQuery

// published are the posts of a period with their likes.
func published(db bun.IDB, key TopKey) *bun.SelectQuery {
	q := db.NewSelect().TableExpr("posts AS post").
		Join("LEFT JOIN post_counts AS c ON c.post_id = post.id").
		Where("post.published_at > ?", time.Now().Add(-key.span()).UTC()).Where("post.published_at <= now()").Limit(mostTop)
	if key.Categories != "" {
		q.Where("post.category IN ?", bun.Tuple(strings.Split(key.Categories, ",")))
	}
	return q
}

func topPosts(db bun.IDB, key TopKey) *bun.SelectQuery {
	return published(db, key).ColumnExpr("post.id").OrderExpr("coalesce(c.likes, 0) DESC, post.id DESC")
}

func topProfiles(db bun.IDB, key TopKey) *bun.SelectQuery {
	return published(db, key).ColumnExpr("post.author_id AS id").GroupExpr("post.author_id").
		OrderExpr("sum(coalesce(c.likes, 0)) DESC, post.author_id DESC")
}

// loadTop reads the lists one after the other: each is a heavy statement.
func (s *Store) loadTop(ctx context.Context, name string, keys []TopKey, query topQuery) (lists map[TopKey][]models.ID, err error) {
	defer failed(&err, "%s %v", name, keys)
	err = s.replica.read(ctx, func(ctx context.Context, db bun.IDB) error {
		lists = make(map[TopKey][]models.ID, len(keys))
		for _, key := range keys {
			ids := []models.ID{}
			if err := query(db, key).Scan(ctx, &ids); err != nil {
				return err
			}
			lists[key] = ids
		}
		return nil
	})
	return lists, err
}

func (s *Store) loadStatistics(ctx context.Context, _ []Everything) (_ map[Everything]*models.Statistics, err error) {
	defer failed(&err, "statistics")
	var row models.Statistics
	err = s.replica.read(ctx, func(ctx context.Context, db bun.IDB) error {
		return db.NewRaw(`SELECT (SELECT count(*) FROM profiles) AS profiles,
			(SELECT coalesce(sum(posts), 0) FROM profile_counts) AS posts,
			(SELECT coalesce(sum(likes), 0) FROM post_counts) AS likes,
			(SELECT coalesce(sum(following), 0) FROM profile_counts) AS follows`).Scan(ctx, &row)
	})
	if err != nil {
		return nil, err
	}
	return map[Everything]*models.Statistics{{}: &row}, nil
}
