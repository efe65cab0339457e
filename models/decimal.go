package models

import (
	"fmt"
	"io"
	"regexp"

	"github.com/99designs/gqlgen/graphql"
	"github.com/shopspring/decimal"
)

// decimalForm bounds what a client can make us compute with: no exponents, no leading zeros, 18 digits before the point
// and 12 behind.
var decimalForm = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?$`)

// MarshalDecimal writes a JSON string with all the decimals that the number was given with, so 12.50 stays "12.50".
func MarshalDecimal(d decimal.Decimal) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { io.WriteString(w, `"`+d.StringFixed(max(-d.Exponent(), 0))+`"`) })
}

// UnmarshalDecimal takes a string: a JSON number has been a float on its way in most clients.
func UnmarshalDecimal(v any) (decimal.Decimal, error) {
	text, ok := v.(string)
	if !ok {
		return decimal.Decimal{}, fmt.Errorf("a Decimal is a string, got %T", v)
	}
	if !decimalForm.MatchString(text) {
		return decimal.Decimal{}, fmt.Errorf(`%q is not a Decimal such as "12.50"`, shorten(text))
	}
	return decimal.NewFromString(text)
}
