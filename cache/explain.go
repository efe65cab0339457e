package cache

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

// Explanations say what a read found for each key, and what its loads asked of the source. Only reads under Explain pay
// for them, beyond a look into their context.

type explainKey struct{}

// Explain returns a context whose reads tell the Observer of each key and of each statement: see Batch.
func Explain(ctx context.Context) context.Context { return context.WithValue(ctx, explainKey{}, true) }

func explains(ctx context.Context) bool { return ctx.Value(explainKey{}) != nil }

// Detail is what a read found for one key.
type Detail struct {
	// Key as the reader gave it, and its Name in Redis.
	Key  any
	Name string
	// Tier that answered: "memory" (this process's), "redis" or "source"; "stale" is what had expired or can't be proved
	// fresh, because the source failed. Empty: nothing did.
	Tier string
	// Miss is why the caches did not answer at first sight; empty for a hit. It is "lease" if another was loading the key
	// and the reader waited for that load: First is then the reason at first sight, and a Tier other than "redis" says that
	// the wait was in vain. What was stale_tag is so by Tag, which was changed at Changed, a position of the log, or may
	// have been: the log's memory of single tags is bounded.
	Miss    Reason
	First   Reason
	Tag     string
	Changed uint64
	// Absent tells that the source has no such key.
	Absent bool
	// Of the entry: what a load has just stored has no AsOf here.
	AsOf            Position
	Filled, Expires time.Time
	Load            time.Duration // how long it took
	Tags            []string
	Bytes           int // of the value, as stored
	waited          bool
}

// Statement is what a load asked of its source, or, without a Text, a reader of Redis.
type Statement struct {
	Text  string
	Began time.Time
	Took  time.Duration
}

// trip is what a reader under Explain notes of a round trip to Redis.
func trip(began time.Time) Statement { return Statement{Began: began, Took: time.Since(began)} }

type statementsKey struct{}

type statements struct {
	mu  sync.Mutex
	all []Statement
}

// Stated notes a statement of the load that ctx belongs to, if somebody wants to know.
func Stated(ctx context.Context, s Statement) {
	if of, ok := ctx.Value(statementsKey{}).(*statements); ok {
		of.mu.Lock()
		defer of.mu.Unlock()
		of.all = append(of.all, s)
	}
}

// details are those of one read; the methods of nil do nothing.
type details struct{ all map[string]*Detail }

func detailsOf(ctx context.Context) *details {
	if !explains(ctx) {
		return nil
	}
	return &details{make(map[string]*Detail)}
}

func (d *details) of(key any, name string) *Detail {
	one := d.all[name]
	if one == nil {
		one = &Detail{Key: key, Name: name}
		d.all[name] = one
	}
	return one
}

func (d *details) hit(key any, name, tier string, e *entry) {
	if d != nil {
		d.of(key, name).answered(tier, e)
	}
}

func (one *Detail) answered(tier string, e *entry) {
	one.Tier, one.Absent, one.AsOf, one.Load = tier, e.absent, e.asOf, e.load
	one.Filled, one.Expires, one.Bytes, one.Tags = e.filled, e.expires, len(e.payload), e.tags.names()
}

// miss keeps the first reason that tells more than that there is no entry. E is the entry that could not be used, if any.
func (d *details) miss(key any, name string, why Reason, e *entry, l *Log) {
	if d == nil {
		return
	}
	one := d.of(key, name)
	if one.Miss != "" && one.Miss != absent {
		return
	}
	one.Miss = why
	if why == staleTag && e != nil {
		one.Tag, one.Changed = l.culprit(e.asOf, e.tags)
	}
}

// forgive is for a key that one tier missed and another had.
func (d *details) forgive(name string) {
	if d != nil {
		one := d.all[name]
		one.Miss, one.Tag, one.Changed = "", "", 0
	}
}

// wait is for a key that another is loading.
func (d *details) wait(key any, name string) {
	if d != nil {
		d.of(key, name).waited = true
	}
}

func (d *details) loaded(key any, name string, until time.Time, tags []string, found bool) {
	if d == nil {
		return
	}
	one := d.of(key, name)
	one.Tier, one.Expires, one.Tags, one.Absent = "source", until, tags, !found
}

func (d *details) list() []Detail {
	if d == nil {
		return nil
	}
	list := make([]Detail, 0, len(d.all))
	for _, one := range d.all {
		if one.waited {
			one.First, one.Miss = one.Miss, leased
		}
		list = append(list, *one)
	}
	return list
}

func (p packed) names() []string {
	var names []string
	for tag := range p.all() {
		names = append(names, string(tag))
	}
	return names
}

// culprit is the first tag that was changed after asOf, and when.
func (l *Log) culprit(asOf Position, tags packed) (tag string, at uint64) {
	v := l.view.Load()
	names := []string{"*"}
	for _, name := range tags.names() {
		kind, _, _ := strings.Cut(name, ":")
		names = append(names, name, kind+":*")
	}
	for _, name := range names {
		if change := v.base + v.lastChange(maphash.String(l.seed, name)); change > asOf.At {
			return name, change
		}
	}
	return "", 0
}
