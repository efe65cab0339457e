package opcache

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"freshet/cache"
)

// Answer is a stored result on its way to a client.
type Answer struct {
	*form
	result  *cache.Result
	private bool
}

func newAnswer(found *cache.Result, key Key) *Answer {
	return &Answer{form: found.Value.(*form), result: found, private: key.Private}
}

// Local tells that it came from this process's memory.
func (a *Answer) Local() bool { return a.result.Local }

// Early asks for a Refresh in the background.
func (a *Answer) Early() bool { return a.result.Early }

// Tags are the names of the changes that make it stale.
func (a *Answer) Tags() []string { return a.result.Tags() }

// Private tells that it is one viewer's.
func (a *Answer) Private() bool { return a.private }

// Plain is the body without compression. It may be shared: nobody may change it.
func (a *Answer) Plain(zip *Zipper) ([]byte, error) {
	if !a.gzip {
		return a.body, nil
	}
	return zip.Expand(a.body)
}

// Values of headers that all share; nobody may change them.
var (
	// revalidate lets a phone keep its owner's result and ask whether it is still right, instead of showing an old one.
	revalidate = []string{"private, no-cache"}
	inGzip     = []string{"gzip"}
	seconds    = numbers(300)
)

func numbers(n int) [][]string {
	all := make([][]string, n)
	for i := range all {
		all[i] = []string{strconv.Itoa(i)}
	}
	return all
}

func number(n int) []string {
	if n < len(seconds) {
		return seconds[n]
	}
	return []string{strconv.Itoa(n)}
}

// Headers says how results leave.
type Headers struct {
	// PrivateMaxAge sends Apollo's `private, max-age=N` for one viewer's results, instead of having clients revalidate.
	PrivateMaxAge bool
	// Tags names a header that tells a CDN the tags of a public result: Surrogate-Key (with spaces between) or Cache-Tag
	// (with commas). Empty: none.
	Tags string
}

// Write sends the answer, or 304 if the client has it already: an answer to GET or HEAD whose If-None-Match names its ETag.
// What a header says of time is counted at now. It returns the status.
func (a *Answer) Write(w http.ResponseWriter, r *http.Request, now time.Time, o Headers) int {
	h := w.Header()
	h["Etag"] = a.etag
	a.setLife(h, now, o)
	if o.Tags != "" && !a.private {
		h.Set(o.Tags, tagHeader(a.Tags(), o.Tags == "Cache-Tag"))
	}
	if r.Method != http.MethodPost && matches(r.Header["If-None-Match"], a.etag[0]) {
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified
	}
	h["Content-Length"] = a.length
	if a.gzip {
		h["Content-Encoding"] = inGzip
	}
	w.WriteHeader(http.StatusOK)
	w.Write(a.body) // fails if the client has gone, who then needs no answer; of HEAD nothing leaves
	return http.StatusOK
}

// setLife says for how long the answer is right: max-age from when it was made, Age since then.
func (a *Answer) setLife(h http.Header, now time.Time, o Headers) {
	age := max(0, int(now.Sub(a.result.Filled())/time.Second))
	h["Age"] = number(age)
	if a.private && !o.PrivateMaxAge {
		h["Cache-Control"] = revalidate
		return
	}
	scope := "public"
	if a.private {
		scope = "private"
	}
	life := int(a.result.Expires().Sub(a.result.Filled()) / time.Second)
	h["Cache-Control"] = []string{scope + ", max-age=" + strconv.Itoa(life)}
}

// matches tells whether If-None-Match names the ETag. It compares weakly, as RFC 9110 13.1.2 asks.
func matches(header []string, etag string) bool {
	for _, line := range header {
		for candidate := range strings.SplitSeq(line, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// tagHeader joins tags, the types before the single ones, as far as CDNs read: a tag that is left out is covered by its
// type.
func tagHeader(tags []string, commas bool) string {
	const most = 16 << 10 // bytes; the least that Fastly and Cloudflare promise
	separator := " "
	if commas {
		separator = ","
	}
	var b strings.Builder
	add := func(tag string) {
		if b.Len()+len(separator)+len(tag) > most {
			return
		}
		if b.Len() > 0 {
			b.WriteString(separator)
		}
		b.WriteString(tag)
	}
	last := ""
	for _, tag := range tags {
		if kind, _, _ := strings.Cut(tag, ":"); kind != last {
			last = kind
			add(kind)
		}
	}
	for _, tag := range tags {
		add(tag)
	}
	return b.String()
}

// AcceptsGzip tells whether Accept-Encoding lets a response be compressed (RFC 9110 12.5.3).
func AcceptsGzip(header []string) bool {
	if len(header) == 1 && header[0] == "gzip" {
		return true
	}
	any := false
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(item, ";")
			coding = strings.TrimSpace(coding)
			if !strings.EqualFold(coding, "gzip") && coding != "*" {
				continue
			}
			accepted := !zeroQuality(params)
			if coding != "*" {
				return accepted
			}
			any = accepted
		}
	}
	return any
}

func zeroQuality(params string) bool {
	name, value, given := strings.Cut(strings.TrimSpace(params), "=")
	if !given || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return false
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err != nil || q <= 0
}
