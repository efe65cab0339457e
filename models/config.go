package models

import (
	"time"

	"github.com/uptrace/bun"
)

// Config is one published version of the app's configuration on a platform. It never changes.
type Config struct {
	bun.BaseModel `bun:"table:configs,alias:c" cbor:"-"`

	Platform     Platform       `bun:",pk" cbor:"1,keyasint"`
	Version      int            `bun:",pk" cbor:"2,keyasint"`
	MinimumBuild string         `cbor:"3,keyasint"`
	Features     []*FeatureFlag `bun:"type:jsonb" cbor:"4,keyasint"`
	Values       []*ConfigValue `bun:"type:jsonb" cbor:"5,keyasint"`
	PublishedAt  time.Time      `bun:",nullzero,default:now()" cbor:"6,keyasint"`
	PublishedBy  *ID            `cbor:"-"`
}

// FeatureFlag is a feature, switched on or off.
type FeatureFlag struct {
	Name    string `json:"name" cbor:"1,keyasint"`
	Enabled bool   `json:"enabled" cbor:"2,keyasint,omitempty"`
}

// ConfigValue is a setting that the app reads.
type ConfigValue struct {
	Key   string `json:"key" cbor:"1,keyasint"`
	Value string `json:"value" cbor:"2,keyasint"`
}
