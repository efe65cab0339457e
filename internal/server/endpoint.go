package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"freshet/internal/auth"
	"freshet/internal/inspect"
	"freshet/internal/opcache"
	"freshet/models"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

const methods = "GET, HEAD, OPTIONS, POST"

// endpoint is GraphQL over HTTP. A result that is kept is written out as it is; otherwise gqlgen executes. What stands
// around it is ours: gqlgen's transports read bodies without a limit, answer mutations by GET with 406, and say
// "data": null where nothing was executed.
type endpoint struct {
	preparer *preparer
	results  *opcache.Cache // nil: none are kept
	headers  opcache.Headers
	exec     *executor.Executor
	like     *graphql.OperationContext // what all operations have in common
	limits   Limits
	zip      opcache.Zipper
	errors   *presenter
	metrics  *metrics
	timeout  time.Duration
	// mayInspect tells who is told what the caches did.
	mayInspect func(*models.Viewer) bool
	work       sync.WaitGroup // refreshes in the background
}

func newEndpoint(o Options, errors *presenter, metrics *metrics) *endpoint {
	exec := executor.New(o.Schema)
	exec.SetErrorPresenter(errors.present)
	exec.SetRecoverFunc(func(_ context.Context, value any) error { return newPanicked(value) })
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
	// The middleware is in the context of any operation alone. This one is never executed.
	like, _ := exec.CreateOperationContext(graphql.StartOperationTrace(context.Background()), &graphql.RawParams{Query: "{__typename}"})
	return &endpoint{
		preparer: newPreparer(o, metrics), results: o.Results, headers: o.ResultHeaders, limits: o.Limits, exec: exec, like: like,
		errors: errors, metrics: metrics, timeout: o.RequestTimeout, mayInspect: o.Inspect,
	}
}

// close waits for what runs in the background.
func (e *endpoint) close() {
	e.work.Wait()
	e.preparer.close()
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := recordOf(r.Context())
	addVary(w.Header())
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	case http.MethodOptions:
		rec.identify()
		w.Header().Set("Allow", methods)
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		e.errors.refuse(w, r, methodNotAllowed(r.Method+" is not supported", methods))
		return
	}
	if err := e.answer(w, r, rec); err != nil {
		e.errors.refuse(w, r, err)
	}
	e.metrics.operation(rec.kind, rec.outcome, time.Since(rec.started))
	outcome := rec.outcome
	if outcome == outcomeOK && rec.result == resultHit {
		outcome = resultHit
	}
	e.metrics.uses.count(rec.use, outcome)
	if counter := e.metrics.results[rec.result]; counter != nil {
		counter.Inc()
	}
}

// answer has written nothing if it returns an error.
func (e *endpoint) answer(w http.ResponseWriter, r *http.Request, rec *record) error {
	as, acceptable := negotiate(r.Header["Accept"])
	if !acceptable {
		return &refusal{
			status: http.StatusNotAcceptable, code: codeBadRequest,
			message: "responses are " + typeGraphQL + " or " + typeJSON + ", and Accept names neither",
		}
	}
	p, err := e.preparer.prepare(w, r, rec.viewer)
	var refused *documentRefused
	if errors.As(err, &refused) {
		if !mayQuery(r.Method, rec.kind) {
			return onlyByPost()
		}
		e.refuseDocument(w, r, as, refused.errors)
		return nil
	}
	if err != nil {
		return err
	}
	describe(rec, p.operation)
	if !mayQuery(r.Method, string(p.operation.Type)) {
		return onlyByPost()
	}
	return e.respond(w, r, as, p)
}

// mayQuery tells whether an operation of a type may come by a method; what was not understood as far as its type may.
func mayQuery(method, kind string) bool {
	return method == http.MethodPost || kind == string(ast.Query) || kind == kindUnknown
}

func onlyByPost() error { return methodNotAllowed("mutations are sent by POST", http.MethodPost) }

