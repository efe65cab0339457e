package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"freshet/internal/external"
	"freshet/internal/inspect"
	"freshet/internal/opcache"
	"freshet/internal/policy"
	"freshet/internal/store"
)

// Advice is what the numbers of a kind say about its TTL and tags.
type Advice struct {
	Kind string `json:"kind"`
	// TTL is in seconds; 0 if each entry has its own.
	TTL     float64 `json:"ttl"`
	Reads   float64 `json:"reads"`
	HitRate float64 `json:"hitRate"`
	// Absent and Stale are the shares of reads that missed because nothing was stored any more, or a tag was changed.
	Absent float64 `json:"absent"`
	Stale  float64 `json:"stale"`
	// LoadMs is how long a load took, for each key.
	LoadMs float64 `json:"loadMs"`
	Words  string  `json:"advice"`
}

// kindPolicies are those of all kinds of entries that have one: the store's, and those of other people's servers.
func kindPolicies(table *policy.Table) (map[string]policy.Effective, error) {
	all, err := store.Effective(table)
	if err != nil {
		return nil, err
	}
	others, err := table.Resolve(external.Kinds(), nil)
	maps.Copy(all, others)
	return all, err
}

// leastReads is how many reads say something.
const leastReads = 100

// Advise reads the metrics of running instances and prints, for each kind, which TTL or tag to change, and why.
func Advise(ctx context.Context, urls []string, asJSON bool, out io.Writer) error {
	var families []*dto.MetricFamily
	for _, url := range urls {
		some, err := scrape(ctx, url)
		if err != nil {
			return fmt.Errorf("cache advise: %w", err)
		}
		families = append(families, some...)
	}
	table, err := Policy()
	if err != nil {
		return err
	}
	all, err := adviceOf(inspect.KindsOf(families), table)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(out, all)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tTTL\tREADS\tHITS %\tABSENT %\tSTALE %\tLOAD ms\tADVICE")
	for _, a := range all {
		ttl := "-"
		if a.TTL > 0 {
			ttl = fmt.Sprintf("%gs", a.TTL)
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%s\n", a.Kind, ttl, a.Reads, 100*a.HitRate, 100*a.Absent, 100*a.Stale, a.LoadMs, a.Words)
	}
	return w.Flush()
}

func scrape(ctx context.Context, url string) ([]*dto.MetricFamily, error) {
	const patience, most = 10 * time.Second, 16 << 20
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	byName, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("%s: not metrics of Prometheus: %w", url, err)
	}
	var families []*dto.MetricFamily
	for _, family := range byName {
		families = append(families, family)
	}
	return families, nil
}

// adviceOf looks at every kind: the most read first, then those that nobody has read.
func adviceOf(kinds []*inspect.Kind, table *policy.Table) ([]Advice, error) {
	effective, err := kindPolicies(table)
	if err != nil {
		return nil, err
	}
	all := []Advice{}
	for _, k := range kinds {
		p, known := effective[k.Kind]
		delete(effective, k.Kind)
		a := newAdvice(k, p.TTL)
		switch {
		case !known && k.Kind != opcache.Kind:
			a.Words = "this release has no such kind: ask the one that serves"
		case a.Reads < leastReads:
			a.Words = "too few reads to tell"
		case !known:
			a.Words = words("each result lives as long as its shortest part, and freshet explain says which that is", a.faults(k))
		default:
			a.Words = words(a.ofTTL(len(p.Tags) > 0), a.faults(k))
		}
		all = append(all, a)
	}
	for name, p := range effective {
		all = append(all, Advice{Kind: name, TTL: p.TTL.Seconds(), Words: "nobody has read it since the instances started"})
	}
	slices.SortStableFunc(all, func(a, b Advice) int { return cmp.Or(cmp.Compare(b.Reads, a.Reads), strings.Compare(a.Kind, b.Kind)) })
	return all, nil
}

func newAdvice(k *inspect.Kind, ttl time.Duration) Advice {
	hits := k.Memory + k.Redis
	a := Advice{Kind: k.Kind, TTL: ttl.Seconds(), Reads: hits}
	for _, n := range k.Misses {
		a.Reads += n
	}
	if a.Reads > 0 {
		a.HitRate = hits / a.Reads
		a.Absent = (k.Misses["absent"] + k.Misses["expired"]) / a.Reads
		a.Stale = k.Misses["stale_tag"] / a.Reads
	}
	if k.Loads > 0 {
		a.LoadMs = 1000 * k.LoadSeconds / k.Loads
	}
	return a
}

const much = 0.1 // of reads, or of loads

// ofTTL says whether another TTL would do better. A kind with tags is stale when it changes, whatever its TTL: a longer
// one costs memory alone.
func (a *Advice) ofTTL(tagged bool) string {
	const good = 0.9
	switch {
	case a.Absent > much && tagged:
		return fmt.Sprintf("%.0f %% of reads find nothing, and its tags keep it right: a longer TTL than %gs saves loads (or Redis evicts: see its memory)", 100*a.Absent, a.TTL)
	case a.Absent > much:
		return fmt.Sprintf("%.0f %% of reads find nothing: a longer TTL than %gs saves loads, if that may be as old", 100*a.Absent, a.TTL)
	case !tagged && a.HitRate > 0.99:
		return fmt.Sprintf("a shorter TTL would be fresher: half of it costs about %.0f more loads in as many reads", a.Absent*a.Reads)
	case a.HitRate >= good:
		return "good as it is"
	}
	return ""
}

// faults are what no TTL mends.
func (a *Advice) faults(k *inspect.Kind) (said []string) {
	note := func(share float64, of, meaning string) {
		if share > much {
			said = append(said, fmt.Sprintf("%.0f %% of %s %s", 100*share, of, meaning))
		}
	}
	note(a.Stale, "reads", "find it changed: are its tags narrower than what changes? A longer TTL would not help")
	note(k.Misses["foreign"]/a.Reads, "reads", "find another release's form: a deploy is under way, or two releases differ")
	note((k.Misses["unavailable"]+k.Misses["stale_grant"])/a.Reads, "reads", "could not use the cache: see Redis and the change log first")
	if k.LoadErrors > 0 {
		note(k.LoadErrors/(k.Loads+k.LoadErrors), "loads", "fail: see the log for what its source says")
	}
	return said
}

func words(first string, more []string) string {
	if first != "" {
		more = append([]string{first}, more...)
	}
	return cmp.Or(strings.Join(more, "; "), "nothing stands out")
}
