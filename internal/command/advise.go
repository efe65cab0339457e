package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"freshet/internal/inspect"
	"freshet/internal/policy"
	"freshet/internal/store"
)

// Advice is what the numbers of a kind say about its TTL and tags.
type Advice struct {
	Kind    string  `json:"kind"`
	TTL     float64 `json:"ttl"` // seconds
	Reads   float64 `json:"reads"`
	HitRate float64 `json:"hitRate"`
	// Absent and Stale are the shares of reads that missed because nothing was stored any more, or a tag was changed.
	Absent float64 `json:"absent"`
	Stale  float64 `json:"stale"`
	// LoadMs is how long a load took, for each key.
	LoadMs float64 `json:"loadMs"`
	Words  string  `json:"advice"`
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
		fmt.Fprintf(w, "%s\t%gs\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%s\n", a.Kind, a.TTL, a.Reads, 100*a.HitRate, 100*a.Absent, 100*a.Stale, a.LoadMs, a.Words)
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

// adviceOf looks at the kinds that were read, the most read first.
func adviceOf(kinds []*inspect.Kind, table *policy.Table) ([]Advice, error) {
	effective, err := store.Effective(table)
	if err != nil {
		return nil, err
	}
	all := []Advice{}
	for _, k := range kinds {
		p, known := effective[k.Kind]
		if !known {
			continue
		}
		hits := k.Memory + k.Redis
		a := Advice{Kind: k.Kind, TTL: p.TTL.Seconds(), Reads: hits}
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
		a.Words = a.words(len(p.Tags) > 0, k.Misses)
		all = append(all, a)
	}
	slices.SortStableFunc(all, func(a, b Advice) int { return int(b.Reads - a.Reads) })
	return all, nil
}

// words are the advice. A kind with tags is stale when it changes, whatever its TTL: a longer one costs memory alone.
func (a *Advice) words(tagged bool, misses map[string]float64) string {
	const good, much = 0.9, 0.1
	var said []string
	switch {
	case a.Reads < leastReads:
		return "too few reads to tell"
	case !tagged && a.HitRate > 0.99:
		said = append(said, fmt.Sprintf("a shorter TTL would be fresher: half of it costs about %.0f more loads in as many reads", a.Absent*a.Reads))
	case a.HitRate >= good:
		said = append(said, "good as it is")
	}
	if a.Absent > much && tagged {
		said = append(said, fmt.Sprintf("%.0f %% of reads find nothing, and its tags keep it right: a longer TTL than %gs saves loads (or Redis evicts: see its memory)", 100*a.Absent, a.TTL))
	}
	if a.Absent > much && !tagged {
		said = append(said, fmt.Sprintf("%.0f %% of reads find nothing: a longer TTL than %gs saves loads, if that may be as old", 100*a.Absent, a.TTL))
	}
	if a.Stale > much {
		said = append(said, fmt.Sprintf("%.0f %% of reads find it changed: are its tags narrower than what changes? A longer TTL would not help", 100*a.Stale))
	}
	if share := misses["foreign"] / a.Reads; share > much {
		said = append(said, fmt.Sprintf("%.0f %% of reads find another release's form: a deploy is under way, or two releases differ", 100*share))
	}
	if share := (misses["unavailable"] + misses["stale_grant"]) / a.Reads; share > much {
		said = append(said, fmt.Sprintf("%.0f %% of reads could not use the cache: see Redis and the change log first", 100*share))
	}
	if len(said) == 0 {
		said = append(said, "nothing stands out")
	}
	return strings.Join(said, "; ")
}
