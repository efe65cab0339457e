package store

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"freshet/models"
)

// settle is how long a change may take through the log before an entry that differs from it counts as inconsistent: the
// life of a grant, and as much again.
const settle = time.Second

// Verify compares the entry that a tag of a change names with PostgreSQL. Checked is false if it names none, or no entry
// is there.
func (s *Store) Verify(ctx context.Context, tag string) (checked, consistent bool, err error) {
	kind, rest, _ := strings.Cut(tag, ":")
	id, _ := strconv.ParseInt(rest, 10, 64)
	switch kind {
	case "profile":
		return s.Profiles.Verify(ctx, models.ID(id), settle)
	case "handle":
		return s.Handles.Verify(ctx, rest, settle)
	case "post":
		return s.Posts.Verify(ctx, models.ID(id), settle)
	case "posts":
		return s.AuthorPosts.Verify(ctx, ListKey{List: AuthorPosts, Of: models.ID(id), First: usualPage}, settle)
	case "follows":
		key := FeedKey{Viewer: models.ID(id), First: usualPage, Order: models.FeedOrderNewest}
		return s.Feed.Verify(ctx, key, settle)
	case "settings":
		return s.Settings.Verify(ctx, models.ID(id), settle)
	case "config":
		return s.CurrentConfigs.Verify(ctx, models.Platform(strings.ToUpper(rest)), settle)
	case "product":
		return s.Products.Verify(ctx, models.ID(id), settle)
	case "products":
		return s.ProductPages.Verify(ctx, ProductsKey{Category: strings.TrimLeft(rest, "-"), First: usualPage}, settle)
	case "dictionary":
		return s.CurrentDictionaries.Verify(ctx, models.DictionaryName(strings.ToUpper(rest)), settle)
	case "session":
		var hash TokenHash
		if n, err := hex.Decode(hash[:], []byte(rest)); err != nil || n != len(hash) {
			return false, false, nil
		}
		return s.Session.Verify(ctx, hash, settle)
	}
	return false, false, nil
}
