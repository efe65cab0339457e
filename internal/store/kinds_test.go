package store

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/cache"
	"freshet/models"
)

func TestKinds_PolicyOfTheSchema(t *testing.T) {
	t.Parallel()
	effective, err := schemaPolicy(t).Resolve(Kinds(), emitted())
	if err != nil {
		t.Fatal(err)
	}
	// The TTLs that the design gives each kind.
	for kind, bounds := range map[string][2]time.Duration{
		kindConfig: {time.Hour, 24 * time.Hour}, kindCurrentConfig: {time.Hour, 24 * time.Hour},
		kindFeed: {time.Minute, 5 * time.Minute}, kindPost: {5 * time.Minute, 5 * time.Minute},
		kindProfile: {5 * time.Minute, 15 * time.Minute}, kindSettings: {5 * time.Minute, 15 * time.Minute},
		kindProduct: {5 * time.Minute, 30 * time.Minute}, kindProducts: {5 * time.Minute, 30 * time.Minute},
		kindDictionary: {24 * time.Hour, 24 * time.Hour}, kindCurrentDictionary: {24 * time.Hour, 24 * time.Hour},
		kindTopPosts: {5 * time.Minute, 5 * time.Minute}, kindTopProfiles: {5 * time.Minute, 5 * time.Minute},
		kindStatistics:    {5 * time.Minute, 5 * time.Minute},
		kindProfileCounts: {30 * time.Second, 30 * time.Second}, kindPostCounts: {30 * time.Second, 30 * time.Second},
	} {
		if got := effective[kind].TTL; got < bounds[0] || got > bounds[1] {
			t.Errorf("TTL of %s: got %v, want %v to %v", kind, got, bounds[0], bounds[1])
		}
	}
	for _, kind := range []string{kindFeed, kindSettings, kindSession, kindSessions, kindLiked, kindFollows} {
		if got := effective[kind].Scope; got != "PRIVATE" {
			t.Errorf("scope of %s: got %s, want PRIVATE", kind, got)
		}
	}
}

func TestKinds_ListsEveryOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var fields []string
	store := reflect.ValueOf(r.Store).Elem()
	for i := range store.NumField() {
		if field := store.Field(i); store.Type().Field(i).IsExported() {
			fields = append(fields, field.Elem().FieldByName("Name").String())
		}
	}
	var listed []string
	for _, kind := range Kinds() {
		listed = append(listed, kind.Name)
	}
	slices.Sort(fields)
	slices.Sort(listed)
	if !slices.Equal(fields, listed) {
		t.Errorf("kinds of the Store: got %q, want those of Kinds, %q", fields, listed)
	}
}

func feedKey(t *testing.T, categories, languages []string) FeedKey {
	t.Helper()
	filter := &models.FeedFilter{Categories: categories, Languages: languages}
	key, err := NewFeedKey(1, nil, nil, filter, models.FeedOrderNewest)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeys_FilterOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	given := []string{"travel", "food", "food", "art-2"}
	one, other := feedKey(t, given, []string{"en", "de"}), feedKey(t, []string{"art-2", "travel", "food"}, []string{"de", "en", "de"})
	if one != other || one.key() != other.key() {
		t.Errorf("keys: got %q and %q, want one", one.key(), other.key())
	}
	if !slices.Equal(given, []string{"travel", "food", "food", "art-2"}) {
		t.Errorf("the client's filter: got %q, want it untouched", given)
	}
	if none, empty := feedKey(t, nil, nil), feedKey(t, []string{}, []string{}); none != empty {
		t.Errorf("keys without a filter: got %+v and %+v, want one", none, empty)
	}
	if key, err := NewFeedKey(1, nil, nil, nil, models.FeedOrderNewest); err != nil || key != feedKey(t, nil, nil) {
		t.Errorf("key of no filter: got %+v, %v, want that of an empty one", key, err)
	}
}

