package models

import (
	"fmt"
	"regexp"

	"github.com/shopspring/decimal"
)

var currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)

// Check refuses what a product can't have, and returns the input as it is to be kept.
func (in CreateProductInput) Check() (CreateProductInput, error) {
	var c checker
	in.Name = c.line("name", in.Name, 1, 200)
	c.text("description", in.Description, 0, 5_000)
	c.name("category", in.Category)
	c.price(in.Price)
	c.currency(in.Currency)
	return in, c.err()
}

// Check refuses what a product can't have, and returns the input as it is to be kept.
func (in UpdateProductInput) Check() (UpdateProductInput, error) {
	var c checker
	in.Name = required(&c, "name", in.Name, func(s string) string { return c.line("name", s, 1, 200) })
	required(&c, "description", in.Description, func(s string) string { c.text("description", s, 0, 5_000); return s })
	required(&c, "category", in.Category, func(s string) string { return c.name("category", s) })
	required(&c, "price", in.Price, c.price)
	required(&c, "currency", in.Currency, c.currency)
	return in, c.err()
}

// Check refuses what a dictionary can't have, and returns the input as it is to be kept.
func (in SaveDictionaryEntryInput) Check() (SaveDictionaryEntryInput, error) {
	var c checker
	c.text("code", in.Code, 1, 31)
	in.Name = c.line("name", in.Name, 1, 100)
	return in, c.err()
}

// Check refuses what can't be bought at once.
func (in PlaceOrderInput) Check() (PlaceOrderInput, error) {
	const most, mostOfOne = 50, 100
	var c checker
	c.text("idempotencyKey", in.IdempotencyKey, 1, 100)
	switch n := len(in.Lines); {
	case n == 0:
		c.refuse(UserErrorCodeTooShort, "lines", "can't be empty")
	case n > most:
		c.refuse(UserErrorCodeTooLong, "lines", fmt.Sprintf("may have %d entries", most))
	}
	seen := make(map[ID]bool)
	for _, line := range in.Lines {
		if line.Quantity < 1 || line.Quantity > mostOfOne {
			c.refuse(UserErrorCodeInvalid, "lines", fmt.Sprintf("may have 1 to %d of a product, not %d", mostOfOne, line.Quantity))
		}
		if seen[line.ProductID] {
			c.refuse(UserErrorCodeInvalid, "lines", "has product "+line.ProductID.String()+" twice")
		}
		seen[line.ProductID] = true
	}
	return in, c.err()
}

func (c *checker) price(p decimal.Decimal) decimal.Decimal {
	if p.IsNegative() || p.GreaterThanOrEqual(decimal.New(1, 9)) || !p.Equal(p.Truncate(2)) {
		c.refuse(UserErrorCodeInvalid, "price", "must be 0 to 999999999.99 with at most two decimals")
	}
	return p
}

func (c *checker) currency(s string) string {
	if !currencyForm.MatchString(s) {
		c.refuse(UserErrorCodeInvalid, "currency", "must be an ISO 4217 code such as EUR")
	}
	return s
}
