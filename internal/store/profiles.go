package store

import (
	"context"
	"net/url"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

func (s *Store) profileKinds(p map[string]policy.Effective) {
	s.Profiles = cache.NewKind(s.cache, cache.KindOptions[models.ID, *models.Profile]{
		Name: kindProfile, TTL: p[kindProfile].TTL, Key: models.ID.String, Load: s.loadProfiles,
		Tags: func(id models.ID, _ *models.Profile, _ bool) []string {
			return tags(p[kindProfile], "$key.id", id.String())
		},
	})
	s.Handles = cache.NewKind(s.cache, cache.KindOptions[string, models.ID]{
		Name: kindHandle, TTL: p[kindHandle].TTL, Key: url.QueryEscape, Load: s.loadHandles,
		Tags: func(handle string, _ models.ID, _ bool) []string {
			return tags(p[kindHandle], "$args.handle", handle)
		},
	})
	s.ProfileCounts = cache.NewKind(s.cache, cache.KindOptions[models.ID, *models.ProfileCounts]{
		Name: kindProfileCounts, TTL: p[kindProfileCounts].TTL, Grace: grace, Key: models.ID.String,
		Load: s.loadProfileCounts,
	})
	s.Follows = cache.NewKind(s.cache, cache.KindOptions[Pair, bool]{
		Name: kindFollows, TTL: p[kindFollows].TTL, Key: Pair.key, Load: s.loadFollows,
		Tags: func(pair Pair, _, _ bool) []string { return tags(p[kindFollows], "$viewer.id", pair.Viewer.String()) },
	})
}

func (p Pair) key() string { return "user:" + p.Viewer.String() + ":" + p.Of.String() }

func (s *Store) loadProfiles(ctx context.Context, ids []models.ID) (_ map[models.ID]*models.Profile, err error) {
	defer failed(&err, "profiles %v", ids)
	var rows []*models.Profile
	if err := s.db.NewSelect().Model(&rows).Where("p.id IN ?", bun.Tuple(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	return byKey(rows, func(p *models.Profile) models.ID { return p.ID }), nil
}

func (s *Store) loadHandles(ctx context.Context, handles []string) (_ map[string]models.ID, err error) {
	defer failed(&err, "handles %q", handles)
	var rows []*models.Profile
	err = s.db.NewSelect().Model(&rows).Column("id", "handle").Where("p.handle IN ?", bun.Tuple(handles)).Scan(ctx)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]models.ID, len(rows))
	for _, row := range rows {
		ids[row.Handle] = row.ID
	}
	return ids, nil
}

// loadProfileCounts has zeros for a profile that nothing was counted of.
func (s *Store) loadProfileCounts(ctx context.Context, ids []models.ID) (_ map[models.ID]*models.ProfileCounts, err error) {
	defer failed(&err, "profile counts %v", ids)
	var rows []*models.ProfileCounts
	if err := s.db.NewSelect().Model(&rows).Where("c.profile_id IN ?", bun.Tuple(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	counts := byKey(rows, func(c *models.ProfileCounts) models.ID { return c.ProfileID })
	for _, id := range ids {
		if counts[id] == nil {
			counts[id] = &models.ProfileCounts{ProfileID: id}
		}
	}
	return counts, nil
}

func (s *Store) loadFollows(ctx context.Context, pairs []Pair) (_ map[Pair]bool, err error) {
	defer failed(&err, "follows %v", pairs)
	return s.loadPairs(ctx, "follows", "follower_id", "followee_id", pairs)
}

// loadPairs tells which pairs of a viewer and another id stand in a table.
func (s *Store) loadPairs(ctx context.Context, table, viewer, of string, pairs []Pair) (map[Pair]bool, error) {
	wanted := make([][]models.ID, len(pairs))
	for i, pair := range pairs {
		wanted[i] = []models.ID{pair.Viewer, pair.Of}
	}
	var rows []Pair
	err := s.db.NewSelect().Table(table).
		ColumnExpr("? AS viewer, ? AS of", bun.Ident(viewer), bun.Ident(of)).
		Where("(?, ?) IN ?", bun.Ident(viewer), bun.Ident(of), bun.Tuple(wanted)).
		Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	held := make(map[Pair]bool, len(pairs))
	for _, pair := range pairs {
		held[pair] = false
	}
	for _, pair := range rows {
		held[pair] = true
	}
	return held, nil
}

func byKey[K comparable, V any](rows []*V, key func(*V) K) map[K]*V {
	m := make(map[K]*V, len(rows))
	for _, row := range rows {
		m[key(row)] = row
	}
	return m
}

// UpdateProfile changes what in says of a profile.
func (s *Store) UpdateProfile(ctx context.Context, id models.ID, in models.UpdateProfileInput) (err error) {
	defer failed(&err, "update profile %v", id)
	q := s.db.NewUpdate().Table("profiles").Where("id = ?", id)
	changes := setter{q: q}
	if name, ok := in.Name.ValueOK(); ok {
		changes.set("name", *name)
	}
	if bio, ok := in.Bio.ValueOK(); ok {
		changes.set("bio", deref(bio))
	}
	if avatar, ok := in.AvatarURL.ValueOK(); ok {
		changes.set("avatar_url", avatar)
	}
	return s.update(ctx, &changes)
}

// maxFollows bounds what the feed has to merge.
const maxFollows = 5000

// Follow makes a viewer follow a profile; it is no error if they do.
func (s *Store) Follow(ctx context.Context, viewer, of models.ID) (err error) {
	defer failed(&err, "follow %v by %v", of, viewer)
	if viewer == of {
		return models.Refuse(models.UserErrorCodeInvalid, "You can't follow yourself.", "input", "profileId")
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		// The row of the follower is locked, so that two requests at once can't both be the last that is allowed.
		if _, err := tx.ExecContext(ctx, "SELECT 1 FROM profiles WHERE id = ? FOR NO KEY UPDATE", viewer); err != nil {
			return err
		}
		count, err := tx.NewSelect().Table("follows").Where("follower_id = ?", viewer).Where("followee_id <> ?", of).Count(ctx)
		if err != nil {
			return err
		}
		if count >= maxFollows {
			return models.Refuse(models.UserErrorCodeLimitReached, "You follow 5000 profiles, the most there can be.",
				"input", "profileId")
		}
		_, err = tx.ExecContext(ctx,
			"INSERT INTO follows (follower_id, followee_id) VALUES (?, ?) ON CONFLICT DO NOTHING", viewer, of)
		return refuseForeign(err, "follows_followee_id_fkey", "There is no such profile.", "input", "profileId")
	}, func(ctx context.Context) { s.ProfileCounts.Forget(ctx, viewer, of) })
}

// Unfollow makes a viewer no longer follow a profile; it is no error if they did not.
func (s *Store) Unfollow(ctx context.Context, viewer, of models.ID) (err error) {
	defer failed(&err, "unfollow %v by %v", of, viewer)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM follows WHERE follower_id = ? AND followee_id = ?", viewer, of)
		return err
	}, func(ctx context.Context) { s.ProfileCounts.Forget(ctx, viewer, of) })
}
