package models

import (
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// Viewer is who is signed in, and with what session: 0 where the token is an identity provider's.
type Viewer struct {
	ID        ID
	SessionID ID
	Scopes    []string
}

// May tells whether the session holds every scope of at least one of the lists, as @requiresScopes asks.
func (v *Viewer) May(anyOf [][]string) bool {
	for _, all := range anyOf {
		if !slices.ContainsFunc(all, func(scope string) bool { return !slices.Contains(v.Scopes, scope) }) {
			return true
		}
	}
	return false
}

// Account is what a person signs in with. It is never cached and never shown.
type Account struct {
	bun.BaseModel `bun:"table:accounts,alias:a"`

	ProfileID    ID `bun:",pk"`
	PasswordHash string
	Scopes       []string `bun:",array"`
}

// Session is a place where someone is signed in. Whoever holds the token whose SHA-256 is TokenHash is that viewer
// until ExpiresAt, which moves on with use.
type Session struct {
	bun.BaseModel `bun:"table:sessions,alias:s" cbor:"-"`

	ID         ID        `bun:",pk,autoincrement" cbor:"1,keyasint"`
	TokenHash  []byte    `cbor:"-"`
	ProfileID  ID        `cbor:"2,keyasint"`
	Scopes     []string  `bun:",array" cbor:"3,keyasint,omitempty"`
	Device     string    `cbor:"4,keyasint,omitempty"`
	CreatedAt  time.Time `bun:",nullzero,default:now()" cbor:"5,keyasint"`
	LastSeenAt time.Time `bun:",nullzero,default:now()" cbor:"6,keyasint"`
	ExpiresAt  time.Time `cbor:"7,keyasint"`
	// Current is set on copies, for the viewer who asks.
	Current bool `bun:"-" cbor:"-"`
}

// Identity says who the holder of an identity provider's tokens is here.
type Identity struct {
	bun.BaseModel `bun:"table:identities,alias:i" cbor:"-"`

	Issuer    string `bun:",pk" cbor:"1,keyasint"`
	Subject   string `bun:",pk" cbor:"2,keyasint"`
	ProfileID ID     `cbor:"3,keyasint"`
	// Blocked lets nobody in.
	Blocked bool `cbor:"4,keyasint,omitempty"`
}

// Settings is what a viewer chose for the app.
type Settings struct {
	bun.BaseModel `bun:"table:settings,alias:s" cbor:"-"`

	ProfileID         ID     `bun:",pk" cbor:"1,keyasint"`
	Theme             Theme  `cbor:"2,keyasint"`
	Language          string `cbor:"3,keyasint"`
	PushNotifications bool   `cbor:"4,keyasint,omitempty"`
	Digest            Digest `cbor:"5,keyasint"`
}