// respond sends the operation's result: one that is kept, if there is one, or else one that is made now.
func (e *endpoint) respond(w http.ResponseWriter, r *http.Request, as media, p *prepared) error {
	viewer := recordOf(r.Context()).viewer
	if how := e.inspectionOf(r.Header[debugHeader], viewer); how.on {
		return e.inspected(w, r, as, p, how)
	}
	wish, gzip := wishOf(r.Header["Cache-Control"], viewer), opcache.AcceptsGzip(r.Header["Accept-Encoding"])
	kept, made, err := e.result(r.Context(), p, viewer, wish, gzip)
	switch {
	case err != nil:
		return err
	case kept != nil:
		e.send(w, r, as, kept)
		return nil
	}
	return e.write(w, r, as, made)
}

// result is one that is kept, or one that was made for this request alone.
func (e *endpoint) result(
	ctx context.Context, p *prepared, viewer *models.Viewer, wish wish, gzip bool,
) (*opcache.Answer, *graphql.Response, error) {
	rec := recordOf(ctx)
	key, shared := e.key(p, viewer)
	rec.result = resultOf(shared, wish)
	if shared && !key.Private {
		viewer = nil // what all may share can't depend on who asked first
	}
	making := &making{endpoint: e, request: p, viewer: viewer}
	// Whoever's session was in no cache has hardly a result of their own there: to look for one holds up nearly all of them.
	stranger := key.Private && rec.loaded.Load() && inspect.From(ctx) == nil
	if shared && wish == wishAny && !stranger {
		if a, ok := e.results.Get(ctx, key, gzip); ok {
			if a.Early() {
				e.refresh(key, making)
			}
			rec.result = resultHit
			return a, nil, nil
		}
	}
	if err := e.limits.execution(rec, p); err != nil {
		return nil, nil, err
	}
	if !shared || wish == wishNoStore {
		return making.result(ctx)
	}
	if wish == wishFresh {
		e.results.Refresh(ctx, key, making.execute)
		return making.result(ctx)
	}
	a, ran := e.results.Do(ctx, key, gzip, making.execute)
	switch {
	case a != nil:
		if !ran {
			inspect.From(ctx).Joined()
		}
		return a, nil, nil
	case !ran && ctx.Err() != nil:
		return nil, nil, ctx.Err()
	}
	return making.result(ctx)
}

// resultOf is what becomes of a result that no cache answers.
func resultOf(shared bool, wish wish) string {
	switch {
	case !shared:
		return resultUncacheable
	case wish != wishAny:
		return resultBypassed
	}
	return resultMade
}

// key names the result that viewer may be given; false if none is kept.
func (e *endpoint) key(p *prepared, viewer *models.Viewer) (opcache.Key, bool) {
	if e.results == nil || p.result == nil {
		return opcache.Key{}, false
	}
	return p.result.Key(viewer)
}

// send writes a result as it is kept.
func (e *endpoint) send(w http.ResponseWriter, r *http.Request, as media, a *opcache.Answer) {
	recordOf(r.Context()).outcome = outcomeOK
	w.Header()["Content-Type"] = as.contentType()
	a.Write(w, r, time.Now(), e.headers)
}

// refresh makes a result anew in the background: nobody waits for it, and no request's end stops it.
func (e *endpoint) refresh(key opcache.Key, m *making) {
	e.work.Go(func() { e.results.Refresh(context.Background(), key, m.execute) })
}

// making is one execution whose result may be kept.
type making struct {
	endpoint *endpoint
	request  *prepared
	viewer   *models.Viewer
	response *graphql.Response
	err      error
}

// execute is an opcache.Execute. A response with errors is the asker's own: it carries the request's id.
func (m *making) execute(ctx context.Context) ([]byte, time.Duration) {
	m.response, m.err = m.endpoint.execute(ctx, m.request, m.viewer)
	if m.err != nil || len(m.response.Errors) > 0 || len(m.response.Extensions) > 0 {
		return nil, 0
	}
	return encode(m.response), m.request.result.MaxAge
}

