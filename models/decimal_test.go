package models

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDecimal_KeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0", "12.50", "-0.10", "1.084273", "0.000000000001", "999999999999999999.99", "100", "0.1"} {
		d, err := UnmarshalDecimal(text)
		if err != nil {
			t.Errorf("UnmarshalDecimal(%q): got %v, want no error", text, err)
			continue
		}
		var b strings.Builder
		MarshalDecimal(d).MarshalGQL(&b)
		if got, want := b.String(), `"`+text+`"`; got != want {
			t.Errorf("%s written: got %s, want %s", text, got, want)
		}
	}
}

func TestDecimal_Refusals(t *testing.T) {
	t.Parallel()
	for _, in := range []any{
		"", " 1", "1 ", "+1", "01", "1.", ".5", "1e3", "1E999999999", "NaN", "Infinity", "0x1", "1_000", "1,50", "٣", "1\n",
		"1000000000000000000", "0.0000000000001", strings.Repeat("9", 1<<20),
		1.5, int64(1), json.Number("1.5"), nil, true,
		[]any{"1"},
	} {
		d, err := UnmarshalDecimal(in)
		if err == nil {
			t.Errorf("UnmarshalDecimal(%.40v): got %v, want an error", in, d)
		} else if len(err.Error()) > 200 {
			t.Errorf("UnmarshalDecimal: got an error of %d bytes, want a short one", len(err.Error()))
		}
	}
}
