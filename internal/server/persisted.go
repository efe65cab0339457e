package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"freshet/internal/operation"
	"freshet/internal/persisted"
	"freshet/models"
)

// Enforcement says which operations are executed, for those without the developers' scope.
type Enforcement string

// The rungs of the ladder, each stricter than the one before.
const (
	// EnforceOff executes all.
	EnforceOff Enforcement = "off"
	// EnforceLog executes all, and counts and logs those that no active build ships with.
	EnforceLog Enforcement = "log"
	// EnforceSafelist executes what active builds ship with, by id or as text.
	EnforceSafelist Enforcement = "safelist"
	// EnforceIDOnly executes what active builds ship with, by id.
	EnforceIDOnly Enforcement = "id-only"
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Enforcement) UnmarshalText(text []byte) error {
	all := []Enforcement{EnforceOff, EnforceLog, EnforceSafelist, EnforceIDOnly}
	if !slices.Contains(all, Enforcement(text)) {
		return fmt.Errorf("%q is not off, log, safelist or id-only", text)
	}
	*e = Enforcement(text)
	return nil
}

// Persisted is what a Server knows of operations that clients name by an id. Its zero value knows none.
type Persisted struct {
	// Library has the operations of app builds; nil: none.
	Library *persisted.Library
	// Automatic has the texts that clients register on their own; nil: they are told that it is not supported.
	Automatic *persisted.Automatic
	// Enforcement of the Library. Default EnforceOff.
	Enforcement Enforcement
}

// neverCached keeps a client that is ahead of the server from being stuck with the server's ignorance.
const neverCached = "private, no-cache, must-revalidate"

// reference is what a request names: a text, or an operation that is known by its id.
type reference struct {
	text  string
	entry *persisted.Entry // nil: only the text is known
	byID  bool             // no text was sent
	hash  string           // under which the text is to be registered; empty: under none
}

// librarian finds what requests name.
type librarian struct {
	Persisted
	unlisted persisted.Unlisted
	metrics  *metrics
	log      *slog.Logger
}

// edition changes whenever other operations are served, and is comparable.
func (l *librarian) edition() any {
	if l.Library == nil {
		return nil
	}
	return l.Library.Edition()
}

func (l *librarian) entry(id, app string) (*persisted.Entry, bool) {
	if l.Library == nil {
		return nil, false
	}
	return l.Library.ByID(id, app)
}

// find is the document that a request asks for, or why it names none.
func (l *librarian) find(ctx context.Context, e *envelope, app string) (reference, error) {
	if extension, given := e.extensions["persistedQuery"]; given && extension != nil {
		return l.findAutomatic(ctx, e, extension, app)
	}
	switch {
	case e.documentID != "" && e.query != "":
		l.metrics.persisted.WithLabelValues("refused").Inc()
		return reference{}, &refusal{
			status: http.StatusBadRequest, code: codeIDAndBody,
			message: "Sending a persisted query ID and a body in the same request is disallowed",
			header:  map[string]string{"Cache-Control": neverCached},
		}
	case e.documentID != "":
		if entry, ok := l.entry(e.documentID, app); ok {
			return reference{text: entry.Operation.Document.Text, entry: entry, byID: true}, nil
		}
		return reference{}, l.unknown(e.documentID)
	case isBlank(e.query):
		return reference{}, badRequest("GraphQL operations must contain a non-empty `query` or a `persistedQuery` extension.")
	}
	return l.sent(e.query, app), nil
}

// sent is a text that came whole. A build's own counts as used, however it came.
func (l *librarian) sent(text, app string) reference {
	n := reference{text: text}
	if l.Library != nil {
		sum := sha256.Sum256([]byte(text))
		if entry, ok := l.entry(hex.EncodeToString(sum[:]), app); ok && entry.SHA256 == hex.EncodeToString(sum[:]) {
			n.entry = entry
		}
	}
	return n
}

