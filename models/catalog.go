package models

import (
	"time"

	"github.com/shopspring/decimal"
	"github.com/uptrace/bun"
)

// Product is something that can be bought.
type Product struct {
	bun.BaseModel `bun:"table:products,alias:product" cbor:"-"`

	ID          ID              `bun:",pk,autoincrement" cbor:"1,keyasint"`
	Name        string          `cbor:"2,keyasint"`
	Description string          `cbor:"3,keyasint"`
	Category    string          `cbor:"4,keyasint"`
	Price       decimal.Decimal `cbor:"5,keyasint"`
	Currency    string          `cbor:"6,keyasint"`
	AddedAt     time.Time       `bun:",nullzero,default:now()" cbor:"7,keyasint"`
}

// Dictionary is one version of a list of codes with their names. It never changes.
type Dictionary struct {
	bun.BaseModel `bun:"table:dictionaries,alias:d" cbor:"-"`

	Name    DictionaryName     `bun:",pk" cbor:"1,keyasint"`
	Version int                `bun:",pk" cbor:"2,keyasint"`
	Entries []*DictionaryEntry `bun:"type:jsonb" cbor:"3,keyasint"`
}

// DictionaryEntry is a code with its name.
type DictionaryEntry struct {
	Code string `json:"code" cbor:"1,keyasint"`
	Name string `json:"name" cbor:"2,keyasint"`
}

// Statistics are what there is, in numbers.
type Statistics struct {
	Profiles int `cbor:"1,keyasint"`
	Posts    int `cbor:"2,keyasint"`
	Likes    int `cbor:"3,keyasint"`
	Follows  int `cbor:"4,keyasint"`
}
