package store

import (
	"strings"
	"time"

	"freshet/internal/policy"
)

// The kinds by their names in keys and metrics.
const (
	kindProfile           = "profile"
	kindHandle            = "handle"
	kindProfileCounts     = "profile-counts"
	kindPost              = "post"
	kindPostCounts        = "post-counts"
	kindLiked             = "liked"
	kindFollows           = "follows"
	kindFeed              = "feed"
	kindAuthorPosts       = "author-posts"
	kindFollowers         = "followers"
	kindFollowing         = "following"
	kindSettings          = "settings"
	kindSession           = "session"
	kindSessions          = "sessions"
	kindIdentity          = "identity"
	kindConfig            = "config"
	kindCurrentConfig     = "config-current"
	kindProduct           = "product"
	kindProducts          = "products"
	kindDictionary        = "dictionary"
	kindCurrentDictionary = "dictionary-current"
	kindTopPosts          = "top-posts"
	kindTopProfiles       = "top-profiles"
	kindStatistics        = "statistics"
)

// Kinds lists every kind and the places of the schema whose policy it follows.
func Kinds() []policy.Kind {
	return []policy.Kind{
		{Name: kindProfile, Follows: []string{"Profile"}},
		{Name: kindHandle, Follows: []string{"Query.profileByHandle"}},
		{Name: kindProfileCounts, Follows: []string{"ProfileCounts"}},
		{Name: kindPost, Follows: []string{"Post"}},
		{Name: kindPostCounts, Follows: []string{"PostCounts"}},
		{Name: kindLiked, Follows: []string{"Post.viewerHasLiked"}},
		{Name: kindFollows, Follows: []string{"Profile.viewerFollows"}},
		{Name: kindFeed, Follows: []string{"Query.feed"}},
		{Name: kindAuthorPosts, Follows: []string{"Profile.posts"}},
		{Name: kindFollowers, Follows: []string{"Profile.followers"}},
		{Name: kindFollowing, Follows: []string{"Profile.following"}},
		{Name: kindSettings, Follows: []string{"Settings"}},
		{Name: kindSession, Follows: []string{"Query.viewer"}},
		{Name: kindSessions, Follows: []string{"Viewer.sessions"}},
		{Name: kindIdentity, Follows: []string{"Query.viewer"}},
		{Name: kindConfig, Follows: []string{"Config"}},
		{Name: kindCurrentConfig, Follows: []string{"Query.config"}},
		{Name: kindProduct, Follows: []string{"Product"}},
		{Name: kindProducts, Follows: []string{"Query.products"}},
		{Name: kindDictionary, Follows: []string{"Dictionary"}},
		{Name: kindCurrentDictionary, Follows: []string{"Query.dictionary"}},
		{Name: kindTopPosts, Follows: []string{"Query.topPosts"}},
		{Name: kindTopProfiles, Follows: []string{"Query.topProfiles"}},
		{Name: kindStatistics, Follows: []string{"Statistics"}},
	}
}

// Effective is what a schema's policy means for the kinds. It fails if it can't hold for one.
func Effective(p *policy.Table) (map[string]policy.Effective, error) {
	return p.Resolve(Kinds(), emitted())
}

// grace is how long counts and aggregates that have expired may still be served, marked stale, while PostgreSQL is away.
const grace = 10 * time.Minute

// emitted are the types of tags that the triggers of the schema emit.
func emitted() []string {
	return []string{
		"profile", "handle", "post", "posts", "feed", "follows", "followers", "liked", "settings", "session", "sessions",
		"account", "identity", "config", "product", "products", "dictionary",
	}
}

// tags fills in a kind's templates, with values by the names that they use, in pairs.
func tags(e policy.Effective, values ...string) []string {
	filled := make([]string, len(e.Tags), len(e.Tags)+1)
	for i, template := range e.Tags {
		filled[i] = policy.Fill(template, func(name string) string {
			for i := 0; i < len(values); i += 2 {
				if values[i] == name {
					return strings.ToLower(values[i+1])
				}
			}
			return ""
		})
	}
	return filled
}
