package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/internal/testenv"
	"freshet/models"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// daily is as the bank writes it.
const daily = `<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
	<gesmes:subject>Reference rates</gesmes:subject>
	<gesmes:Sender>
		<gesmes:name>European Central Bank</gesmes:name>
	</gesmes:Sender>
	<Cube>
		<Cube time='2026-11-24'>
			<Cube currency='USD' rate='1.0800'/>
			<Cube currency='JPY' rate='162.35'/>
			<Cube currency='IDR' rate='17123.45'/>
		</Cube>
	</Cube>
</gesmes:Envelope>
`

// berlin is as Nominatim writes it.
const berlin = `[{"place_id":132187,"licence":"Data © OpenStreetMap contributors, ODbL 1.0. http://osm.org/copyright",
"osm_type":"relation","osm_id":62422,"lat":"52.5108850","lon":"13.3989367","category":"boundary","type":"administrative",
"place_rank":8,"importance":0.8522,"addresstype":"city","name":"Berlin","display_name":"Berlin, Germany",
"boundingbox":["52.3382448","52.6755087","13.0883450","13.7611609"]}]`

// rig is Sources over local servers that speak the real formats, as the test tells them to.
type rig struct {
	*Sources
	t     *testing.T
	redis *redis.Client
	cache *cache.Cache

	mu       sync.Mutex
	at       time.Time
	answer   http.HandlerFunc
	requests []*http.Request
	slept    []time.Duration
}

// waitLong is for budgets that are no part of what a test is about: only a hang reaches it.
const waitLong = 5 * time.Minute

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, at: time.Now()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, q)
		answer := r.answer
		r.mu.Unlock()
		answer(w, q)
	}))
	o, err := redis.ParseURL(testenv.SharedRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	r.redis = redis.NewClient(o)
	r.cache = cache.New(cache.Options{Redis: r.redis, ReadBudget: waitLong, WriteBudget: waitLong, Now: r.now, LocalBytes: -1})
	r.Sources = r.another(r.cache, server.URL)
	t.Cleanup(func() { r.cache.Close(); r.redis.Close(); server.Close() })
	return r
}

func (r *rig) another(c *cache.Cache, url string) *Sources {
	r.t.Helper()
	s, err := New(Options{
		Cache: c, Policy: schemaPolicy(r.t), Redis: r.redis, ECB: url, Nominatim: url + "/", Contact: "ops@example.org",
		Log: slog.New(slog.DiscardHandler), Now: r.now,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, source := range []*source{s.ecb, s.nominatim} {
		source.client.Timeout, source.budget, source.sleep = waitLong, waitLong, r.sleep
	}
	s.Rates.LoadTimeout, s.Places.LoadTimeout = waitLong, waitLong
	r.t.Cleanup(s.Close)
	return s
}

// sleep notes that a source would sleep.
func (r *rig) sleep(_ context.Context, d time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slept = append(r.slept, d)
	return nil
}

func schemaPolicy(t *testing.T) *policy.Table {
	t.Helper()
	text, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	table, err := policy.Read(schema)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

func (r *rig) respond(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// asked returns the requests since it was called last.
func (r *rig) asked() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	requests := r.requests
	r.requests = nil
	return requests
}

func send(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Write([]byte(body))
	}
}

func status(code int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
	}
}

// then answers with the first, and with the second from then on.
func then(first, second http.HandlerFunc) http.HandlerFunc {
	var once sync.Once
	return func(w http.ResponseWriter, q *http.Request) {
		answer := second
		once.Do(func() { answer = first })
		answer(w, q)
	}
}

func (r *rig) rates() (string, error) {
	table, found, err := r.Rates.One(r.t.Context(), RatesKey)
	if err != nil || !found {
		return "", err
	}
	if last := table.Rates[len(table.Rates)-1].Value; last.Exponent() != -4 {
		return "", fmt.Errorf("rates: got %v with %d decimals, want the 4 that it was published with", last, -last.Exponent())
	}
	return fmt.Sprint(table.Day.Format(time.DateOnly), table.Rates), nil
}

const table = "2026-11-24[{IDR 17123.45} {JPY 162.35} {USD 1.08}]"

func TestRates_AskedOnceForAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.respond(send("text/xml", daily))
	var together sync.WaitGroup
	for range 10 {
		together.Go(func() {
			if got, err := r.rates(); got != table || err != nil {
				t.Errorf("rates: got %q, %v, want %q", got, err, table)
			}
		})
	}
	together.Wait()
	asked := r.asked()
	if len(asked) != 1 {
		t.Fatalf("requests: got %d, want 1", len(asked))
	}
	if q := asked[0]; q.URL.Path != "/eurofxref/eurofxref-daily.xml" || q.Method != "GET" || !strings.Contains(q.UserAgent(), "ops@example.org") {
		t.Errorf("request: got %s %s by %q, want a GET of the daily file that names us", q.Method, q.URL, q.UserAgent())
	}
}

