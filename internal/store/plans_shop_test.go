package store

import (
	"testing"
	"time"

	"freshet/models"
)

// shop is 15,000 products over two years, a third of them kites and one in 250 a rarity, and 30,000 posts of the
// last 60 days by 1,000 people, all of them liked.
var shop = []string{
	`SELECT setseed(0.5)`,
	`DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'bun%' LOOP
			EXECUTE format('ALTER TABLE %I DISABLE TRIGGER ALL', name);
		END LOOP;
	END $$`,
	`INSERT INTO products (id, name, description, category, price, currency, added_at)
		SELECT n, CASE WHEN n % 3 = 0 THEN 'Red Kite ' ELSE 'Blue Ball ' END || n, CASE WHEN n % 250 = 0 THEN 'A rarity' ELSE 'For windy days' END,
			(ARRAY['toys', 'toys', 'outdoor', 'books'])[1 + n % 4], n % 1000, 'EUR', timestamptz '2026-03-01+00' - random() * interval '730 days'
		FROM generate_series(1, 15000) n`,
	`INSERT INTO profiles (id, handle, name) SELECT n, 'p0' || n, 'Person ' || n FROM generate_series(1, 1000) n`,
	`INSERT INTO posts (id, author_id, title, body, category, language, published_at)
		SELECT n, 1 + floor(1000 * random() ^ 2), 'Title', 'Body', (ARRAY['food', 'sport', 'travel'])[1 + n % 3], 'en', now() - random() * interval '60 days'
		FROM generate_series(1, 30000) n`,
	`INSERT INTO post_counts (post_id, likes) SELECT n, n % 100 FROM generate_series(1, 30000) n`,
	`INSERT INTO profile_counts (profile_id, posts) SELECT n, 30 FROM generate_series(1, 1000) n`,
	`VACUUM ANALYZE`,
}

func TestPlans_CatalogAndAggregates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(shop)
	for _, h := range r.shopQueries() {
		r.checkPlan(h)
	}
	for _, h := range r.topQueries() {
		r.checkPlan(h, "post_counts")
	}
}

func (r *rig) shopQueries() []hot {
	ctx := r.t.Context()
	deep := Cursor{Spot: Spot{Rank: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), ID: 7_500}}
	const noIndexes = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off"
	page := func(name string, key ProductsKey, sortable, touched int) hot {
		return hot{name, func() error { _, err := r.ProductPages.Load(ctx, []ProductsKey{key}); return err }, sortable, touched, noIndexes}
	}
	ids := make([]models.ID, 100)
	for i := range ids {
		ids[i] = models.ID(1 + i*149)
	}
	return []hot{
		{"products", func() error { _, err := r.Products.Load(ctx, ids); return err }, 0, 100, noIndexes},
		page("all products", ProductsKey{First: 20}, 0, 21),
		page("all products, deep", ProductsKey{First: 20, After: deep}, 0, 21),
		page("products of a category", ProductsKey{Category: "toys", First: 20}, 0, 21),
		page("products of a category, deep", ProductsKey{Category: "books", First: 20, After: deep}, 0, 21),
		page("products of a category that has none", ProductsKey{Category: "audio", First: 20}, 0, 0),
		page("search of what is rare", ProductsKey{Search: "rarity", First: 20}, 60, 2*60),
		page("search of what is rare in a category", ProductsKey{Category: "toys", Search: "rarity", First: 20}, 60, 2*60),
		page("search of what is not there", ProductsKey{Search: "submarine", First: 20}, 60, 2*60),
		page("search of one product", ProductsKey{Search: "kite 14997", First: 20}, 60, 2*60),
		page("search of what is common", ProductsKey{Search: "kite", First: 20}, 0, 3*3*21),
		page("search of what is common, deep", ProductsKey{Search: "kite", First: 20, After: deep}, 0, 3*3*21),
	}
}

// topQueries read the posts of their period by its index. For their likes the planner may well prefer one pass over all
// counts, which are small, to a search for each post.
func (r *rig) topQueries() []hot {
	ctx := r.t.Context()
	const all, day = 30_000, 30_000 / 60
	top := func(name string, load func() error, posts int) hot {
		return hot{name, load, posts + posts/5 + all, posts + posts/5 + all, "DROP INDEX posts_published_idx"}
	}
	oneDay, oneWeek := TopKey{Period: models.PeriodDay}, TopKey{Period: models.PeriodWeek, Categories: "food"}
	return []hot{
		top("most liked posts of a day", func() error { _, err := r.TopPosts.Load(ctx, []TopKey{oneDay}); return err }, day),
		top("most liked posts of a week, in a category", func() error { _, err := r.TopPosts.Load(ctx, []TopKey{oneWeek}); return err }, 7*day),
		top("most liked people of a day", func() error { _, err := r.TopProfiles.Load(ctx, []TopKey{oneDay}); return err }, day),
	}
}