func TestKeys_FilterRefusals(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "a,b", "a:b", "Food", "f\x00", "f\xff", "a b", "ä", "a/b", strings.Repeat("a", 33), "'", "first=1", "a%2Cb"} {
		for argument, filter := range map[string]*models.FeedFilter{
			"filter.categories": {Categories: []string{"food", word}}, "filter.languages": {Languages: []string{word}},
		} {
			_, err := NewFeedKey(1, nil, nil, filter, models.FeedOrderNewest)
			wantBadArgument(t, fmt.Sprintf("%q", word), err, argument)
		}
	}
	many := strings.Split(strings.Repeat("a ", 21), " ")[:21]
	_, err := NewFeedKey(1, nil, nil, &models.FeedFilter{Languages: many}, models.FeedOrderNewest)
	wantBadArgument(t, "21 languages", err, "filter.languages")
	if _, err := NewFeedKey(1, nil, nil, &models.FeedFilter{Languages: many[:20]}, models.FeedOrderNewest); err != nil {
		t.Errorf("20 languages: got %v, want no error", err)
	}
}

// Different questions never share an entry: no value of one part can be mistaken for another part.
func TestKeys_NeverShared(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seen := map[string]string{}
	note := func(kind, key string, of any) {
		key, what := kind+":"+key, fmt.Sprintf("%s %+v", kind, of)
		if other, taken := seen[key]; taken && other != what {
			t.Errorf("key %q: got it for %s and %s, want one each", key, other, what)
		}
		seen[key] = what
	}
	words := []string{"", "en", "en,food", "categories", "first", "user"}
	for _, viewer := range []models.ID{1, 11, 111} {
		for _, first := range []int{1, 11, 20} {
			for _, order := range models.AllFeedOrder {
				for _, categories := range words {
					for _, languages := range words {
						for _, since := range []int64{0, 1, -1} {
							for _, after := range []Cursor{{}, {Spot: Spot{1, 1}}, {Spot: Spot{1, 1}, Newest: Spot{1, 1}}} {
								key := FeedKey{viewer, first, order, categories, languages, since, after}
								note(r.Feed.Name, r.Feed.Key(key), key)
							}
						}
					}
				}
			}
			for _, after := range []Cursor{{}, {Spot: Spot{1, 1}}, {Spot: Spot{1, 2}}} {
				for _, kind := range []*cache.Kind[ListKey, *Page]{r.AuthorPosts, r.Followers, r.Following} {
					key := ListKey{List(kind.Name), viewer, first, after}
					note(kind.Name, kind.Key(key), key)
				}
			}
			note(r.Likes.Name, r.Likes.Key(Pair{viewer, models.ID(first)}), Pair{viewer, models.ID(first)})
			note(r.Follows.Name, r.Follows.Key(Pair{viewer, models.ID(first)}), Pair{viewer, models.ID(first)})
		}
		note(r.Settings.Name, r.Settings.Key(viewer), viewer)
		note(r.Sessions.Name, r.Sessions.Key(viewer), viewer)
		for _, platform := range models.AllPlatform {
			note(r.Configs.Name, r.Configs.Key(ConfigKey{platform, int(viewer)}), ConfigKey{platform, int(viewer)})
		}
	}
	for _, handle := range []string{"ann", "ann:x", "ann%3Ax", "ann*", "ann\n", "ann ", "ann+", "a/n", "ä", "\x00", "\xff", "\ufffd", ""} {
		key := r.Handles.Key(handle)
		note(r.Handles.Name, key, handle)
		if strings.ContainsAny(key, ": \r\n\x00") {
			t.Errorf("key of the handle %q: got %q, want what separates nothing", handle, key)
		}
		if back, err := url.QueryUnescape(key); err != nil || back != handle {
			t.Errorf("key of the handle %q: got %q, which reads %q", handle, key, back)
		}
	}
}

// A viewer's entries carry the viewer, and no secret is a key.
func TestKeys_Form(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hash := TokenHash(sha256.Sum256([]byte("token")))
	for got, want := range map[string]string{
		r.Feed.Key(FeedKey{Viewer: 42, First: 20, Order: models.FeedOrderNewest}):                                           "user:42:first=20",
		r.Feed.Key(FeedKey{Viewer: 42, First: 5, Order: models.FeedOrderTop, Categories: "a,b", Languages: "en", Since: 7}): "user:42:order=top:categories=a,b:languages=en:since=7:first=5",
		r.Settings.Key(42):                                          "user:42",
		r.Sessions.Key(42):                                          "user:42",
		r.Likes.Key(Pair{42, 17}):                                   "user:42:17",
		r.Session.Key(hash):                                         fmt.Sprintf("%x", hash[:]),
		r.Configs.Key(ConfigKey{models.PlatformIos, 3}):             "ios:v3",
		r.CurrentConfigs.Key(models.PlatformAndroid):                "android",
		r.Followers.Key(ListKey{List: Followers, Of: 9, First: 20}): "9:first=20",
	} {
		if got != want {
			t.Errorf("key: got %q, want %q", got, want)
		}
	}
}