// result is what was made and not kept.
func (m *making) result(ctx context.Context) (*opcache.Answer, *graphql.Response, error) {
	if m.response == nil && m.err == nil { // another was refreshing it
		m.response, m.err = m.endpoint.execute(ctx, m.request, m.viewer)
	}
	return nil, m.response, m.err
}

// execute has gqlgen execute, within the time for a request. The error is that no result was made.
func (e *endpoint) execute(ctx context.Context, p *prepared, viewer *models.Viewer) (*graphql.Response, error) {
	rec := recordOf(ctx)
	rec.identify() // before anything can log or fail
	ctx, cancel := context.WithTimeout(auth.WithAddress(auth.WithViewer(ctx, viewer), rec.address), e.timeout)
	defer cancel()
	next, ctx := e.exec.DispatchOperation(graphql.StartOperationTrace(ctx), e.operation(p))
	response := next(ctx)
	if response == nil || len(response.Data) == 0 {
		return nil, inTime(ctx, cmp.Or(ctx.Err(), errors.New("execute: no result")))
	}
	return response, nil
}

// operation is a context for one execution. The executor's own way to it would coerce the variables once more, and write
// to them, which requests share.
func (e *endpoint) operation(p *prepared) *graphql.OperationContext {
	return &graphql.OperationContext{
		RawQuery:               p.operation.Document.Text,
		Doc:                    p.operation.Document.AST,
		OperationName:          p.operation.Name,
		Operation:              p.operation.Definition,
		Variables:              p.variables.Values,
		Extensions:             p.extensions,
		RecoverFunc:            e.like.RecoverFunc,
		ResolverMiddleware:     e.like.ResolverMiddleware,
		RootResolverMiddleware: e.like.RootResolverMiddleware,
		DisableIntrospection:   false, // the compiler refuses it where it is off
	}
}

// write sends a response that is not kept.
func (e *endpoint) write(w http.ResponseWriter, r *http.Request, as media, response *graphql.Response) error {
	rec := recordOf(r.Context())
	rec.outcome = outcomeOK
	if len(response.Errors) > 0 {
		rec.outcome = outcomeErrors
	}
	if rec.stale.Load() {
		w.Header().Set("Warning", `110 freshet "Response is Stale"`)
	}
	body := encode(response)
	if len(body) >= opcache.LeastGzip && opcache.AcceptsGzip(r.Header["Accept-Encoding"]) {
		body = e.zip.Compress(body)
		w.Header().Set("Content-Encoding", "gzip")
	}
	writeBody(w, as, http.StatusOK, body)
	return nil
}

func (e *endpoint) refuseDocument(w http.ResponseWriter, r *http.Request, as media, refused gqlerror.List) {
	rec := recordOf(r.Context())
	rec.identify()
	rec.outcome = outcomeRefused
	rec.code, _ = refused[0].Extensions["code"].(string)
	response := &graphql.Response{}
	for _, err := range refused {
		response.Errors = append(response.Errors, e.errors.present(r.Context(), err))
	}
	write(w, as, as.documentRefused(), response)
}

func methodNotAllowed(message, allow string) error {
	return &refusal{
		status: http.StatusMethodNotAllowed, code: codeBadRequest,
		message: message,
		header:  map[string]string{"Allow": allow},
	}
}

// wish is what a request's own Cache-Control asks for.
type wish int

const (
	wishAny     wish = iota
	wishFresh        // no-cache: execute, and keep the new result
	wishNoStore      // no-store: execute, and keep nothing
)

// wishOf honours those who have the scope: everybody else could make the server work for each request.
func wishOf(header []string, viewer *models.Viewer) wish {
	if len(header) == 0 || !isDeveloper(viewer) {
		return wishAny
	}
	asked := wishAny
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(header, ",")), ",") {
		switch strings.TrimSpace(directive) {
		case "no-store":
			return wishNoStore
		case "no-cache":
			asked = wishFresh
		}
	}
	return asked
}

// addVary says what a response depends on besides the address.
func addVary(h http.Header) {
	if len(h["Vary"]) == 0 {
		h["Vary"] = varies
		return
	}
	h["Vary"] = append(h["Vary"], varies...)
}