// unavailable is an error for clients that names the source, and says nothing that the source has said.
func unavailable(t *testing.T, what string, err error, source string) {
	t.Helper()
	var app *models.Error
	if !errors.As(err, &app) || app.Code != models.CodeUnavailable || !strings.Contains(app.Message, source) || strings.Contains(app.Message, "http") {
		t.Errorf("%s: got %v, want %s of %s", what, err, models.CodeUnavailable, source)
	}
}

func TestRates_SourceMisbehaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	xml := func(body string) http.HandlerFunc { return send("text/xml", body) }
	for name, answer := range map[string]http.HandlerFunc{
		"404":                    status(404, ""),
		"403":                    status(403, ""),
		"500 each time":          status(500, ""),
		"429 for long":           status(429, "3600"),
		"503 until a date":       status(503, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)),
		"HTML":                   send("text/html", daily),
		"no content type":        send("", daily),
		"empty":                  xml(""),
		"cut off":                xml(daily[:len(daily)/2]),
		"huge":                   xml(strings.Repeat(" ", 300<<10) + daily),
		"another document":       xml(`<Envelope><Cube><Cube time="2026-11-24"><Cube currency="USD" rate="1"/></Cube></Cube></Envelope>`),
		"no rates":               xml(strings.NewReplacer("<Cube currency='USD' rate='1.0800'/>", "", "<Cube currency='JPY' rate='162.35'/>", "", "<Cube currency='IDR' rate='17123.45'/>", "").Replace(daily)),
		"no date":                xml(strings.Replace(daily, "2026-11-24", "N/A", 1)),
		"a rate of nothing":      xml(strings.Replace(daily, "1.0800", "0.0", 1)),
		"a negative rate":        xml(strings.Replace(daily, "1.0800", "-1.08", 1)),
		"a rate in another form": xml(strings.Replace(daily, "1.0800", "1e400000000", 1)),
		"a rate as a fraction":   xml(strings.Replace(daily, "1.0800", "1/0", 1)),
		"not a number":           xml(strings.Replace(daily, "1.0800", "NaN", 1)),
		"a currency twice":       xml(strings.Replace(daily, "JPY", "USD", 1)),
		"an odd currency":        xml(strings.Replace(daily, "JPY", "<b>", 1)),
		"entities":               xml(strings.NewReplacer(`?>`, `?><!DOCTYPE x [<!ENTITY a "&b;&b;"><!ENTITY b "x">]>`, "Reference rates", "&a;").Replace(daily)),
		"another host":           http.RedirectHandler("http://127.0.0.2:1/rates.xml", http.StatusFound).ServeHTTP,
		"another scheme":         http.RedirectHandler("file:///etc/passwd", http.StatusFound).ServeHTTP,
		"itself for ever": func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, q.URL.Path, http.StatusFound)
		},
		"a body that stops": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			w.Header().Set("Content-Length", "5000")
			w.Write([]byte(daily[:100]))
		},
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		r.respond(answer)
		_, err := r.rates()
		unavailable(t, name, err, "European Central Bank")
		if got := len(r.asked()); got > 4 {
			t.Errorf("%s: got %d requests, want 4 at most", name, got)
		}
		r.pass(longestRest)
	}
	r.respond(send("application/xml; charset=utf-8", daily))
	if got, err := r.rates(); got != table || err != nil {
		t.Errorf("afterwards: got %q, %v, want %q", got, err, table)
	}
}

func TestRates_TriesAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first http.HandlerFunc
		slept []time.Duration
	}{
		"500":           {status(500, ""), []time.Duration{firstPause}},
		"429 for 1 s":   {status(429, "1"), []time.Duration{time.Second}},
		"503 for 2 s":   {status(503, "2"), []time.Duration{2 * time.Second}},
		"a closed door": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []time.Duration{firstPause}},
		"the same host": {http.RedirectHandler("/eurofxref/eurofxref-daily.xml?again", http.StatusFound).ServeHTTP, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.respond(then(c.first, send("text/xml", daily)))
			if got, err := r.rates(); got != table || err != nil {
				t.Errorf("rates: got %q, %v, want %q at the second attempt", got, err, table)
			}
			if got := len(r.asked()); got != 2 || !slices.Equal(r.slept, c.slept) {
				t.Errorf("got %d requests and pauses of %v, want two requests and pauses of %v", got, r.slept, c.slept)
			}
		})
	}
}

