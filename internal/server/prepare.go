package server

import (
	"context"
	"net/http"

	"github.com/maypok86/otter/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"freshet/internal/opcache"
	"freshet/internal/operation"
)

// prepared is a request that was read and understood: what it asks for, whoever asks. It never changes.
type prepared struct {
	operation  *operation.Operation
	variables  *operation.Variables
	extensions map[string]any
	// result names its result; nil if that is never kept.
	result *opcache.Base
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
	bodyLimit int64
}

func newPreparer(o Options) *preparer {
	return &preparer{
		compiler: o.Compiler, bodyLimit: o.BodyLimit,
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

// prepare reads a request. The error is a refusal or a documentRefused.
func (p *preparer) prepare(w http.ResponseWriter, r *http.Request) (*prepared, error) {
	bytes, err := readRequest(w, r, p.bodyLimit)
	if err != nil {
		return nil, err
	}
	if known, ok := p.known.GetIfPresent(bytes); ok {
		return known, nil
	}
	e, err := parseRequest(r.Method, bytes)
	if err != nil {
		return nil, err
	}
	made, err := p.understand(r.Context(), e)
	if err != nil {
		return nil, err
	}
	// Mutations are not kept: their variables hold passwords, and they do not repeat.
	if made.operation.Type == ast.Query && len(bytes) <= knownLength {
		p.known.Set(bytes, made)
	}
	return made, nil
}

func (p *preparer) understand(ctx context.Context, e *envelope) (*prepared, error) {
	text, err := e.text()
	if err != nil {
		return nil, err
	}
	recordOf(ctx).operation = e.operationName
	document, errs := p.document(text)
	if len(errs) > 0 {
		return nil, &documentRefused{errs}
	}
	op, unknown := document.Operation(e.operationName)
	if unknown != nil {
		return nil, &documentRefused{gqlerror.List{unknown}}
	}
	describe(recordOf(ctx), op)
	variables, errs := op.Variables(e.variables)
	if len(errs) > 0 {
		return nil, &documentRefused{errs}
	}
	return &prepared{op, variables, e.extensions, opcache.BaseOf(op, variables)}, nil
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
	rec.operation, rec.kind = op.Name, string(op.Type)
}
