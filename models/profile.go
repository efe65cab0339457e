package models

import (
	"time"

	"github.com/uptrace/bun"
)

// Profile is what everyone sees of a person or organisation.
type Profile struct {
	bun.BaseModel `bun:"table:profiles,alias:p" cbor:"-"`

	ID        ID        `bun:",pk,autoincrement" cbor:"1,keyasint"`
	Handle    string    `cbor:"2,keyasint"`
	Name      string    `cbor:"3,keyasint"`
	Bio       string    `cbor:"4,keyasint,omitempty"`
	AvatarURL *string   `cbor:"5,keyasint,omitempty"`
	JoinedAt  time.Time `bun:",nullzero,default:now()" cbor:"6,keyasint"`
}

// ProfileCounts is kept by triggers beside the rows it counts.
type ProfileCounts struct {
	bun.BaseModel `bun:"table:profile_counts,alias:c" cbor:"-"`

	ProfileID ID  `bun:",pk" cbor:"-"`
	Followers int `cbor:"1,keyasint,omitempty"`
	Following int `cbor:"2,keyasint,omitempty"`
	Posts     int `cbor:"3,keyasint,omitempty"`
}
