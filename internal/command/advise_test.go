package command

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"freshet/internal/external"
	"freshet/internal/inspect"
	"freshet/internal/store"
)

func TestAdvice_FollowsTheNumbers(t *testing.T) {
	t.Parallel()
	table, err := Policy()
	if err != nil {
		t.Fatal(err)
	}
	kind := func(name string, hits float64, reason string, misses float64) *inspect.Kind {
		return &inspect.Kind{Kind: name, Redis: hits, Misses: map[string]float64{reason: misses}}
	}
	failing := kind("geocode", 500, "absent", 500)
	failing.Loads, failing.LoadErrors = 300, 200
	for _, c := range []struct {
		kind *inspect.Kind
		want string
	}{
		{kind("post", 1000, "absent", 0), "good as it is"},
		{kind("post", 10, "absent", 10), "too few reads"},
		{kind("post", 500, "absent", 500), "50 % of reads find nothing, and its tags keep it right: a longer TTL than 300s"},
		{kind("post-counts", 500, "expired", 500), "a longer TTL than 30s saves loads, if that may be as old"},
		{kind("post-counts", 9990, "absent", 10), "a shorter TTL would be fresher"},
		{kind("feed", 500, "stale_tag", 500), "50 % of reads find it changed"},
		{kind("feed", 500, "foreign", 500), "another release"},
		{kind("feed", 500, "unavailable", 500), "could not use the cache"},
		{kind("feed", 850, "", 150), "nothing stands out"},
		{kind("exchange-rates", 999, "expired", 1), "a shorter TTL would be fresher"},
		{failing, "a longer TTL than 86400s saves loads, if that may be as old; 40 % of loads fail"},
		{kind("statistics", 800, "expired", 200), "20 % of reads find nothing: a longer TTL than 300s"},
		{kind("dictionary", 800, "absent", 200), "its tags keep it right: a longer TTL than 86400s"},
		{kind("operation", 800, "stale_tag", 200), "as long as its shortest part, and freshet explain says which that is; 20 % of reads find it changed"},
		{kind("gone", 800, "absent", 200), "this release has no such kind"},
	} {
		all, err := adviceOf([]*inspect.Kind{c.kind}, table)
		if err != nil || all[0].Kind != c.kind.Kind || !strings.Contains(all[0].Words, c.want) {
			t.Errorf("%+v: got %+v, %v, want %q", c.kind, all, err, c.want)
		}
	}
}

// Every kind of entries that instances can count is there, read or not.
func TestAdvice_KnowsAllKinds(t *testing.T) {
	t.Parallel()
	table, err := Policy()
	if err != nil {
		t.Fatal(err)
	}
	all, err := adviceOf(nil, table)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, a := range all {
		known[a.Kind] = true
		if a.TTL <= 0 || a.Words != "nobody has read it since the instances started" {
			t.Errorf("%+v: want its TTL, and that nobody has read it", a)
		}
	}
	for _, k := range slices.Concat(store.Kinds(), external.Kinds()) {
		if !known[k.Name] {
			t.Errorf("%s: got no advice", k.Name)
		}
	}
	if want := len(store.Kinds()) + len(external.Kinds()); len(all) != want {
		t.Errorf("kinds: got %d, want %d", len(all), want)
	}
}

func TestCache_AdviseAndGet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	_, id := a.person("ann")
	a.send("", `{"query":"{ profile(id: \"`+id+`\") { name } }"}`)
	var out bytes.Buffer
	if err := Advise(t.Context(), []string{strings.TrimSuffix(a.url, "/graphql") + "/metrics"}, false, &out); err != nil ||
		!strings.Contains(out.String(), "profile ") || !strings.Contains(out.String(), "too few reads") ||
		!strings.Contains(out.String(), "\noperation ") || !strings.Contains(out.String(), "\ngeocode ") {
		t.Errorf("advise: got %v\n%s\nwant the kinds that were read, and those that were not", err, out.String())
	}
	for _, url := range []string{a.url, "http://127.0.0.1:1/metrics", "::"} {
		if err := Advise(t.Context(), []string{url}, false, &out); err == nil {
			t.Errorf("advise by %s: got no error", url)
		}
	}
	get := func(key string, asJSON bool) (string, error) {
		var out bytes.Buffer
		err := CacheGet(t.Context(), ExplainOptions{JSON: asJSON, Out: &out, Serve: w.options()}, key)
		return out.String(), err
	}
	if got, err := get("profile:"+id, false); err != nil || !strings.Contains(got, "state  fresh") || !strings.Contains(got, "tags   profile:"+id) ||
		strings.Contains(got, "ANN") {
		t.Errorf("get: got %v\n%s\nwant a fresh entry, without its value", err, got)
	}
	w.exec(`UPDATE profiles SET name = 'Other' WHERE id = ` + id)
	var found inspect.Key
	if got, err := get(w.service()+":profile:"+id, true); err != nil || json.Unmarshal([]byte(got), &found) != nil ||
		found.Miss != "stale_tag" || found.StaleBy == nil || found.StaleBy.Tag != "profile:"+id {
		t.Errorf("get after a change: got %v\n%s\nwant it stale by its tag", err, got)
	}
	for _, key := range []string{"profile:0", "other"} {
		if got, err := get(key, false); err == nil {
			t.Errorf("get %s: got %s, want an error", key, got)
		}
	}
}
