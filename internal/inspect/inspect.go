// Package inspect records what one request did with the caches, for a developer to see why.
package inspect

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"freshet/cache"
)

// Recorder collects what one request does. Its methods are safe for concurrent use; those of nil do nothing, so that who
// is not inspected pays nothing.
type Recorder struct {
	began time.Time

	mu         sync.Mutex
	paths      map[want]map[string]struct{}
	batches    []batch
	statements []cache.Statement
	joined     bool
}

// want is a key of a kind that a field asked for.
type want struct {
	kind string
	key  any
}

type batch struct {
	cache.Batch
	ended time.Time
}

type recorderKey struct{}

// Begin returns a context whose reads are recorded.
func Begin(ctx context.Context, began time.Time) (context.Context, *Recorder) {
	r := &Recorder{began: began, paths: make(map[want]map[string]struct{})}
	return context.WithValue(cache.Explain(ctx), recorderKey{}, r), r
}

// From returns the recorder of a request that is inspected, or nil.
func From(ctx context.Context) *Recorder {
	r, _ := ctx.Value(recorderKey{}).(*Recorder)
	return r
}

// Want notes that the field at path asked for a key of a kind.
func (r *Recorder) Want(kind string, key any, path string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := want{kind, key}
	if r.paths[w] == nil {
		r.paths[w] = make(map[string]struct{})
	}
	r.paths[w][path] = struct{}{}
}

// Read notes a batch that has just ended.
func (r *Recorder) Read(b cache.Batch) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, batch{b, time.Now()})
}

// Stated notes a statement outside of the caches, such as those of a mutation.
func (r *Recorder) Stated(s cache.Statement) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, s)
}

// Joined notes that the whole result is what another request was making already.
func (r *Recorder) Joined() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joined = true
}

// Operation returns what the cache of whole results said, as of now; nil if it was not asked. Kind is its name.
func (r *Recorder) Operation(kind string, now time.Time) *Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.batches {
		if b.Kind == kind && len(b.Details) > 0 {
			key := KeyOf(b.Details[0], now)
			if r.joined {
				key.First, key.Miss = key.Miss, lease
			}
			return &key
		}
	}
	return nil
}

// Report returns the reads of kinds, in the order in which they began, and the statements that belong to none. Whole
// results, whose kind's name is except, are left out.
func (r *Recorder) Report(except string, now time.Time) (reads []Read, statements []Statement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reads = []Read{}
	for _, b := range r.batches {
		if b.Kind != except {
			reads = append(reads, r.read(b, now))
		}
	}
	slices.SortStableFunc(reads, func(a, b Read) int { return cmp.Compare(a.StartMs, b.StartMs) })
	return reads, r.listed(r.statements)
}

func (r *Recorder) read(b batch, now time.Time) Read {
	read := Read{
		Kind: b.Kind, StartMs: ms(b.ended.Add(-b.Took).Sub(r.began)), TookMs: ms(b.Took), LoadMs: ms(b.LoadTook), WaitMs: ms(b.WaitTook),
		RoundTrips: b.RoundTrips, SQL: r.listed(b.Statements), Keys: make([]Key, 0, len(b.Details)),
	}
	if b.Err != nil {
		read.Error = "the source failed"
	}
	for _, d := range b.Details {
		key := KeyOf(d, now)
		key.Paths = r.pathsOf(want{b.Kind, d.Key})
		read.Keys = append(read.Keys, key)
	}
	slices.SortFunc(read.Keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	return read
}

func (r *Recorder) listed(all []cache.Statement) []Statement {
	var list []Statement
	for _, s := range all {
		list = append(list, Statement{Text: Template(s.Text), StartMs: ms(s.Began.Sub(r.began)), TookMs: ms(s.Took)})
	}
	return list
}

// pathsOf leaves out a list that asked ahead for what its entries' fields then asked for themselves.
func (r *Recorder) pathsOf(w want) []string {
	var paths []string
	for path := range r.paths[w] {
		covered := false
		for other := range r.paths[w] {
			covered = covered || strings.HasPrefix(other, path+".")
		}
		if !covered {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}