// findAutomatic is Apollo's protocol of automatic persisted queries: a hash alone at first, and with the text if that is
// not known.
func (l *librarian) findAutomatic(ctx context.Context, e *envelope, extension any, app string) (reference, error) {
	fields, _ := extension.(map[string]any)
	if fields["version"] != int64(1) {
		return reference{}, badRequest("Unsupported persisted query version")
	}
	id, _ := fields["sha256Hash"].(string)
	if id == "" {
		return reference{}, badRequest("extensions.persistedQuery.sha256Hash must be a string")
	}
	hash, isHash := persisted.AutomaticHash(id)
	if e.query != "" {
		if sum := sha256.Sum256([]byte(e.query)); hash != hex.EncodeToString(sum[:]) {
			return reference{}, &refusal{
				status: http.StatusBadRequest, code: codeAPQMismatch, message: "provided sha does not match query",
			}
		}
		n := l.sent(e.query, app)
		if n.entry == nil && l.Automatic != nil {
			n.hash = hash
		}
		return n, nil
	}
	entry, ok := l.entry(id, app)
	if ok && entry.SHA256 == hash {
		return reference{text: entry.Operation.Document.Text, entry: entry, byID: true}, nil
	}
	// A hash means the text that has it, rather than one that a manifest calls so.
	if isHash && l.Automatic != nil {
		if text, found, _ := l.Automatic.Get(ctx, hash); found { // a fault of Redis is a miss
			return reference{text: text, byID: true}, nil
		}
	}
	if ok {
		return reference{text: entry.Operation.Document.Text, entry: entry, byID: true}, nil
	}
	return reference{}, l.unregistered(id)
}

// unregistered has the client send the text: once, or from now on always.
func (l *librarian) unregistered(id string) error {
	if l.Enforcement == EnforceIDOnly {
		return l.unknown(id)
	}
	l.metrics.persisted.WithLabelValues("unregistered").Inc()
	code, message := codeAPQNotFound, "PersistedQueryNotFound"
	if l.Automatic == nil {
		code, message = codeAPQNotSupported, "PersistedQueryNotSupported"
	}
	return &refusal{
		status: http.StatusOK, code: code, message: message, header: map[string]string{"Cache-Control": neverCached},
	}
}

func (l *librarian) unknown(id string) error {
	l.metrics.persisted.WithLabelValues("unknown").Inc()
	return &refusal{
		status: http.StatusNotFound, code: codePersistedUnknown,
		message: "Persisted query '" + shorten(id) + "' not found in the persisted query list",
		header:  map[string]string{"Cache-Control": neverCached},
	}
}

// register keeps a text that was found valid. A fault of Redis costs the client another round.
func (l *librarian) register(ctx context.Context, n reference) {
	if n.hash == "" {
		return
	}
	if err := l.Automatic.Put(ctx, n.hash, n.text); err != nil {
		l.log.DebugContext(ctx, "a text was not registered", "error", err)
		return
	}
	l.metrics.persisted.WithLabelValues("registered").Inc()
}

// listed tells whether an active build ships with the operation, in whatever layout.
func (l *librarian) listed(n reference, op *operation.Operation) bool {
	return n.entry != nil || l.Library != nil && l.Library.Listed(op)
}

// strict tells whether those who are no developers may only do what builds ship with.
func (l *librarian) strict(viewer *models.Viewer) bool {
	return (l.Enforcement == EnforceSafelist || l.Enforcement == EnforceIDOnly) && !isDeveloper(viewer)
}

// enforce refuses an operation that the viewer may not have executed.
func (l *librarian) enforce(byID, listed bool, viewer *models.Viewer) error {
	if !l.strict(viewer) {
		return nil
	}
	if l.Enforcement == EnforceIDOnly && !byID {
		l.metrics.persisted.WithLabelValues("refused").Inc()
		return &refusal{
			status: http.StatusBadRequest, code: codeIDRequired,
			message: "This endpoint does not allow freeform GraphQL requests; operations must be sent by ID in the persisted queries GraphQL extension.",
		}
	}
	if !listed {
		l.metrics.persisted.WithLabelValues("refused").Inc()
		return &refusal{
			status: http.StatusForbidden, code: codeNotSafelisted,
			message: "The operation body was not found in the persisted query safelist",
			header:  map[string]string{"Cache-Control": neverCached},
		}
	}
	return nil
}

// count notes that a request was understood.
func (l *librarian) count(ctx context.Context, p *prepared, app, build string) {
	switch {
	case p.entry != nil:
		p.entry.Used(app, build)
	case l.Enforcement == EnforceLog && !p.listed:
		l.metrics.persisted.WithLabelValues("unlisted").Inc()
		l.unlisted.Saw(ctx, p.operation, app, build)
	}
}

func isDeveloper(viewer *models.Viewer) bool {
	return viewer != nil && slices.Contains(viewer.Scopes, developerScope)
}

// developerScope lets a session see and do what developers need.
const developerScope = "developer"

// clientOf is what a client calls itself and its build, in Apollo's headers; empty if it doesn't.
func clientOf(h http.Header) (app, build string) {
	if name := h["Apollographql-Client-Name"]; len(name) > 0 {
		app = name[0]
	}
	if version := h["Apollographql-Client-Version"]; len(version) > 0 {
		build = version[0]
	}
	return app, build
}
