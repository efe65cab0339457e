package persisted

import (
	"cmp"
	"log/slog"
	"slices"
	"sync/atomic"

	"freshet/internal/manifest"
	"freshet/internal/operation"
)

// Entry is an operation that active builds ship with. It never changes.
type Entry struct {
	// App is whose operation it is, and ID what its manifest calls it, in the normal form: a SHA-256 is bare and in lower
	// case.
	App, ID string
	// SHA256 is that of the text, in lower-case hexadecimal. An ID that is another SHA-256 is a mere name.
	SHA256    string
	Operation *operation.Operation

	document int64
	builds   map[string]listed // all that list it, by version
	alone    *atomic.Int64     // requests that named none of these
	before   int64             // requests when it was loaded
}

// listed is an entry in a build.
type listed struct {
	use      use
	active   bool
	requests *atomic.Int64
}

// Used counts a request. App and build are what the client calls itself; unless they name a build that has the operation,
// the request counts for the operation alone.
func (e *Entry) Used(app, build string) {
	if app == e.App {
		if in, ok := e.builds[build]; ok {
			in.requests.Add(1)
			return
		}
	}
	e.alone.Add(1)
}

// In tells whether a build lists it, by what a client calls itself and the build.
func (e *Entry) In(app, build string) bool {
	_, ok := e.builds[build]
	return ok && app == e.App
}

// Label is the operation's name, or its id where it has none.
func (e *Entry) Label() string { return cmp.Or(e.Operation.Name, e.ID) }

// requests is how often it was asked for, as far as this instance knows.
func (e *Entry) requests() int64 {
	n := e.before + e.alone.Load()
	for _, in := range e.builds {
		n += in.requests.Load()
	}
	return n
}

// name is an id in an app; the empty app stands for requests that don't say whose they are.
type name struct{ app, id string }

// shelf is everything that is served at one time. It never changes.
type shelf struct {
	edition string
	entries []*Entry
	names   map[name]*Entry
	listed  map[[32]byte]bool // normalised hashes
	texts   map[string]text   // by SHA-256 in hexadecimal
}

// text is what became of a text: an operation, or the reason why it can't be one.
type text struct {
	operation *operation.Operation
	err       error
}

// newShelf puts the entries where they are found. A SHA-256 means the text that has it, whoever calls another text so;
// within an app an id means what its manifest says; and without an app what all apps mean by it, if they agree.
func newShelf(edition string, entries []*Entry, texts map[string]text, log *slog.Logger) *shelf {
	s := &shelf{
		edition: edition, entries: entries, texts: texts,
		names: make(map[name]*Entry), listed: make(map[[32]byte]bool),
	}
	slices.SortFunc(entries, func(a, b *Entry) int { return cmp.Compare(a.document, b.document) })
	for _, e := range entries {
		s.listed[e.Operation.Hash] = true
		for _, app := range []string{e.App, ""} {
			if at := (name{app, e.SHA256}); s.names[at] == nil || s.names[at].ID != e.SHA256 {
				s.names[at] = e // at best the one that is called so
			}
		}
	}
	disputed := make(map[string]bool)
	for _, e := range entries {
		everywhere := s.names[name{"", e.ID}]
		if everywhere != nil && everywhere.SHA256 == e.ID && e.SHA256 != e.ID {
			log.Warn("persisted: an id is the SHA-256 of another text, and means that", "app", e.App, "id", e.ID, "other", everywhere.App)
			continue
		}
		if s.names[name{e.App, e.ID}] == nil {
			s.names[name{e.App, e.ID}] = e
		}
		if everywhere == nil {
			s.names[name{"", e.ID}] = e
		} else if everywhere.SHA256 != e.SHA256 {
			disputed[e.ID] = true
		}
	}
	for id := range disputed {
		delete(s.names, name{"", id})
	}
	return s
}

func (s *shelf) find(app, id string) (*Entry, bool) {
	id = manifest.NormalID(id)
	if e := s.names[name{app, id}]; e != nil {
		return e, true
	}
	e := s.names[name{"", id}]
	return e, e != nil
}

// Edition is comparable, and changes whenever other operations are served.
func (l *Library) Edition() any { return l.shelf.Load() }

// ByID finds the operation that a request asks for with documentId, doc_id, id, or the hash of an automatic persisted
// query. App is what the client calls itself, or empty. The id may have the form "sha256:<hex>", be a bare hash or another
// id of a manifest, "<app>~<build>~<id>" (Hive), or "<app>/<id>" (graphql-ruby).
//
// An id that is the SHA-256 of a known text means that text. Where it must not mean another one, as for an automatic
// persisted query whose text may be registered elsewhere, compare it with Entry.SHA256.
func (l *Library) ByID(id, app string) (*Entry, bool) {
	s := l.shelf.Load()
	// The more precise reading comes first, so that no other app can call an operation so.
	if of, build, key, ok := cutBuild(id); ok {
		if e := s.names[name{of, manifest.NormalID(key)}]; e != nil && e.builds[build].active {
			return e, true
		}
	}
	if of, key, ok := cutApp(id); ok {
		if e := s.names[name{of, manifest.NormalID(key)}]; e != nil {
			return e, true
		}
	}
	return s.find(app, id)
}

// Listed tells whether an active build has the operation, whatever its id and however its text is laid out.
func (l *Library) Listed(op *operation.Operation) bool {
	return l.shelf.Load().listed[op.Hash]
}

// Listing is an operation of a build.
type Listing struct {
	App, Build string
	Active     bool
	Entry      *Entry
}

// Listings are all that is served, in the order of apps, builds and labels.
func (l *Library) Listings() []Listing {
	var all []Listing
	for _, e := range l.shelf.Load().entries {
		for build, in := range e.builds {
			all = append(all, Listing{e.App, build, in.active, e})
		}
	}
	slices.SortFunc(all, func(a, b Listing) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Build, b.Build), cmp.Compare(a.Entry.Label(), b.Entry.Label()))
	})
	return all
}

// Hottest returns the n operations that were asked for most, each once, the most used first.
func (l *Library) Hottest(n int) []*Entry {
	type ranked struct {
		entry    *Entry
		requests int64
	}
	entries := l.shelf.Load().entries
	at := make(map[[32]byte]int, len(entries))
	ranking := make([]ranked, 0, len(entries))
	for _, e := range entries {
		i, known := at[e.Operation.Hash]
		if !known {
			i, at[e.Operation.Hash] = len(ranking), len(ranking)
			ranking = append(ranking, ranked{entry: e})
		}
		ranking[i].requests += e.requests()
	}
	slices.SortStableFunc(ranking, func(a, b ranked) int { return cmp.Compare(b.requests, a.requests) })
	hottest := make([]*Entry, min(n, len(ranking)))
	for i := range hottest {
		hottest[i] = ranking[i].entry
	}
	return hottest
}