// Every type of tag that the store's kinds rely on is written by a trigger of the real schema.
func TestEmitted_ByTheTriggers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.foreign.ExecContext(t.Context(), `
		INSERT INTO profiles (id, handle, name) VALUES (1, 'ann', 'Ann'), (2, 'bob', 'Bob');
		INSERT INTO accounts (profile_id, password_hash) VALUES (1, '');
		INSERT INTO settings (profile_id) VALUES (1);
		INSERT INTO sessions (token_hash, profile_id, expires_at) VALUES (sha256('x'), 1, now());
		INSERT INTO posts (id, author_id, title, body, category, language) VALUES (10, 1, 't', 'b', 'food', 'en');
		INSERT INTO follows (follower_id, followee_id) VALUES (2, 1);
		INSERT INTO likes (post_id, profile_id) VALUES (10, 2);
		INSERT INTO configs (platform, version, minimum_build, features, values) VALUES ('IOS', 1, '1', '[]', '[]');
		INSERT INTO identities (issuer, subject, profile_id) VALUES ('https://id.example', 'ann', 1);
		INSERT INTO products (name, category, price, currency) VALUES ('n', 'toys', 1, 'EUR');
		UPDATE countries SET name = 'x' WHERE code = 'AR'`); err != nil {
		t.Fatal(err)
	}
	noted := query[string](r, "SELECT DISTINCT split_part(tag, ':', 1) FROM changelog.outbox")
	for _, prefix := range emitted() {
		if !slices.Contains(noted, prefix) {
			t.Errorf("tags %s:…: got none from the triggers, which note %q", prefix, noted)
		}
	}
	if again := emitted(); len(slices.Compact(slices.Sorted(slices.Values(again)))) != len(again) {
		t.Errorf("emitted: got %q, want each once", again)
	}
}

// A tag is "type:rest", with nothing left to fill in.
func TestTags_Form(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	form := regexp.MustCompile(`^[a-z]+:[^{}\s]+$`)
	for name, tags := range map[string][]string{
		"profile": r.Profiles.Tags(1, nil, false), "handle": r.Handles.Tags("ann", 1, true), "post": r.Posts.Tags(1, nil, true),
		"liked": r.Likes.Tags(Pair{1, 2}, true, true), "follows": r.Follows.Tags(Pair{1, 2}, true, true),
		"feed":    r.Feed.Tags(FeedKey{Viewer: 1}, &Page{Authors: []models.ID{2, 3}}, true),
		"absent":  r.Feed.Tags(FeedKey{Viewer: 1}, nil, false),
		"list":    r.Followers.Tags(ListKey{List: Followers, Of: 1}, nil, true),
		"setting": r.Settings.Tags(1, nil, true), "sessions": r.Sessions.Tags(1, nil, true),
		"session": r.Session.Tags(TokenHash{1}, &models.Session{ProfileID: 1}, true), "no session": r.Session.Tags(TokenHash{1}, nil, false),
		"config": r.Configs.Tags(ConfigKey{models.PlatformIos, 1}, nil, true), "current": r.CurrentConfigs.Tags(models.PlatformIos, 1, true),
		"product": r.Products.Tags(1, nil, true), "products": r.ProductPages.Tags(ProductsKey{}, nil, true),
		"toys":            r.ProductPages.Tags(ProductsKey{Category: "toys"}, nil, true),
		"dictionary":      r.Dictionaries.Tags(DictionaryKey{models.DictionaryNameCountries, 1}, nil, true),
		"its version now": r.CurrentDictionaries.Tags(models.DictionaryNameCountries, 1, true),
	} {
		if len(tags) == 0 {
			t.Errorf("%s: got no tags, want some", name)
		}
		for _, tag := range tags {
			prefix, _, _ := strings.Cut(tag, ":")
			if !form.MatchString(tag) || !slices.Contains(emitted(), prefix) {
				t.Errorf("%s: got the tag %q, want type:rest of a type that triggers emit", name, tag)
			}
		}
	}
	if r.ProfileCounts.Tags != nil || r.PostCounts.Tags != nil || r.TopPosts.Tags != nil || r.TopProfiles.Tags != nil ||
		r.Statistics.Tags != nil {
		t.Error("counts and aggregates: got tags, want TTL alone")
	}
}
