package store

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"freshet/models"
)

// wantBadArgument fails unless err refuses the argument with words for the client.
func wantBadArgument(t *testing.T, what string, err error, argument string) {
	t.Helper()
	var bad *models.Error
	if !errors.As(err, &bad) || bad.Code != models.CodeBadUserInput || bad.Argument != argument || !strings.HasPrefix(bad.Message, argument+": ") {
		t.Errorf("%s: got %v, want an error that names the argument %s", what, err, argument)
	}
}

func someTime(random *rand.Rand) int64 {
	return time.Date(1970+random.IntN(100), 1, random.IntN(365), 0, 0, 0, random.IntN(1e9), time.UTC).UnixMicro()
}

func TestCursor_RoundTrip(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		c := Cursor{Spot: Spot{Rank: someTime(random), ID: models.ID(1 + random.Int64N(math.MaxInt64))}}
		got, err := decodeCursor(c.encode(7), 7, false)
		if err != nil || got != c {
			t.Fatalf("cursor: got %+v, %v, want %+v", got, err, c)
		}
		c.Newest = c.Spot
		c.Spot.Rank = int64(math.Float64bits(random.Float64() * 1e5))
		got, err = decodeCursor(c.encode(7), 7, true)
		if err != nil || got != c {
			t.Fatalf("cursor of TOP: got %+v, %v, want %+v", got, err, c)
		}
	}
}

func TestCursor_Broken(t *testing.T) {
	t.Parallel()
	good := Cursor{Spot: Spot{Rank: time.Now().UnixMicro(), ID: 5}}.encode(7)
	top := Cursor{Spot: Spot{Rank: 1, ID: 5}, Newest: Spot{Rank: time.Now().UnixMicro(), ID: 5}}.encode(7)
	crafted := func(words ...uint64) string {
		buf := binary.BigEndian.AppendUint32(nil, 7)
		for _, word := range words {
			buf = binary.BigEndian.AppendUint64(buf, word)
		}
		return base64.RawURLEncoding.EncodeToString(buf)
	}
	const now = 1_800_000_000_000_000
	for name, c := range map[string]struct {
		text string
		top  bool
	}{
		"empty":                  {"", false},
		"no base64":              {"!" + good[1:], false},
		"cut":                    {good[:len(good)-4], false},
		"longer":                 {good + "AAAA", false},
		"padded":                 {good + "=", false},
		"standard base64":        {strings.NewReplacer("-", "+", "_", "/").Replace("-_-_" + good[4:]), false},
		"stray bits":             {good[:len(good)-1] + "_", false},
		"newline":                {good[:4] + "\n" + good[4:], false},
		"of another list":        {Cursor{Spot: Spot{Rank: now, ID: 5}}.encode(8), false},
		"of TOP":                 {top, false},
		"of NEWEST, for TOP":     {good, true},
		"time before all":        {crafted(1<<63, 5), false},
		"time after all":         {crafted(1<<63-1, 5), false},
		"year 0":                 {crafted(uint64(time.Date(0, 6, 1, 0, 0, 0, 0, time.UTC).UnixMicro()), 5), false},
		"no ID":                  {crafted(now, 0), false},
		"negative ID":            {crafted(now, 1<<63), false},
		"newest before all":      {crafted(math.Float64bits(4e4), 5, 1<<63, 5), true},
		"score that is no score": {crafted(math.Float64bits(math.NaN()), 5, now, 5), true},
		"endless score":          {crafted(math.Float64bits(math.Inf(1)), 5, now, 5), true},
	} {
		_, err := decodeCursor(c.text, 7, c.top)
		wantBadArgument(t, name, err, "after")
	}
}

// Whatever a client sends is a cursor that PostgreSQL can take, or an error that names the argument.
func FuzzCursor(f *testing.F) {
	f.Add(Cursor{Spot: Spot{Rank: 1_800_000_000_000_000, ID: 5}}.encode(7), false)
	f.Add(Cursor{Spot: Spot{Rank: 1, ID: 5}, Newest: Spot{Rank: 1_800_000_000_000_000, ID: 5}}.encode(7), true)
	f.Add("", false)
	f.Add("AAAABwAAAAAAAAAAAAAAAAAAAAA", false)
	f.Fuzz(func(t *testing.T, text string, top bool) {
		c, err := decodeCursor(text, 7, top)
		if err != nil {
			wantBadArgument(t, text, err, "after")
			return
		}
		if got := c.encode(7); got != text {
			t.Errorf("written again: got %q, want %q", got, text)
		}
		at := c.Spot
		if top {
			at = c.Newest
		}
		if year := time.UnixMicro(at.Rank).UTC().Year(); year < 1 || year > 9999 || at.ID <= 0 || c.Spot.ID <= 0 {
			t.Errorf("%q: got %+v of the year %d, want what PostgreSQL can hold", text, c, year)
		}
	})
}
