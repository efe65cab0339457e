package server

import (
	"net/http"

	"github.com/maypok86/otter/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"freshet/internal/opcache"
	"freshet/internal/operation"
	"freshet/internal/persisted"
	"freshet/models"
)

// prepared is a request that was read and understood: what it asks for, whoever asks. It never changes.
type prepared struct {
	operation  *operation.Operation
	variables  *operation.Variables
	extensions map[string]any
	// result names its result; nil if that is never kept.
	result *opcache.Base

	entry   *persisted.Entry // that counts its use; nil if no build ships with it
	byID    bool             // its text was not sent
	listed  bool             // some build ships with it
	edition any              // of the library, when that was looked up
}

// documentRefused is why a document or its variables can't be executed.
type documentRefused struct{ errors gqlerror.List }

func (d *documentRefused) Error() string { return d.errors.Error() }

const (
	// A parsed document took 35 to 75 times the memory of its text.
	documentWeight = 75
	documentBytes  = 64 << 20 // for all documents that are kept
	knownBytes     = 64 << 20 // for all requests that are kept, with their documents
	knownLength    = 8 << 10  // of a request that is kept
	requestWeight  = 1 << 10  // beside its bytes and its document
)

// preparer reads requests. It keeps documents by their text, and queries by the very bytes that they came as: phones send
// the same ones again and again.
type preparer struct {
	compiler  *operation.Compiler
	documents *otter.Cache[string, *operation.Document]
	known     *otter.Cache[string, *prepared]
	librarian *librarian
	bodyLimit int64
}

func newPreparer(o Options, metrics *metrics) *preparer {
	return &preparer{
		compiler: o.Compiler, bodyLimit: o.BodyLimit,
		librarian: &librarian{Persisted: o.Persisted, metrics: metrics, log: o.Log, unlisted: persisted.Unlisted{Log: o.Log}},
		documents: otter.Must(&otter.Options[string, *operation.Document]{
			MaximumWeight: documentBytes,
			Weigher: func(text string, _ *operation.Document) uint32 {
				return uint32(documentWeight*len(text) + requestWeight)
			},
		}),
		known: otter.Must(&otter.Options[string, *prepared]{
			MaximumWeight: knownBytes,
			Weigher: func(bytes string, p *prepared) uint32 {
				return uint32(len(bytes) + documentWeight*len(p.operation.Document.Text) + requestWeight)
			},
		}),
	}
}

func (p *preparer) close() {
	p.documents.StopAllGoroutines()
	p.known.StopAllGoroutines()
}

// prepare reads a request, and refuses what the viewer may not ask for. The error is a refusal or a documentRefused.
func (p *preparer) prepare(w http.ResponseWriter, r *http.Request, viewer *models.Viewer) (*prepared, error) {
	bytes, err := readRequest(w, r, p.bodyLimit)
	if err != nil {
		return nil, err
	}
	app, build := clientOf(r.Header)
	key := bytes
	if app != "" {
		key += "\n" + app // ids are an app's own; no body and no address ends so
	}
	found, ok := p.known.GetIfPresent(key)
	if !ok || found.edition != p.librarian.edition() {
		if found, err = p.read(r, bytes, app, viewer); err != nil {
			return nil, err
		}
		// Mutations are not kept: their variables hold passwords, and they do not repeat.
		if found.operation.Type == ast.Query && len(key) <= knownLength {
			p.known.Set(key, found)
		}
	}
	if err := p.librarian.enforce(found.byID, found.listed, viewer); err != nil {
		return nil, err
	}
	p.librarian.count(r.Context(), found, app, build)
	recordOf(r.Context()).use = useOf(found.entry, app, build)
	return found, nil
}

func (p *preparer) read(r *http.Request, bytes, app string, viewer *models.Viewer) (*prepared, error) {
	ctx := r.Context()
	e, err := parseRequest(r.Method, bytes)
	if err != nil {
		return nil, err
	}
	recordOf(ctx).operation = e.operationName
	edition := p.librarian.edition() // before what is looked up in it
	n, err := p.librarian.find(ctx, e, app)
	if err != nil {
		return nil, err
	}
	op, errs := p.operation(n, e.operationName)
	if op == nil && p.librarian.strict(viewer) {
		return nil, p.librarian.enforce(n.byID, false, viewer) // whoever may not send it learns nothing of the schema from it
	}
	if op == nil {
		return nil, &documentRefused{errs}
	}
	describe(recordOf(ctx), op)
	made := &prepared{operation: op, extensions: e.extensions, entry: n.entry, byID: n.byID, listed: p.librarian.listed(n, op), edition: edition}
	if err := p.librarian.enforce(made.byID, made.listed, viewer); err != nil {
		return nil, err
	}
	p.librarian.register(ctx, n)
	if made.variables, errs = op.Variables(e.variables); len(errs) > 0 {
		return nil, &documentRefused{errs}
	}
	made.result = opcache.BaseOf(op, made.variables)
	return made, nil
}

// operation is nil if there are errors.
func (p *preparer) operation(n reference, name string) (*operation.Operation, gqlerror.List) {
	if n.entry != nil && (name == "" || name == n.entry.Operation.Name) {
		return n.entry.Operation, nil
	}
	document, errs := p.document(n.text)
	if len(errs) > 0 {
		return nil, errs
	}
	op, unknown := document.Operation(name)
	if unknown != nil {
		return nil, gqlerror.List{unknown}
	}
	return op, nil
}

func (p *preparer) document(text string) (*operation.Document, gqlerror.List) {
	if known, ok := p.documents.GetIfPresent(text); ok {
		return known, nil
	}
	made, errs := p.compiler.Compile(text)
	if len(errs) == 0 {
		p.documents.Set(text, made)
	}
	return made, errs
}

func describe(rec *record, op *operation.Operation) {
	rec.operation, rec.kind, rec.asked = op.Name, string(op.Type), op
}