// A source that fails is not asked by each reader.
func TestRates_RestAfterAFault(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.respond(status(429, "60"))
	_, err := r.rates()
	unavailable(t, "first", err, "European Central Bank")
	if got := len(r.asked()); got != 1 {
		t.Errorf("requests: got %d, want 1, as the source asked", got)
	}
	for range 5 {
		r.pass(10 * time.Second)
		_, err := r.rates()
		unavailable(t, "within a minute", err, "European Central Bank")
	}
	if got := len(r.asked()); got != 0 {
		t.Errorf("requests within a minute: got %d, want none", got)
	}
	r.respond(send("text/xml", daily))
	r.pass(11 * time.Second)
	if got, err := r.rates(); got != table || err != nil {
		t.Errorf("after a minute: got %q, %v, want %q", got, err, table)
	}
}

// What the bank said last is served while it is away.
func TestRates_StaleWhileAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.respond(send("text/xml", daily))
	if got, err := r.rates(); got != table || err != nil {
		t.Fatalf("rates: got %q, %v, want %q", got, err, table)
	}
	r.rates() // waits until what the first has read is stored
	r.respond(status(404, ""))
	r.pass(2 * time.Hour)
	r.asked()
	if got, err := r.rates(); got != table || err != nil {
		t.Errorf("expired, and the bank away: got %q, %v, want what it said last", got, err)
	}
	if got := len(r.asked()); got == 0 {
		t.Error("requests: got none, want the bank asked before")
	}
}

func TestRates_SwitchedOff(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ecb.base = ""
	_, err := r.rates()
	unavailable(t, "without an address", err, "European Central Bank")
}

func TestBased(t *testing.T) {
	t.Parallel()
	parsed, err := parseTable([]byte(daily))
	if err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{
		"EUR": "[{IDR 17123.45} {JPY 162.35} {USD 1.08}]",
		"USD": "[{EUR 0.9259259259} {IDR 15855.0463} {JPY 150.3240741}]",
		"IDR": "[{EUR 0.000058399446} {JPY 0.009481150119} {USD 0.000063071402}]",
	} {
		got, ok := parsed.Based(base)
		if !ok || fmt.Sprint(got) != want {
			t.Errorf("base %s: got %v, want %s", base, got, want)
		}
	}
	for _, base := range []string{"XXX", "", "usd"} {
		if got, ok := parsed.Based(base); ok {
			t.Errorf("base %q: got %v, want none", base, got)
		}
	}
}

func (r *rig) places(query string, first int) ([]*models.Place, bool, error) {
	r.t.Helper()
	key, err := NewPlaceKey(query, &first)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.Places.One(r.t.Context(), key)
}

func TestPlaces_Found(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.respond(send("application/json; charset=utf-8", berlin))
	for _, query := range []string{"Berlin & Köln?", "  berlin &  KÖLN? "} {
		got, _, err := r.places(query, 3)
		if err != nil || len(got) != 1 || got[0].Name != "Berlin, Germany" || got[0].Latitude.StringFixed(7) != "52.5108850" || got[0].Longitude.String() != "13.3989367" ||
			!strings.Contains(got[0].Attribution, "OpenStreetMap") || got[0].Type != "administrative" {
			t.Errorf("%q: got %+v, %v, want Berlin", query, got, err)
		}
	}
	asked := r.asked()
	if len(asked) != 1 {
		t.Fatalf("requests: got %d, want one for two ways to write it", len(asked))
	}
	q := asked[0].URL.Query()
	if asked[0].URL.Path != "/search" || q.Get("q") != "berlin & köln?" || q.Get("format") != "jsonv2" || q.Get("limit") != "3" {
		t.Errorf("request: got %s, want a search for at most 3", asked[0].URL)
	}
}

func TestPlaces_NothingFoundIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.respond(send("application/json", "[]"))
	for range 3 {
		if got, found, err := r.places("nowhere at all", 5); found || err != nil {
			t.Errorf("got %v, %v, %v, want nothing", got, found, err)
		}
	}
	if got := len(r.asked()); got != 1 {
		t.Errorf("requests: got %d, want 1", got)
	}
}

func TestPlaces_SourceMisbehaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.nominatim.pace = 0 // is tested apart
	for name, answer := range map[string]http.HandlerFunc{
		"403":              status(403, ""),
		"HTML":             send("text/html", "<html>"),
		"an error object":  send("application/json", `{"error":"Unable to geocode"}`),
		"cut off":          send("application/json", berlin[:100]),
		"huge":             send("application/json", "["+strings.Repeat(" ", 600<<10)+"]"),
		"beyond the pole":  send("application/json", strings.Replace(berlin, "52.5108850", "90.0000001", 1)),
		"no number":        send("application/json", strings.Replace(berlin, "52.5108850", "NaN", 1)),
		"a number of JSON": send("application/json", strings.Replace(berlin, `"52.5108850"`, "52.5108850", 1)),
		"no name":          send("application/json", strings.Replace(berlin, "Berlin, Germany", "", 1)),
		"429":              status(429, "600"),
	} {
		r.respond(answer)
		_, _, err := r.places("berlin", 5)
		unavailable(t, name, err, "geocoder")
		if err != nil && strings.Contains(err.Error(), "berlin") {
			t.Errorf("%s: got %v, want no word of what was looked for", name, err)
		}
		r.pass(longestRest)
	}
}

