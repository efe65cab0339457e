package store

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"freshet/models"
)

func (r *rig) feed(viewer models.ID, size int, filter *models.FeedFilter, order models.FeedOrder) []models.ID {
	r.t.Helper()
	return traverse(r, r.Feed, size, func(first *int, after *string) (FeedKey, error) {
		return NewFeedKey(viewer, first, after, filter, order)
	})
}

func TestFeed_NewestEqualsOneQuery(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.network()
	filters := map[string]*models.FeedFilter{
		"no filter":       nil,
		"empty filter":    {},
		"one category":    {Categories: []string{"food"}},
		"two categories":  {Categories: []string{"travel", "food"}},
		"language":        {Languages: []string{"de"}},
		"since":           {Since: ptr(time.Date(2026, 3, 1, 12, 0, 40, 1000, time.UTC))},
		"since in a zone": {Since: ptr(time.Date(2026, 3, 1, 14, 0, 40, 1000, time.FixedZone("", 2*60*60)))},
		"all of them": {
			Categories: []string{"food", "sport"}, Languages: []string{"en"}, Since: ptr(time.Date(2026, 3, 1, 12, 0, 10, 0, time.UTC)),
		},
		"nothing matches": {Categories: []string{"no-such"}},
		"the future":      {Since: ptr(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))},
		"the year 1":      {Since: ptr(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC))},
	}
	for name, filter := range filters {
		for _, viewer := range []models.ID{4, 7, 30} {
			want := query[models.ID](r, `SELECT p.id FROM posts p JOIN follows f ON f.followee_id = p.author_id
				WHERE f.follower_id = ? ? ORDER BY published_at DESC, p.id DESC`, viewer, where(filter))
			if name == "no filter" && viewer != 30 && len(want) < 50 {
				t.Fatalf("viewer %v: the test has %d posts, want more", viewer, len(want))
			}
			for _, size := range []int{11, 100} {
				if got := r.feed(viewer, size, filter, models.FeedOrderNewest); !slices.Equal(got, want) {
					t.Errorf("%s, viewer %v, pages of %d: got %v, want %v", name, viewer, size, got, want)
				}
			}
		}
	}
}

// where is a filter in SQL, written another way than the store's.
func where(f *models.FeedFilter) bun.Safe {
	if f == nil {
		return ""
	}
	sql := ""
	if len(f.Categories) > 0 {
		sql += " AND category = ANY ('{" + strings.Join(f.Categories, ",") + "}')"
	}
	if len(f.Languages) > 0 {
		sql += " AND language = ANY ('{" + strings.Join(f.Languages, ",") + "}')"
	}
	if f.Since != nil {
		sql += " AND published_at >= '" + f.Since.Format(time.RFC3339Nano) + "'"
	}
	return bun.Safe(sql)
}

type ranked struct {
	ID    models.ID
	At    time.Time
	Likes int
}

// ranking is what the schema says TOP is: the 500 newest posts that match, by (likes + 1) · 2^(-age / 12 h).
func (r *rig) ranking(viewer models.ID, filter *models.FeedFilter) (ids []models.ID) {
	posts := query[ranked](r, `SELECT p.id, published_at AS at, (SELECT count(*) FROM likes WHERE post_id = p.id) AS likes
		FROM posts p WHERE author_id IN (SELECT followee_id FROM follows WHERE follower_id = ?) ?
		ORDER BY published_at DESC, p.id DESC LIMIT 500`, viewer, where(filter))
	asked := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	score := func(p ranked) float64 {
		return float64(p.Likes+1) * math.Exp2(-asked.Sub(p.At).Hours()/12)
	}
	slices.SortFunc(posts, func(a, b ranked) int { return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(b.ID, a.ID)) })
	for _, post := range posts {
		ids = append(ids, post.ID)
	}
	return ids
}

// liked makes 40 people, and 900 posts over nine days that up to half of them like; viewer 40 follows all who write.
func (r *rig) liked() {
	r.t.Helper()
	r.people(40)
	r.exec(`INSERT INTO posts (id, author_id, title, body, category, language, published_at)
		SELECT n, 1 + n % 20, '', '', (ARRAY['food', 'sport', 'travel'])[1 + n % 3], 'en',
			timestamptz '2026-03-01+00' + (n / 2 * 1733) * interval '1 second' FROM generate_series(1, 900) n`)
	r.exec(`INSERT INTO likes (post_id, profile_id) SELECT n, p FROM generate_series(1, 900) n, generate_series(1, 20) p
		WHERE p <= n * 7 % 23 - 3 OR n % 97 = 0`)
	r.exec("INSERT INTO follows (follower_id, followee_id) SELECT 40, n FROM generate_series(1, 20) n")
	r.exec("SELECT setval(pg_get_serial_sequence('posts', 'id'), 1000)")
}

