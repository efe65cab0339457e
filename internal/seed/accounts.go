package seed

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"freshet/models"
)

// configFile lists the versions of each platform's configuration, oldest first.
//
//go:embed configs.json
var configFile embed.FS

type config struct {
	Platform     models.Platform
	MinimumBuild string
	Features     []*models.FeatureFlag
	Values       []*models.ConfigValue
}

// writeConfigs publishes the versions a fortnight apart, the last one a day before now.
func writeConfigs(ctx context.Context, tx pgx.Tx, now time.Time) error {
	text, err := configFile.ReadFile("configs.json")
	if err != nil {
		return fmt.Errorf("configs: %w", err)
	}
	var platforms [][]config
	if err := json.Unmarshal(text, &platforms); err != nil {
		return fmt.Errorf("configs.json: %w", err)
	}
	for _, versions := range platforms {
		for i, c := range versions {
			_, err := tx.Exec(ctx, `
				INSERT INTO configs (platform, version, minimum_build, features, values, published_at, published_by)
				VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				string(c.Platform), i+1, c.MinimumBuild, c.Features, c.Values,
				now.AddDate(0, 0, -1-14*(len(versions)-1-i)), adminID)
			if err != nil {
				return fmt.Errorf("config %s %d: %w", c.Platform, i+1, err)
			}
		}
	}
	return nil
}

// writeAccounts lets demo and admin sign in.
func writeAccounts(ctx context.Context, tx pgx.Tx, o Options) error {
	for _, a := range []struct {
		id     int
		hash   string
		scopes []string
	}{
		{demoID, o.DemoPasswordHash, []string{}},
		{adminID, o.AdminPasswordHash, []string{"admin", "developer"}},
	} {
		if a.hash == "" {
			continue
		}
		_, err := tx.Exec(ctx, `
			WITH account AS (INSERT INTO accounts (profile_id, password_hash, scopes) VALUES ($1, $2, $3))
			INSERT INTO settings (profile_id) VALUES ($1)`, a.id, a.hash, a.scopes)
		if err != nil {
			return fmt.Errorf("account of profile %d: %w", a.id, err)
		}
	}
	return nil
}