// paceClock has the script of turns see the time of a test, in the place of Redis' own.
type paceClock struct{ ms atomic.Int64 }

const timeOfRedis = "redis.call('TIME')"

func (*paceClock) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *paceClock) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); args[0] == "evalsha" && args[1] == reserve.Hash() {
			ms := c.ms.Load()
			args[0], args[1] = "eval", strings.Replace(reserveScript, timeOfRedis, fmt.Sprintf("{%d, %d}", ms/1000, ms%1000*1000), 1)
		}
		return next(ctx, cmd)
	}
}

func (*paceClock) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// At most once a second, over two instances and whatever they are asked.
func TestPlaces_PaceOfAllInstances(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	clock := &paceClock{}
	clock.ms.Store(r.now().UnixMilli())
	r.redis.AddHook(clock)
	if !strings.Contains(reserveScript, timeOfRedis) {
		t.Fatalf("the script does not ask for %s: the test can't steer its time", timeOfRedis)
	}
	r.respond(send("application/json", berlin))
	other := r.another(r.cache, r.nominatim.base)
	want := func(when string, requests int, waits ...time.Duration) {
		t.Helper()
		var together sync.WaitGroup
		for i := range 8 {
			together.Go(func() {
				s := []*Sources{r.Sources, other}[i%2]
				if _, err := s.nominatim.get(t.Context(), "/search", nil); err != nil {
					unavailable(t, "beyond the longest wait", err, "geocoder")
				}
			})
		}
		together.Wait()
		got := len(r.asked())
		slices.Sort(r.slept)
		if got != requests || !slices.Equal(r.slept, waits) {
			t.Errorf("%s: got %d requests after waits of %v, want %d after %v", when, got, r.slept, requests, waits)
		}
		r.slept = nil
	}
	want("the first 8", 4, 0, time.Second, 2*time.Second, 3*time.Second)
	want("8 more", 0)
	r.pass(1500 * time.Millisecond)
	clock.ms.Add(1500)
	want("1.5 s later", 1, 2500*time.Millisecond)
}

// Redis gives out turns by its own time, one in each interval.
func TestPlaces_PaceByTheTimeOfRedis(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := r.another(r.cache, r.nominatim.base)
	r.nominatim.pace, other.nominatim.pace = time.Hour, time.Hour
	if first, second := r.nominatim.sharedTurn(t.Context()), other.nominatim.sharedTurn(t.Context()); first != 0 || second >= 0 {
		t.Errorf("turns within an hour: got waits of %v and %v, want none and too long a one", first, second)
	}
}

// A turn that Redis was not told of counts when it answers again.
func TestPlaces_PaceWithoutRedis(t *testing.T) {
	t.Parallel()
	at := time.Now()
	s := &source{pace: time.Second, now: func() time.Time { return at }}
	for i, want := range []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, -1} {
		if got := s.ownTurn(0); got != want {
			t.Errorf("turn %d: got a wait of %v, want %v", i, got, want)
		}
	}
	at = at.Add(2 * time.Second)
	for _, c := range []struct{ shared, want time.Duration }{{0, 2 * time.Second}, {-1, -1}, {3 * time.Second, 3 * time.Second}} {
		if got := s.ownTurn(c.shared); got != c.want {
			t.Errorf("turn after a wait of %v by Redis: got a wait of %v, want %v", c.shared, got, c.want)
		}
	}
}

func TestNewPlaceKey(t *testing.T) {
	t.Parallel()
	first := func(n int) *int { return &n }
	for _, c := range []struct {
		query string
		first *int
	}{
		{"", nil}, {" a ", nil}, {strings.Repeat("x", 201), nil}, {"a\x00b", nil}, {"\xff\xfe", nil}, {"berlin", first(0)}, {"berlin", first(21)}, {"berlin", first(-1)},
	} {
		var app *models.Error
		if key, err := NewPlaceKey(c.query, c.first); !errors.As(err, &app) || app.Code != models.CodeBadUserInput {
			t.Errorf("%q: got %+v, %v, want %s", c.query, key, err, models.CodeBadUserInput)
		}
	}
	one, _ := NewPlaceKey("a:first=1", first(2))
	other, _ := NewPlaceKey("a", first(1))
	if one.String() == other.String() || strings.Count(one.String(), ":") != 1 {
		t.Errorf("keys: got %q and %q, want the query's colon written otherwise", one, other)
	}
}
