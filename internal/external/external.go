// Package external asks other people's servers, behind the cache like everything else: reference rates of the European
// Central Bank, and places of OpenStreetMap through Nominatim.
//
// A source is asked seldom and politely: at its pace over all instances, with few retries, for answers of bounded size, and
// not at all for a while after it has failed. What it said last is served on meanwhile, marked stale.
package external

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// Options of the Sources. Cache and Policy have no default.
type Options struct {
	Cache *cache.Cache
	// Policy is the schema's, for the TTLs of the kinds.
	Policy *policy.Table
	// Redis keeps the pace of all instances together; nil: each keeps its own. Its client must have
	// ContextTimeoutEnabled.
	Redis redis.UniversalClient
	// Service begins every key in Redis. Default "freshet".
	Service string
	// ECB is the address of the bank's statistics, such as https://www.ecb.europa.eu/stats; empty: it is not asked.
	ECB string
	// Nominatim is the address of a geocoder, such as https://nominatim.openstreetmap.org; empty: it is not asked.
	Nominatim string
	// Contact tells the sources whom to write to about this installation; an address or URL.
	Contact string
	// Log is told of what no caller can act on. Default: slog.Default().
	Log *slog.Logger
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// Sources are asked through their kinds. They are safe for concurrent use. What the kinds return is shared: nobody may
// change it.
type Sources struct {
	// Rates has the bank's table under the one key there is, RatesKey.
	Rates *cache.Kind[string, *Table]
	// Places has what a geocoder finds; nothing found is absent.
	Places *cache.Kind[PlaceKey, []*models.Place]

	ecb, nominatim *source
}

const (
	kindRates  = "exchange-rates"
	kindPlaces = "geocode"
)

// Kinds lists the kinds and the places of the schema whose policy they follow.
func Kinds() []policy.Kind {
	return []policy.Kind{
		{Name: kindRates, Follows: []string{"Query.exchangeRates"}},
		{Name: kindPlaces, Follows: []string{"Query.geocode"}},
	}
}

// New makes Sources. It asks nothing yet, and fails if the schema's policy can't hold for the kinds. The caller closes
// it, after the cache.
func New(o Options) (*Sources, error) {
	effective, err := o.Policy.Resolve(Kinds(), nil)
	if err != nil {
		return nil, err
	}
	o.Log = cmp.Or(o.Log, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	userAgent := "Freshet/1 (a GraphQL API server"
	if o.Contact != "" {
		userAgent += "; " + o.Contact
	}
	userAgent += ")"
	s := &Sources{
		ecb: newSource(&source{
			name: "the European Central Bank", base: o.ECB, limit: 256 << 10, types: []string{"text/xml", "application/xml"},
			userAgent: userAgent, log: o.Log, now: o.Now,
		}),
		nominatim: newSource(&source{
			name: "the geocoder", base: o.Nominatim, limit: 512 << 10, types: []string{"application/json"}, pace: time.Second,
			userAgent: userAgent, redis: o.Redis, slotKey: cmp.Or(o.Service, "freshet") + ":pace:geocode", log: o.Log, now: o.Now,
		}),
	}
	s.Rates = cache.NewKind(o.Cache, cache.KindOptions[string, *Table]{
		Name: kindRates, TTL: effective[kindRates].TTL, Key: func(key string) string { return key }, Load: s.loadRates,
		Grace:    7 * 24 * time.Hour, // over holidays the bank publishes nothing new either; the table says of which day it is
		MaxLoads: 1, LoadTimeout: 12 * time.Second,
	})
	s.Places = cache.NewKind(o.Cache, cache.KindOptions[PlaceKey, []*models.Place]{
		Name: kindPlaces, TTL: effective[kindPlaces].TTL, Key: PlaceKey.String, Load: s.loadPlaces,
		AbsentTTL: 10 * time.Minute, Grace: 30 * 24 * time.Hour, MaxLoads: 4, LoadTimeout: 8 * time.Second,
	})
	return s, nil
}

// Close ends connections to the sources.
func (s *Sources) Close() {
	s.ecb.close()
	s.nominatim.close()
}

// RatesKey is the one key of Rates.
const RatesKey = "ecb"

func (s *Sources) loadRates(ctx context.Context, _ []string) (map[string]*Table, error) {
	body, err := s.ecb.get(ctx, "/eurofxref/eurofxref-daily.xml", nil)
	if err != nil {
		return nil, err
	}
	table, err := parseTable(body)
	if err != nil {
		return nil, s.ecb.broken(err)
	}
	return map[string]*Table{RatesKey: table}, nil
}
