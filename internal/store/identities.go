package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// IdentityKey names someone at an identity provider.
type IdentityKey struct{ Issuer, Subject string }

// String is a hash, as in keys and tags.
func (k IdentityKey) String() string {
	sum := sha256.Sum256([]byte(k.Issuer + "\n" + k.Subject))
	return hex.EncodeToString(sum[:])
}

func (s *Store) identityKinds(p map[string]policy.Effective) {
	s.Identities = cache.NewKind(s.cache, cache.KindOptions[IdentityKey, *models.Identity]{
		Name: kindIdentity, TTL: p[kindIdentity].TTL, Key: IdentityKey.String, Load: s.loadIdentities,
		Proved:    true,            // as sessions are
		AbsentTTL: 5 * time.Second, // a provider may have far more people than ever come here
		Tags: func(key IdentityKey, _ *models.Identity, _ bool) []string {
			return append(tags(p[kindIdentity]), "identity:"+key.String())
		},
	})
}

func (s *Store) loadIdentities(ctx context.Context, keys []IdentityKey) (_ map[IdentityKey]*models.Identity, err error) {
	defer failed(&err, "%d identities", len(keys))
	pairs := make([][]string, len(keys))
	for i, key := range keys {
		pairs[i] = []string{key.Issuer, key.Subject}
	}
	var rows []*models.Identity
	err = s.db.NewSelect().Model(&rows).Where("(i.issuer, i.subject) IN ?", bun.Tuple(pairs)).Scan(ctx)
	if err != nil {
		return nil, err
	}
	return byKey(rows, func(i *models.Identity) IdentityKey { return IdentityKey{i.Issuer, i.Subject} }), nil
}

// NewIdentity makes a profile for someone at an identity provider, and sets its id. If another request has made one
// meanwhile it is that one.
func (s *Store) NewIdentity(ctx context.Context, key IdentityKey, p *models.Profile) (_ *models.Identity, err error) {
	defer failed(&err, "new identity %s", key)
	made := &models.Identity{Issuer: key.Issuer, Subject: key.Subject}
	err = s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(p).Returning("id").Exec(ctx); err != nil {
			return err
		}
		made.ProfileID = p.ID
		_, err := tx.NewInsert().Model(made).Exec(ctx)
		return err
	})
	if !broken(err, uniqueViolation, "identities_pkey") {
		return made, err
	}
	found, err := s.loadIdentities(ctx, []IdentityKey{key})
	if err != nil {
		return nil, err
	}
	return found[key], nil
}
