package models

import (
	"time"

	"github.com/shopspring/decimal"
	"github.com/uptrace/bun"
)

// Wallet is what a viewer can spend: the schema's Account. Neither it nor an Order is ever cached.
type Wallet struct {
	bun.BaseModel `bun:"table:wallets,alias:w"`

	ProfileID ID `bun:",pk"`
	Balance   decimal.Decimal
	Currency  string
}

// Order is what a viewer bought.
type Order struct {
	bun.BaseModel `bun:"table:orders,alias:o"`

	ID             ID `bun:",pk,autoincrement"`
	ProfileID      ID
	Status         OrderStatus `bun:",nullzero,default:'PLACED'"`
	Total          decimal.Decimal
	Currency       string
	PlacedAt       time.Time `bun:",nullzero,default:now()"`
	IdempotencyKey string
	Request        []byte

	Lines []*OrderLine `bun:"rel:has-many,join:id=order_id"`
}

// OrderLine is one product of an order, as it was when it was bought.
type OrderLine struct {
	bun.BaseModel `bun:"table:order_lines,alias:l"`

	OrderID   ID  `bun:",pk"`
	Line      int `bun:",pk"`
	ProductID *ID // nil: deleted since
	Name      string
	Quantity  int
	Price     decimal.Decimal
}
