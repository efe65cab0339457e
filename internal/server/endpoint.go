package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"freshet/models"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

const (
	// A parsed document took 35 to 75 times the memory of its text: at most 150 MB for all, whatever clients send.
	cachedDocuments      = 500
	cachedDocumentLength = 4 << 10 // bytes of text

	mostErrors = 20 // of one refused document: a long one can have hundreds
	methods    = "GET, HEAD, OPTIONS, POST"
)

// endpoint is GraphQL over HTTP: gqlgen executes, what stands around it is ours. gqlgen's transports read bodies without
// a limit, answer mutations by GET with 406, and say "data": null where nothing was executed.
type endpoint struct {
	exec      *executor.Executor
	errors    *presenter
	metrics   *metrics
	bodyLimit int64
}

func newEndpoint(o Options, errors *presenter, metrics *metrics) *endpoint {
	exec := executor.New(o.Schema)
	exec.SetErrorPresenter(errors.present)
	exec.SetRecoverFunc(func(_ context.Context, value any) error { return newPanicked(value) })
	exec.SetQueryCache(shortDocuments{lru.New[*ast.QueryDocument](cachedDocuments)})
	exec.SetParserTokenLimit(o.TokenLimit)
	exec.SetDisableSuggestion(!o.Introspection)
	exec.SetDefaultRulesFn(rulesFor(o.Introspection))
	exec.Use(extension.Introspection{}) // the rules refuse it where it is off, before anything runs
	if o.Response != nil {
		exec.AroundResponses(func(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
			return next(o.Response(ctx))
		})
	}
	if o.RootField != nil {
		exec.AroundRootFields(func(ctx context.Context, next graphql.RootResolver) graphql.Marshaler {
			if graphql.GetOperationContext(ctx).Operation.Operation == ast.Mutation {
				ctx = o.RootField(ctx)
			}
			return next(ctx)
		})
	}
	return &endpoint{exec: exec, errors: errors, metrics: metrics, bodyLimit: o.BodyLimit}
}

// shortDocuments bounds the memory of parsed documents, of which the cache only bounds the number.
type shortDocuments struct {
	graphql.Cache[*ast.QueryDocument]
}

func (c shortDocuments) Add(ctx context.Context, text string, document *ast.QueryDocument) {
	if len(text) <= cachedDocumentLength {
		c.Cache.Add(ctx, text, document)
	}
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Accept")
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	case http.MethodOptions:
		w.Header().Set("Allow", methods)
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		e.errors.refuse(w, r, methodNotAllowed(r.Method+" is not supported", methods))
		return
	}
	started := time.Now()
	if err := e.answer(w, r); err != nil {
		e.errors.refuse(w, r, err)
	}
	rec := recordOf(r.Context())
	e.metrics.operations.WithLabelValues(rec.kind, rec.outcome).Inc()
	e.metrics.operationSeconds.WithLabelValues(rec.kind).Observe(time.Since(started).Seconds())
}

// answer has written nothing if it returns an error.
func (e *endpoint) answer(w http.ResponseWriter, r *http.Request) error {
	as, acceptable := negotiate(r.Header.Values("Accept"))
	if !acceptable {
		return &refusal{
			status: http.StatusNotAcceptable, code: codeBadRequest,
			message: "responses are " + typeGraphQL + " or " + typeJSON + ", and Accept names neither",
		}
	}
	request, err := readEnvelope(w, r, e.bodyLimit)
	if err != nil {
		return err
	}
	params, err := request.params()
	if err != nil {
		return err
	}
	ctx := graphql.StartOperationTrace(r.Context())
	operation, refused := e.exec.CreateOperationContext(ctx, params)
	describe(recordOf(ctx), operation, params)
	if r.Method != http.MethodPost && operation.Operation != nil && operation.Operation.Operation != ast.Query {
		return methodNotAllowed("mutations are sent by POST", http.MethodPost)
	}
	if len(refused) > 0 {
		e.refuseDocument(graphql.WithOperationContext(ctx, operation), w, as, explain(operation, refused))
		return nil
	}
	return e.execute(ctx, w, as, operation)
}

func (e *endpoint) execute(ctx context.Context, w http.ResponseWriter, as media, op *graphql.OperationContext) error {
	next, ctx := e.exec.DispatchOperation(ctx, op)
	response := next(ctx)
	if response == nil || len(response.Data) == 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("execute: no result")
	}
	rec := recordOf(ctx)
	rec.outcome = outcomeOK
	if len(response.Errors) > 0 {
		rec.outcome = outcomeErrors
	}
	if rec.stale.Load() {
		w.Header().Set("Warning", `110 freshet "Response is Stale"`)
	}
	write(w, as, http.StatusOK, response)
	return nil
}

func (e *endpoint) refuseDocument(ctx context.Context, w http.ResponseWriter, as media, refused gqlerror.List) {
	rec := recordOf(ctx)
	rec.outcome = outcomeRefused
	rec.code, _ = refused[0].Extensions["code"].(string)
	write(w, as, as.documentRefused(), e.exec.DispatchError(ctx, refused))
}

func methodNotAllowed(message, allow string) error {
	return &refusal{
		status: http.StatusMethodNotAllowed, code: codeBadRequest,
		message: message,
		header:  map[string]string{"Allow": allow},
	}
}

// describe works as far as the document was understood.
func describe(rec *record, operation *graphql.OperationContext, params *graphql.RawParams) {
	rec.operation = params.OperationName
	if operation.Operation != nil {
		rec.operation = operation.Operation.Name
		rec.kind = string(operation.Operation.Operation)
	}
}

// explain gives gqlgen's errors the codes and words that clients can act on.
func explain(operation *graphql.OperationContext, refused gqlerror.List) gqlerror.List {
	switch {
	case operation.Doc == nil:
		return refused[:min(len(refused), mostErrors)]
	case operation.Operation == nil && operation.OperationName == "":
		return gqlerror.List{coded(codeNoOperation, "the document has several operations: name one in operationName")}
	case operation.Operation == nil:
		return gqlerror.List{coded(codeNoOperation, "the document has no operation "+shorten(operation.OperationName))}
	}
	for i, err := range refused {
		if len(err.Path) > 1 && err.Path[0] == ast.PathName("variable") { // how gqlparser begins the path of a variable
			argument := err.Path[1:].String()
			refused[i] = coded(models.CodeBadUserInput, "variable $"+argument+": "+inWords(err.Message))
			refused[i].Extensions["argument"] = argument
		}
	}
	return refused
}

// inWords puts JSON's kinds for Go's, of which gqlparser speaks.
func inWords(message string) string {
	return strings.NewReplacer(
		"cannot use string as", "cannot use a string as",
		"cannot use int64 as", "cannot use a whole number as",
		"cannot use float64 as", "cannot use a fraction as",
		"cannot use bool as", "cannot use a boolean as",
		"cannot use map as", "cannot use an object as",
		"cannot use slice as", "cannot use a list as",
	).Replace(message)
}

func coded(code models.Code, message string) *gqlerror.Error {
	err := gqlerror.Errorf("%s", message)
	errcode.Set(err, string(code))
	return err
}
