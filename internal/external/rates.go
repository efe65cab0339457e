package external

import (
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"freshet/models"
)

// Table is what one euro is worth on a day, as the bank has published it.
type Table struct {
	Day   time.Time `cbor:"1,keyasint"`
	Rates []Rate    `cbor:"2,keyasint"` // by currency
}

// Rate is what one unit of the base is worth in a currency.
type Rate struct {
	Currency string          `cbor:"1,keyasint"`
	Value    decimal.Decimal `cbor:"2,keyasint"`
}

// euro is the base of the bank's own table.
const euro = "EUR"

// Rates with another base than the euro have so many significant digits, and decimals; half a unit of the last is rounded
// away from zero. The bank publishes four to six digits.
const (
	digits   = 10
	decimals = 12
)

var currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)

// parseTable reads the bank's daily file, and takes nothing that it does not understand whole.
func parseTable(body []byte) (*Table, error) {
	var file struct {
		XMLName xml.Name `xml:"http://www.gesmes.org/xml/2002-08-01 Envelope"`
		Days    []struct {
			Day   string `xml:"time,attr"`
			Rates []struct {
				Currency string `xml:"currency,attr"`
				Rate     string `xml:"rate,attr"`
			} `xml:"Cube"`
		} `xml:"http://www.ecb.int/vocabulary/2002-08-01/eurofxref Cube>Cube"`
	}
	if err := xml.Unmarshal(body, &file); err != nil {
		return nil, fmt.Errorf("the file of rates is no XML of the known form: %w", err)
	}
	if len(file.Days) != 1 {
		return nil, fmt.Errorf("the file of rates has %d days", len(file.Days))
	}
	day, err := time.Parse(time.DateOnly, file.Days[0].Day)
	if err != nil {
		return nil, errors.New("the file of rates has no date")
	}
	table := &Table{Day: day}
	seen := map[string]bool{euro: true}
	for _, r := range file.Days[0].Rates {
		value, err := models.UnmarshalDecimal(r.Rate)
		if err != nil || !value.IsPositive() || !currencyForm.MatchString(r.Currency) || seen[r.Currency] {
			return nil, fmt.Errorf("the file of rates has %.20q for %.20q", r.Rate, r.Currency)
		}
		seen[r.Currency] = true
		table.Rates = append(table.Rates, Rate{r.Currency, value})
	}
	if len(table.Rates) == 0 {
		return nil, errors.New("the file of rates has none")
	}
	slices.SortFunc(table.Rates, func(a, b Rate) int { return strings.Compare(a.Currency, b.Currency) })
	return table, nil
}

// Based returns what one unit of base is worth in all other currencies, by name; false if the bank has no rate for it. Those
// of the euro are as published.
func (t *Table) Based(base string) ([]Rate, bool) {
	if base == euro {
		return t.Rates, true
	}
	at := slices.IndexFunc(t.Rates, func(r Rate) bool { return r.Currency == base })
	if at < 0 {
		return nil, false
	}
	unit := t.Rates[at].Value
	based := []Rate{{euro, quotient(decimal.NewFromInt(1), unit)}}
	for i, r := range t.Rates {
		if i != at {
			based = append(based, Rate{r.Currency, quotient(r.Value, unit)})
		}
	}
	slices.SortFunc(based, func(a, b Rate) int { return strings.Compare(a.Currency, b.Currency) })
	return based, true
}

// quotient of positive numbers, without zeros at its end.
func quotient(a, b decimal.Decimal) decimal.Decimal {
	const exact = 40
	q := a.DivRound(b, exact)
	before := q.NumDigits() + int(q.Exponent()) // digits before the point; for small numbers, zeros behind it
	q = a.DivRound(b, int32(min(max(digits-before, 0), decimals)))
	return decimal.RequireFromString(q.String())
}