func TestFeed_TopEqualsTheSchemasFormula(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.liked()
	for name, filter := range map[string]*models.FeedFilter{
		"no filter": nil, "two categories": {Categories: []string{"food", "sport"}}, "one": {Categories: []string{"travel"}},
		"since": {Since: ptr(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))}, "nothing": {Languages: []string{"de"}},
	} {
		want := r.ranking(40, filter)
		for _, size := range []int{49, 100} {
			if got := r.feed(40, size, filter, models.FeedOrderTop); !slices.Equal(got, want) {
				t.Errorf("%s, pages of %d: got %d posts %v, want %d %v", name, size, len(got), got, len(want), want)
			}
		}
	}
	if got := len(r.ranking(40, nil)); got != 500 {
		t.Errorf("candidates: got %d, want 500 of 900", got)
	}
	if newest := r.feed(40, 100, nil, models.FeedOrderNewest); slices.Equal(newest[:20], r.ranking(40, nil)[:20]) {
		t.Error("top: got the order of time, want the test to tell them apart")
	}
}

// Posts that appear while a reader goes from page to page neither repeat nor displace what the reader sees.
func TestFeed_TopStaysWhileOthersPublish(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.liked()
	want := r.ranking(40, nil)
	var got []models.ID
	var after *string
	for {
		key, err := NewFeedKey(40, ptr(100), after, nil, models.FeedOrderTop)
		r.noError(err)
		page := read(r, r.Feed, key)
		got = append(got, page.IDs()...)
		if !page.More {
			break
		}
		after = ptr(page.Cursor(page.Spots[len(page.Spots)-1]))
		_, err = r.PublishPost(t.Context(), 3, models.PublishPostInput{Title: "New", Body: "New", Category: "food", Language: "en"})
		r.noError(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("top: got %v, want %v", got, want)
	}
}

func TestFeed_OfNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(3)
	r.exec("INSERT INTO follows (follower_id, followee_id) VALUES (2, 3)") // who has written nothing
	for _, viewer := range []models.ID{1, 2, 999} {
		for _, order := range models.AllFeedOrder {
			page := read(r, r.Feed, FeedKey{Viewer: viewer, First: 20, Order: order})
			if len(page.Spots) != 0 || page.More {
				t.Errorf("feed of %v, %v: got %+v, want an empty page", viewer, order, page)
			}
		}
	}
	r.noError(r.Follow(t.Context(), 1, 3))
	id, err := r.PublishPost(t.Context(), 3, models.PublishPostInput{Title: "First", Body: "First", Category: "food", Language: "en"})
	r.noError(err)
	for _, viewer := range []models.ID{1, 2} {
		for _, order := range models.AllFeedOrder {
			page := read(r, r.Feed, FeedKey{Viewer: viewer, First: 20, Order: order})
			if got, want := page.IDs(), []models.ID{id}; !slices.Equal(got, want) {
				t.Errorf("feed of %v, %v, after the first post: got %v, want %v", viewer, order, got, want)
			}
		}
	}
}

// One operation may ask for feeds of all sorts under aliases, and several viewers' may be read together.
func TestFeed_AllSortsInOneStatement(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.network()
	var keys []FeedKey
	for _, order := range models.AllFeedOrder {
		for _, viewer := range []models.ID{4, 7, 30} {
			keys = append(keys, FeedKey{Viewer: viewer, First: 5, Order: order}, FeedKey{Viewer: viewer, First: 9, Order: order, Languages: "de"})
		}
	}
	r.ran()
	pages, err := r.Feed.Many(t.Context(), keys)
	r.noError(err)
	if got := r.ran(); len(got) != 1 {
		t.Errorf("statements for %d pages: got %q, want 1", len(keys), got)
	}
	for _, key := range keys {
		alone, err := r.loadFeeds(t.Context(), []FeedKey{key})
		r.noError(err)
		got, want := pages[key], alone[key]
		if got == nil || fmt.Sprint(got.Spots, got.More, got.Newest, got.List) != fmt.Sprint(want.Spots, want.More, want.Newest, want.List) {
			t.Errorf("%+v: got %+v, want %+v", key, got, want)
		}
	}
}

func TestFeed_TagsOfManyAuthors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(400)
	r.exec("INSERT INTO follows (follower_id, followee_id) SELECT 400, n FROM generate_series(1, 300) n")
	key := FeedKey{Viewer: 400, First: 20, Order: models.FeedOrderNewest}
	page := read(r, r.Feed, key)
	if got := len(page.Authors); got != maxAuthors {
		t.Errorf("authors of a page of 300: got %d, want %d", got, maxAuthors)
	}
	tags := r.Feed.Tags(key, page, true)
	slices.Sort(tags)
	if got := slices.Compact(tags); len(got) != 1+maxAuthors || !slices.Contains(got, "follows:400") {
		t.Errorf("tags: got %v, want follows:400 and %d of feeds", got, maxAuthors)
	}
}
