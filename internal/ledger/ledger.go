// Package ledger holds balances and orders. They are read from PostgreSQL each time: no cache knows of them, and a change
// of them needs no notice.
package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/shopspring/decimal"
	"github.com/uptrace/bun"

	"freshet/internal/store"
	"freshet/models"
)

// Ledger is the balances and orders of all viewers. It is safe for concurrent use.
type Ledger struct{ db *bun.DB }

// New makes a Ledger over a migrated database.
func New(db *bun.DB) *Ledger { return &Ledger{db} }

// attempts is how often an order is tried whose transaction PostgreSQL gave up for another's sake.
const attempts = 3

// currency of a viewer who never had a balance.
const currency = "EUR"

// Wallet reads what a viewer can spend; who never had any has 0.
func (l *Ledger) Wallet(ctx context.Context, viewer models.ID) (_ *models.Wallet, err error) {
	defer failed(&err, "wallet of %v", viewer)
	w := &models.Wallet{}
	err = l.db.NewSelect().Model(w).Where("w.profile_id = ?", viewer).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return &models.Wallet{ProfileID: viewer, Balance: decimal.New(0, -2), Currency: currency}, nil
	}
	return w, err
}

// Order reads a viewer's order with its lines. It is nil if there is none, and if it is another viewer's.
func (l *Ledger) Order(ctx context.Context, viewer, id models.ID) (_ *models.Order, err error) {
	defer failed(&err, "order %v of %v", id, viewer)
	return readOrder(ctx, l.db, "o.profile_id = ? AND o.id = ?", viewer, id)
}

func readOrder(ctx context.Context, db bun.IDB, where string, args ...any) (*models.Order, error) {
	o := &models.Order{}
	err := db.NewSelect().Model(o).Where(where, args...).
		Relation("Lines", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Order("l.line") }).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return o, err
}

// Place buys for a viewer, all or nothing: it takes the total from the balance and adds the order. A key that the viewer
// has used returns its order if the input is the same, and refuses it if not.
//
// Whoever orders holds the viewer's wallet until the end, so that two requests with one key come one after the other, and
// the second finds the order of the first.
func (l *Ledger) Place(ctx context.Context, viewer models.ID, in models.PlaceOrderInput) (_ *models.Order, err error) {
	defer failed(&err, "place an order by %v", viewer)
	for attempt := 1; ; attempt++ {
		var order *models.Order
		err := l.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
			order, err = place(ctx, tx, viewer, in)
			return err
		})
		if err == nil || attempt == attempts || !givenUp(err) {
			return order, err
		}
	}
}

func place(ctx context.Context, tx bun.Tx, viewer models.ID, in models.PlaceOrderInput) (*models.Order, error) {
	wallet, err := hold(ctx, tx, viewer)
	if err != nil {
		return nil, err
	}
	request := digest(in)
	before, err := readOrder(ctx, tx, "o.profile_id = ? AND o.idempotency_key = ?", viewer, in.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if !slices.Equal(before.Request, request) {
			return nil, models.Refuse(models.UserErrorCodeConflict, "The key was used for another order.", "input", "idempotencyKey")
		}
		return before, nil
	}
	order := &models.Order{
		ProfileID: viewer, Currency: wallet.Currency, Total: decimal.New(0, -2),
		IdempotencyKey: in.IdempotencyKey, Request: request,
	}
	if err := fill(ctx, tx, order, in.Lines); err != nil {
		return nil, err
	}
	if order.Total.GreaterThan(wallet.Balance) {
		return nil, models.Refuse(models.UserErrorCodeInsufficientBalance,
			"The order costs more than the account has.", "input", "lines")
	}
	return order, write(ctx, tx, order)
}

// hold locks the viewer's wallet.
func hold(ctx context.Context, tx bun.Tx, viewer models.ID) (*models.Wallet, error) {
	w := &models.Wallet{ProfileID: viewer, Currency: currency}
	if _, err := tx.NewInsert().Model(w).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
		return nil, err
	}
	return w, tx.NewSelect().Model(w).WherePK().For("UPDATE").Scan(ctx)
}

// fill makes the lines of an order. The products stay as they are until the order stands; they are locked in one order,
// whatever order the client has.
func fill(ctx context.Context, tx bun.Tx, order *models.Order, lines []*models.OrderLineInput) error {
	ids := make([]models.ID, len(lines))
	for i, line := range lines {
		ids[i] = line.ProductID
	}
	var rows []*models.Product
	err := tx.NewSelect().Model(&rows).Where("product.id IN ?", bun.Tuple(ids)).Order("product.id").For("SHARE").Scan(ctx)
	if err != nil {
		return err
	}
	products := make(map[models.ID]*models.Product, len(rows))
	for _, row := range rows {
		products[row.ID] = row
	}
	var reasons models.Refusal
	for i, line := range lines {
		product := products[line.ProductID]
		if code, why := objection(product, line, order.Currency); code != "" {
			reasons = append(reasons, models.Refuse(code, why, "input", "lines", fmt.Sprint(i))...)
			continue
		}
		order.Total = order.Total.Add(product.Price.Mul(decimal.NewFromInt(int64(line.Quantity))))
		order.Lines = append(order.Lines, &models.OrderLine{
			Line: i + 1, ProductID: &product.ID, Name: product.Name, Quantity: line.Quantity, Price: product.Price,
		})
	}
	if len(reasons) > 0 {
		return reasons
	}
	return nil
}

// objection says what keeps a line from being bought, if anything.
func objection(p *models.Product, line *models.OrderLineInput, currency string) (code models.UserErrorCode, why string) {
	switch {
	case p == nil:
		return models.UserErrorCodeNotFound, "There is no product " + line.ProductID.String() + "."
	case p.Currency != currency:
		return models.UserErrorCodeInvalid, p.Name + " is sold in " + p.Currency + ", and the account has " + currency + "."
	case !p.Price.Equal(line.Price):
		return models.UserErrorCodeConflict, p.Name + " costs " + p.Price.StringFixed(2) + " by now."
	}
	return "", ""
}

func write(ctx context.Context, tx bun.Tx, order *models.Order) error {
	_, err := tx.ExecContext(ctx, "UPDATE wallets SET balance = balance - ? WHERE profile_id = ?", order.Total, order.ProfileID)
	if err != nil {
		return err
	}
	if _, err := tx.NewInsert().Model(order).Returning("id, status, placed_at").Exec(ctx); err != nil {
		return err
	}
	for _, line := range order.Lines {
		line.OrderID = order.ID
	}
	_, err = tx.NewInsert().Model(&order.Lines).Exec(ctx)
	return err
}

// digest tells inputs apart. The same prices written otherwise are the same input.
func digest(in models.PlaceOrderInput) []byte {
	h := sha256.New()
	for _, line := range in.Lines {
		fmt.Fprintf(h, "%v %d %s\n", line.ProductID, line.Quantity, line.Price)
	}
	return h.Sum(nil)
}

// givenUp tells whether PostgreSQL ended a transaction so that another could go on: a serialisation failure or deadlock.
func givenUp(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// failed names the operation and its arguments in an error, and leaves a refusal as it is.
func failed(err *error, format string, args ...any) {
	if *err == nil {
		return
	}
	if _, refused := (*err).(models.Refusal); refused {
		return
	}
	*err = fmt.Errorf("ledger: %s: %w", fmt.Sprintf(format, args...), store.Away(*err))
}
