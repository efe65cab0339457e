package store

import (
	"context"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// ConfigKey is one version of a platform's configuration. A version never changes: which one is current is another,
// small kind, and a new version is read under a new key.
type ConfigKey struct {
	Platform models.Platform
	Version  int
}

func (k ConfigKey) key() string { return platformKey(k.Platform) + ":v" + strconv.Itoa(k.Version) }

func platformKey(p models.Platform) string { return strings.ToLower(p.String()) }

func (s *Store) configKinds(p map[string]policy.Effective) {
	s.Configs = cache.NewKind(s.cache, cache.KindOptions[ConfigKey, *models.Config]{
		Name: kindConfig, TTL: p[kindConfig].TTL, Key: ConfigKey.key, Load: s.loadConfigs,
		Tags: func(key ConfigKey, _ *models.Config, _ bool) []string {
			return tags(p[kindConfig], "$key.platform", key.Platform.String())
		},
	})
	s.CurrentConfigs = cache.NewKind(s.cache, cache.KindOptions[models.Platform, int]{
		Name: kindCurrentConfig, TTL: p[kindCurrentConfig].TTL, Key: platformKey, Load: s.loadCurrentConfigs,
		Tags: func(platform models.Platform, _ int, _ bool) []string {
			return tags(p[kindCurrentConfig], "$args.platform", platform.String())
		},
	})
}

func (s *Store) loadConfigs(ctx context.Context, keys []ConfigKey) (_ map[ConfigKey]*models.Config, err error) {
	defer failed(&err, "configs %v", keys)
	wanted := make([][]any, len(keys))
	for i, key := range keys {
		wanted[i] = []any{key.Platform, key.Version}
	}
	var rows []*models.Config
	if err := s.db.NewSelect().Model(&rows).Where("(c.platform, c.version) IN ?", bun.Tuple(wanted)).Scan(ctx); err != nil {
		return nil, err
	}
	return byKey(rows, func(c *models.Config) ConfigKey { return ConfigKey{c.Platform, c.Version} }), nil
}

func (s *Store) loadCurrentConfigs(ctx context.Context, platforms []models.Platform) (_ map[models.Platform]int, err error) {
	defer failed(&err, "current configs %v", platforms)
	return latest(ctx, s.db, "platform", platforms, func(c *models.Config) (models.Platform, int) { return c.Platform, c.Version })
}

// latest reads the highest version of each key in a table whose rows are versions and never change.
func latest[K comparable, R any](ctx context.Context, db bun.IDB, column string, keys []K, of func(*R) (K, int)) (map[K]int, error) {
	var rows []*R
	err := db.NewSelect().Model(&rows).ColumnExpr("?, max(version) AS version", bun.Ident(column)).
		Where("? IN ?", bun.Ident(column), bun.Tuple(keys)).Group(column).Scan(ctx)
	if err != nil {
		return nil, err
	}
	versions := make(map[K]int, len(rows))
	for _, row := range rows {
		key, version := of(row)
		versions[key] = version
	}
	return versions, nil
}

// PublishConfig adds the next version of a platform's configuration.
func (s *Store) PublishConfig(ctx context.Context, by models.ID, in models.PublishConfigInput) (err error) {
	defer failed(&err, "publish config of %v by %v", in.Platform, by)
	config := &models.Config{
		Platform: in.Platform, MinimumBuild: in.MinimumBuild, PublishedBy: &by,
		Features: make([]*models.FeatureFlag, len(in.Features)), Values: make([]*models.ConfigValue, len(in.Values)),
	}
	for i, f := range in.Features {
		config.Features[i] = &models.FeatureFlag{Name: f.Name, Enabled: f.Enabled}
	}
	for i, v := range in.Values {
		config.Values[i] = &models.ConfigValue{Key: v.Key, Value: v.Value}
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		// Publications of a platform go one after the other, or two could take the same number.
		const lock = "SELECT pg_advisory_xact_lock(hashtext('freshet config'), hashtext(?))"
		if _, err := tx.ExecContext(ctx, lock, in.Platform.String()); err != nil {
			return err
		}
		current := 0
		err := tx.NewSelect().Table("configs").ColumnExpr("coalesce(max(version), 0)").
			Where("platform = ?", in.Platform).Scan(ctx, &current)
		if err != nil {
			return err
		}
		if base := in.BasedOnVersion.Value(); base != nil && *base != current {
			return models.Refuse(models.UserErrorCodeConflict,
				"Version "+strconv.Itoa(current)+" was published since.", "input", "basedOnVersion")
		}
		config.Version = current + 1
		_, err = tx.NewInsert().Model(config).Exec(ctx)
		return err
	})
}
