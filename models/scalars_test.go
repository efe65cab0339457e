package models

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"
)

func marshalID(id ID) string {
	var b strings.Builder
	id.MarshalGQL(&b)
	return b.String()
}

func TestID_Unmarshal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   any
		want ID // 0: refused
	}{
		{"1", 1},
		{"9223372036854775807", 9223372036854775807},
		{json.Number("42"), 42},
		{int64(42), 42},
		{"0", 0},
		{"-1", 0},
		{"+1", 0},
		{"01", 0},
		{" 1", 0},
		{"1 ", 0},
		{"", 0},
		{"1.0", 0},
		{"1e3", 0},
		{"0x10", 0},
		{"1_000", 0},
		{"٣", 0},
		{"9223372036854775808", 0},
		{json.Number("1.5"), 0},
		{json.Number("1e2"), 0},
		{int64(0), 0},
		{int64(-7), 0},
		{1.0, 0},
		{true, 0},
		{nil, 0},
		{[]any{"1"}, 0},
	} {
		id := ID(7)
		err := id.UnmarshalGQL(c.in)
		if c.want == 0 && (err == nil || id != 7) {
			t.Errorf("UnmarshalGQL(%#v): got %v, %v, want an error and the ID untouched", c.in, id, err)
		}
		if c.want != 0 && (err != nil || id != c.want) {
			t.Errorf("UnmarshalGQL(%#v): got %v, %v, want %v", c.in, id, err, c.want)
		}
	}
}

func TestID_RefusalIsShort(t *testing.T) {
	t.Parallel()
	var id ID
	if got, most := len(id.UnmarshalGQL(strings.Repeat("é", 1<<20)).Error()), 200; got > most {
		t.Errorf("length of the error: got %d bytes, want at most %d", got, most)
	}
}

func FuzzID(f *testing.F) {
	for _, seed := range []string{"1", "0", "-1", "007", "9223372036854775807", "1e3", "", "\x00", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var id ID
		if err := id.UnmarshalGQL(text); err != nil {
			return
		}
		if id <= 0 {
			t.Errorf("%q: got %d, want a positive ID or an error", text, id)
		}
		if got, want := marshalID(id), strconv.Quote(text); got != want {
			t.Errorf("marshalled again: got %s, want %s", got, want)
		}
	})
}

func marshalTime(tm time.Time) string {
	var b strings.Builder
	MarshalDateTime(tm).MarshalGQL(&b)
	return b.String()
}

func TestDateTime_Marshal(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("", 2*60*60)
	for _, c := range []struct {
		in   time.Time
		want string
	}{
		{time.Date(2026, 3, 1, 11, 30, 0, 0, east), `"2026-03-01T09:30:00Z"`},
		{time.Date(2026, 3, 1, 9, 30, 0, 120_000_000, time.UTC), `"2026-03-01T09:30:00.12Z"`},
		{time.Date(2026, 3, 1, 9, 30, 0, 123_456_789, time.UTC), `"2026-03-01T09:30:00.123456Z"`},
		{time.Date(2026, 3, 1, 9, 30, 0, 999, time.UTC), `"2026-03-01T09:30:00Z"`},
	} {
		if got := marshalTime(c.in); got != c.want {
			t.Errorf("MarshalDateTime(%v): got %s, want %s", c.in, got, c.want)
		}
	}
}

func TestDateTime_Unmarshal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   any
		want string // "": refused
	}{
		{"2026-03-01T09:30:00Z", `"2026-03-01T09:30:00Z"`},
		{"2026-03-01T11:30:00+02:00", `"2026-03-01T09:30:00Z"`},
		{"2026-03-01T09:30:00.123456789Z", `"2026-03-01T09:30:00.123456Z"`},
		{"0001-01-01T00:00:00Z", `"0001-01-01T00:00:00Z"`},
		{"9999-12-31T23:59:59Z", `"9999-12-31T23:59:59Z"`},
		{"2026-03-01", ""},
		{"2026-03-01T09:30:00", ""},
		{"2026-02-30T09:30:00Z", ""},
		{"2026-03-01T24:30:00Z", ""},
		{"1772357400", ""},
		{"", ""},
		{"now", ""},
		{int64(1772357400), ""},
		{json.Number("1"), ""},
		{nil, ""},
		// Years that the database can't hold, in UTC.
		{"0000-06-01T00:00:00Z", ""},
		{"0001-01-01T00:00:00+14:00", ""},
		{"9999-12-31T23:59:59-14:00", ""},
	} {
		got, err := UnmarshalDateTime(c.in)
		if c.want == "" && err == nil {
			t.Errorf("UnmarshalDateTime(%#v): got %v, want an error", c.in, got)
		}
		if c.want != "" && (err != nil || marshalTime(got) != c.want) {
			t.Errorf("UnmarshalDateTime(%#v): got %s, %v, want %s", c.in, marshalTime(got), err, c.want)
		}
	}
}

func FuzzDateTime(f *testing.F) {
	for _, seed := range []string{
		"2026-03-01T09:30:00Z", "2026-03-01T09:30:00.000001-11:59", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.9-23:59", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := UnmarshalDateTime(text)
		if err != nil {
			return
		}
		if year := at.UTC().Year(); year < 1 || year > 9999 {
			t.Errorf("%q: got the year %d, want 1 to 9999 or an error", text, year)
		}
		written, err := strconv.Unquote(marshalTime(at))
		if err != nil {
			t.Fatal(err)
		}
		again, err := UnmarshalDateTime(written)
		if err != nil || !again.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("%q, written as %q and read: got %v, %v, want %v", text, written, again, err, at)
		}
	})
}
