package store

import (
	"fmt"
	"slices"
	"testing"

	"freshet/cache"
	"freshet/models"
)

// network makes 30 people who write and follow, with many rows at the same moment: 3 is popular, 4 follows many, 30 does
// nothing at all.
func (r *rig) network() {
	r.t.Helper()
	r.people(30)
	r.exec(`INSERT INTO posts (author_id, title, body, category, language, published_at)
		SELECT 1 + n % 29, 'Post ' || n, 'Text', (ARRAY['food', 'sport', 'travel'])[1 + n % 3], (ARRAY['en', 'de'])[1 + n / 7 % 2],
			timestamptz '2026-03-01 12:00:00.000001+00' + (n / 5) * interval '1 second' FROM generate_series(1, 400) n`)
	r.exec(`INSERT INTO follows (follower_id, followee_id, followed_at)
		SELECT a, b, timestamptz '2026-03-01 12:00:00.5+00' + (a * b % 7) * interval '1 microsecond'
		FROM generate_series(1, 29) a, generate_series(1, 29) b
		WHERE a <> b AND (b = 3 OR a = 4 OR a % 5 = b % 5)`)
}

// traverse reads a list to its end in pages of a size.
func traverse[K comparable](
	r *rig, kind *cache.Kind[K, *Page], size int, newKey func(first *int, after *string) (K, error),
) (ids []models.ID) {
	r.t.Helper()
	var after *string
	for {
		key, err := newKey(&size, after)
		if err != nil {
			r.t.Fatal(err)
		}
		page := read(r, kind, key)
		if len(page.Spots) > size || (page.More && len(page.Spots) < size) {
			r.t.Fatalf("page of %v: got %d entries, more %v, want %d at most", key, len(page.Spots), page.More, size)
		}
		ids = append(ids, page.IDs()...)
		if !page.More {
			return ids
		}
		after = ptr(page.Cursor(page.Spots[len(page.Spots)-1]))
	}
}

func TestLists_TraversedByCursors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.network()
	for _, list := range []struct {
		name  List
		kind  *cache.Kind[ListKey, *Page]
		query string
	}{
		{AuthorPosts, r.AuthorPosts, "SELECT id FROM posts WHERE author_id = ? ORDER BY published_at DESC, id DESC"},
		{Followers, r.Followers, "SELECT follower_id FROM follows WHERE followee_id = ? ORDER BY followed_at DESC, follower_id DESC"},
		{Following, r.Following, "SELECT followee_id FROM follows WHERE follower_id = ? ORDER BY followed_at DESC, followee_id DESC"},
	} {
		for _, of := range []models.ID{3, 4, 30, 999} {
			want := query[models.ID](r, list.query, of)
			if of < 30 && len(want) < 5 {
				t.Fatalf("%s of %v: the test has %d entries, want more", list.name, of, len(want))
			}
			for _, size := range []int{1, 2, 7, max(len(want), 1), 100} {
				got := traverse(r, list.kind, size, func(first *int, after *string) (ListKey, error) {
					return NewListKey(list.name, of, first, after)
				})
				if !slices.Equal(got, want) {
					t.Errorf("%s of %v in pages of %d: got %v, want %v", list.name, of, size, got, want)
				}
			}
		}
	}
}

func TestLists_SeveralInOneStatement(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.network()
	var keys []ListKey
	for of := range models.ID(30) {
		keys = append(keys, ListKey{List: Followers, Of: of + 1, First: 3})
	}
	r.ran()
	pages, err := r.Followers.Many(t.Context(), keys)
	r.noError(err)
	if got := r.ran(); len(got) != 1 {
		t.Errorf("statements for %d lists: got %q, want 1", len(keys), got)
	}
	for _, key := range keys {
		want := query[models.ID](r, "SELECT follower_id FROM follows WHERE followee_id = ? ORDER BY followed_at DESC, follower_id DESC LIMIT 3", key.Of)
		if got := pages[key]; got == nil || !slices.Equal(got.IDs(), want) {
			t.Errorf("followers of %v: got %+v, want %v", key.Of, got, want)
		}
	}
}

func TestLists_PageSize(t *testing.T) {
	t.Parallel()
	for _, first := range []int{-1, 0, 101, 1000} {
		_, err := NewListKey(Followers, 1, &first, nil)
		wantBadArgument(t, fmt.Sprint("list, first ", first), err, "first")
		_, err = NewFeedKey(1, &first, nil, nil, models.FeedOrderNewest)
		wantBadArgument(t, fmt.Sprint("feed, first ", first), err, "first")
	}
	for _, first := range []*int{ptr(1), ptr(100), nil} {
		want := 20
		if first != nil {
			want = *first
		}
		list, err := NewListKey(Followers, 1, first, nil)
		feed, feedErr := NewFeedKey(1, first, nil, nil, models.FeedOrderTop)
		if err != nil || feedErr != nil || list.First != want || feed.First != want {
			t.Errorf("page size: got %d, %v and %d, %v, want %d", list.First, err, feed.First, feedErr, want)
		}
	}
}

// A cursor continues the list that it was taken from, and no other.
func TestLists_CursorsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	food := &models.FeedFilter{Categories: []string{"food"}}
	type taker struct {
		name  string
		after func(after *string) (interface{ fingerprint() uint32 }, error)
		top   bool
	}
	list := func(l List, of models.ID) taker {
		return taker{fmt.Sprint(l, of), func(a *string) (interface{ fingerprint() uint32 }, error) { return NewListKey(l, of, nil, a) }, false}
	}
	feed := func(name string, viewer models.ID, f *models.FeedFilter, o models.FeedOrder) taker {
		return taker{name, func(a *string) (interface{ fingerprint() uint32 }, error) {
			return NewFeedKey(viewer, nil, a, f, o)
		}, o == models.FeedOrderTop}
	}
	takers := []taker{
		list(AuthorPosts, 1), list(AuthorPosts, 2), list(Followers, 1), list(Following, 1),
		feed("feed", 1, nil, models.FeedOrderNewest), feed("another's feed", 2, nil, models.FeedOrderNewest),
		feed("food", 1, food, models.FeedOrderNewest), feed("food in a language", 1, &models.FeedFilter{Categories: []string{"food"}, Languages: []string{"en"}}, models.FeedOrderNewest),
		feed("language food", 1, &models.FeedFilter{Languages: []string{"food"}}, models.FeedOrderNewest),
		feed("top", 1, nil, models.FeedOrderTop), feed("top food", 1, food, models.FeedOrderTop),
	}
	for _, from := range takers {
		key, err := from.after(nil)
		if err != nil {
			t.Fatal(err)
		}
		cursor := Cursor{Spot: Spot{Rank: 1_800_000_000_000_000, ID: 9}}
		if from.top {
			cursor.Newest = cursor.Spot
		}
		text := cursor.encode(key.fingerprint())
		for _, to := range takers {
			_, err := to.after(&text)
			if from.name == to.name && err != nil {
				t.Errorf("cursor of %s there: got %v, want no error", from.name, err)
			}
			if from.name != to.name {
				wantBadArgument(t, fmt.Sprintf("cursor of %s for %s", from.name, to.name), err, "after")
			}
		}
	}
}
