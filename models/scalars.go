// Package models holds the domain types, which are bun's rows and GraphQL's types alike, and the one application error.
package models

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// ID names a row: a positive 63-bit number in the database, a decimal string in GraphQL.
type ID int64

// String is the form that GraphQL shows.
func (id ID) String() string { return strconv.FormatInt(int64(id), 10) }

// MarshalGQL writes a JSON string: many clients read JSON numbers as floats of 53 bits.
func (id ID) MarshalGQL(w io.Writer) {
	io.WriteString(w, `"`+id.String()+`"`)
}

// UnmarshalGQL takes a decimal string or a whole number.
func (id *ID) UnmarshalGQL(v any) error {
	text := ""
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = string(v)
	case int64:
		text = strconv.FormatInt(v, 10)
	default:
		return fmt.Errorf("an ID is a string, got %T", v)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != text {
		return fmt.Errorf("%q is not an ID", shorten(text))
	}
	*id = ID(n)
	return nil
}

// MarshalDateTime writes RFC 3339 in UTC, to the microsecond that PostgreSQL keeps.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		buf := make([]byte, 0, len(`"2006-01-02T15:04:05.999999Z"`))
		buf = append(buf, '"')
		buf = t.UTC().Truncate(time.Microsecond).AppendFormat(buf, time.RFC3339Nano)
		w.Write(append(buf, '"'))
	})
}

// UnmarshalDateTime takes RFC 3339 with a zone, in the years 1 to 9999 of UTC: PostgreSQL has no year 0, RFC 3339 none beyond.
func UnmarshalDateTime(v any) (time.Time, error) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, fmt.Errorf("a DateTime is a string, got %T", v)
	}
	const longest = 100 // time.Parse copies what it refuses
	t, err := time.Parse(time.RFC3339, text[:min(len(text), longest)])
	if year := t.UTC().Year(); err != nil || len(text) > longest || year < 1 || year > 9999 {
		return time.Time{}, fmt.Errorf("%q is not a DateTime such as 2026-03-01T09:30:00Z", shorten(text))
	}
	return t, nil
}

// shorten keeps a refused text from filling an error message.
func shorten(s string) string {
	const most = 40
	length := 0
	for i := range s {
		if length == most {
			return s[:i] + "…"
		}
		length++
	}
	return s
}
