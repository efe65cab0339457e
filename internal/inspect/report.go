package inspect

import (
	"math"
	"regexp"
	"strconv"
	"time"

	"freshet/cache"
)

// Report is what a response says of itself in extensions.freshet. Times are in milliseconds since the request began, ages
// and lives in seconds.
type Report struct {
	Operation  Operation   `json:"operation"`
	Policy     Policy      `json:"policy"`
	Reads      []Read      `json:"reads"`
	Statements []Statement `json:"sql,omitempty"`
	TookMs     float64     `json:"tookMs"`
}

// Operation says what became of the whole result.
type Operation struct {
	Name string `json:"name,omitempty"`
	Type string `json:"type"`
	Hash string `json:"hash"`
	// Result is hit, miss, uncacheable or bypassed.
	Result string `json:"result"`
	// Reason of a miss, such as stale_tag, or in words why nothing is kept.
	Reason string `json:"reason,omitempty"`
	// Stored tells whether the result of a miss was kept.
	Stored *bool `json:"stored,omitempty"`
	*Key
}

// Policy is the effective one of the operation, and the one field path that limited each half of it.
type Policy struct {
	MaxAge  float64 `json:"maxAge"`
	Scope   string  `json:"scope"`
	AgeBy   *Limit  `json:"maxAgeLimitedBy,omitempty"`
	ScopeBy *Limit  `json:"scopeLimitedBy,omitempty"`
}

// Limit is a field, and the coordinate of the schema whose directive did it.
type Limit struct {
	Path string `json:"path"`
	Rule string `json:"rule"`
}

// Read is a batch of keys that a kind was asked for.
type Read struct {
	Kind       string      `json:"kind"`
	StartMs    float64     `json:"startMs"`
	TookMs     float64     `json:"tookMs"`
	LoadMs     float64     `json:"loadMs,omitempty"`
	WaitMs     float64     `json:"waitMs,omitempty"` // for the loads of others
	RoundTrips int         `json:"roundTrips"`
	Error      string      `json:"error,omitempty"`
	Keys       []Key       `json:"keys"`
	SQL        []Statement `json:"sql,omitempty"`
}

// Key is what a cache found under one key.
type Key struct {
	Paths []string `json:"paths,omitempty"`
	Name  string   `json:"key"`
	// Tier that answered: memory, redis, source, or stale; empty if none did.
	Tier string `json:"tier,omitempty"`
	// Miss is why no cache answered at first sight: "lease" if another was loading it, which this reader waited for. First is
	// then what was the matter before.
	Miss    string    `json:"miss,omitempty"`
	First   string    `json:"first,omitempty"`
	StaleBy *Change   `json:"staleBy,omitempty"`
	Absent  bool      `json:"absent,omitempty"`
	AsOf    *Position `json:"asOf,omitempty"`
	Age     *float64  `json:"age,omitempty"`
	TTL     *float64  `json:"ttl,omitempty"`
	Tags    []string  `json:"tags,omitempty"`
	Bytes   int       `json:"bytes,omitempty"`
}

// Change is the tag that made an entry stale, and the position of the change in the log.
type Change struct {
	Tag      string `json:"tag"`
	Position uint64 `json:"position"`
}

// Position in the change log. The epoch is hexadecimal: it uses more digits than JSON's numbers hold.
type Position struct {
	Epoch string `json:"epoch"`
	At    uint64 `json:"at"`
}

// Statement is SQL without its values.
type Statement struct {
	Text    string  `json:"statement"`
	StartMs float64 `json:"startMs"`
	TookMs  float64 `json:"tookMs"`
}

// lease is the reason of a miss whose reader waited for another's load, as in a cache.Detail.
const lease = "lease"

// KeyOf puts a detail into words, as of now.
func KeyOf(d cache.Detail, now time.Time) Key {
	k := Key{Name: d.Name, Tier: d.Tier, Miss: string(d.Miss), First: string(d.First), Absent: d.Absent, Tags: d.Tags, Bytes: d.Bytes}
	if d.Tag != "" {
		k.StaleBy = &Change{d.Tag, d.Changed}
	}
	if d.AsOf != (cache.Position{}) {
		k.AsOf = &Position{hex(d.AsOf.Epoch), d.AsOf.At}
	}
	if !d.Filled.IsZero() {
		k.Age = seconds(now.Sub(d.Filled))
	}
	if !d.Expires.IsZero() {
		k.TTL = seconds(d.Expires.Sub(now))
	}
	return k
}

// values are SQL's literals, and numbers that are no part of a name. In a text, a backslash escapes only behind E.
var values = regexp.MustCompile(`(?i)\bE'(?:[^'\\]|''|\\.)*'|(?:\bU&)?'(?:[^']|'')*'|\b[0-9]+(?:\.[0-9]+)?\b`)

// indices of lists in paths.
var indices = regexp.MustCompile(`\[[0-9]+\]`)

// lists of values say nothing more than one.
var lists = regexp.MustCompile(`\?(?:, ?\?)+`)

// rows of values, such as of pairs.
var rows = regexp.MustCompile(`(\(\?, …\))(?:, ?\(\?, …\))+`)

// Template is a statement without its values, which may be anybody's.
func Template(sql string) string {
	return rows.ReplaceAllString(lists.ReplaceAllString(values.ReplaceAllString(sql, "?"), "?, …"), "$1, …")
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/float64(time.Microsecond)) / 1000 }

func seconds(d time.Duration) *float64 {
	s := math.Round(d.Seconds()*10) / 10
	return &s
}

// Epoch of a position, as it is shown.
func Epoch(p cache.Position) string { return hex(p.Epoch) }

func hex(n uint64) string { return strconv.FormatUint(n, 16) }
