package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"freshet/models"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// The codes that are of HTTP and of documents; those of the application are in models. Apollo's names where it has one.
const (
	codeBadRequest       models.Code = "BAD_REQUEST"
	codeParse            models.Code = errcode.ParseFailed
	codeValidation       models.Code = errcode.ValidationFailed
	codeNoOperation      models.Code = "OPERATION_RESOLUTION_FAILURE"
	codeTimeout          models.Code = "TIMEOUT"
	codeCancelled        models.Code = "REQUEST_CANCELLED"
	codeRateLimited      models.Code = "RATE_LIMITED"
	codeAPQNotSupported  models.Code = "PERSISTED_QUERY_NOT_SUPPORTED"
	codeAPQNotFound      models.Code = "PERSISTED_QUERY_NOT_FOUND"
	codeIDAndBody        models.Code = "CANNOT_SEND_PQ_ID_AND_BODY"
	codeIDRequired       models.Code = "PERSISTED_QUERY_ID_REQUIRED"
	codeNotSafelisted    models.Code = "QUERY_NOT_IN_SAFELIST"
	codeAPQMismatch      models.Code = "PERSISTED_QUERY_HASH_MISMATCH"
	codePersistedUnknown models.Code = "PERSISTED_QUERY_NOT_IN_LIST"
)

// refusal refuses a request as a whole, before a document is looked at. Its message is for the client.
type refusal struct {
	status  int
	code    models.Code
	message string
	header  map[string]string // for the response; may be nil
}

func (r *refusal) Error() string { return r.message }

func badRequest(format string, args ...any) error {
	return &refusal{status: http.StatusBadRequest, code: codeBadRequest, message: fmt.Sprintf(format, args...)}
}

// panicked is what a resolver or handler panicked with.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func newPanicked(value any) error { return &panicked{value, debug.Stack()} }

// presenter decides, for every error that leaves, what clients see of it, and logs it: each error passes it once.
// Several goroutines of one request may use it at a time.
type presenter struct {
	log     *slog.Logger
	metrics *metrics
}

// shown is the public side of an error.
type shown struct {
	code     models.Code
	message  string
	argument string
	cause    error // for the log; nil where the client is to blame
}

// present is gqlgen's error presenter.
func (p *presenter) present(ctx context.Context, err error) *gqlerror.Error {
	var located *gqlerror.Error
	if !errors.As(err, &located) {
		located = &gqlerror.Error{Path: graphql.GetPath(ctx)}
	}
	public := show(ctx, err)
	p.record(ctx, public, located)
	extensions := map[string]any{"code": public.code}
	if id := recordOf(ctx).id; id != "" {
		extensions["requestId"] = id
	}
	if id := recordOf(ctx).trace; id != "" {
		extensions["traceId"] = id
	}
	path := located.Path
	if public.argument != "" {
		extensions["argument"] = public.argument
	}
	if depth := fieldDepth(ctx); len(path) > depth {
		path = path[:depth] // the rest names an argument, and a path is one of the response
	}
	return &gqlerror.Error{
		Message:    public.message,
		Path:       path,
		Locations:  located.Locations,
		Extensions: extensions,
	}
}

// show never lets the text of an error out that was not written for clients.
func show(ctx context.Context, err error) shown {
	if s, ok := showKnown(err); ok {
		return s
	}
	var located *gqlerror.Error
	if errors.As(err, &located) {
		if code, ok := located.Extensions["code"].(string); ok {
			argument, _ := located.Extensions["argument"].(string)
			return shown{code: models.Code(code), message: located.Message, argument: argument}
		}
		// gqlgen marks arguments that a type refuses by a path that goes on behind the field's.
		if depth := fieldDepth(ctx); depth > 0 && len(located.Path) > depth {
			argument := located.Path[depth:].String()
			return shown{code: models.CodeBadUserInput, message: argument + ": " + located.Message, argument: argument}
		}
	}
	return showUnknown(ctx, err)
}

func showKnown(err error) (shown, bool) {
	var request *refusal
	if errors.As(err, &request) {
		return shown{code: request.code, message: request.message}, true
	}
	var app *models.Error
	if errors.As(err, &app) && app.Code != models.CodeInternal {
		return shown{code: app.Code, message: app.Message, argument: app.Argument, cause: app.Err}, true
	}
	var refused models.Refusal
	if errors.As(err, &refused) && len(refused) > 0 {
		first := refused[0]
		return shown{code: models.CodeBadUserInput, message: first.Message, argument: strings.Join(first.Path, ".")}, true
	}
	return shown{}, false
}

// errTooLate says that the time for a request has passed.
var errTooLate = errors.New("the time for a request has passed")

// inTime marks an error that came when the time of ctx had passed: whatever it says then, time is the reason.
func inTime(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", errTooLate, err)
	}
	return err
}

func showUnknown(ctx context.Context, err error) shown {
	var crash *panicked
	switch {
	case errors.As(err, &crash):
		// a mistake of ours, whatever the context says
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, errTooLate):
		return shown{code: codeTimeout, message: "the request took too long", cause: err}
	case ctx.Err() != nil:
		return shown{code: codeCancelled, message: "the request was cancelled", cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return shown{code: models.CodeUnavailable, message: "the service is overloaded, try again", cause: err}
	}
	return shown{code: models.CodeInternal, message: "internal server error", cause: err}
}

// fieldDepth is the length of the path of the field that ctx resolves; 0 outside of fields.
func fieldDepth(ctx context.Context) int {
	if field := graphql.GetFieldContext(ctx); field != nil {
		return len(field.Path())
	}
	return 0
}

// record logs and counts. The message of an error that the client made is left out: it may quote a password.
func (p *presenter) record(ctx context.Context, public shown, located *gqlerror.Error) {
	p.metrics.errors.WithLabelValues(string(public.code)).Inc()
	level := logLevel(public)
	if !p.log.Enabled(ctx, level) {
		return
	}
	rec := recordOf(ctx)
	attrs := []slog.Attr{
		slog.String("request", rec.id),
		slog.String("code", string(public.code)),
		slog.String("operation", shorten(rec.operation)),
	}
	if rec.trace != "" {
		attrs = append(attrs, slog.String("trace", rec.trace))
	}
	if len(located.Path) > 0 {
		attrs = append(attrs, slog.String("path", located.Path.String()))
	}
	if public.argument != "" {
		attrs = append(attrs, slog.String("argument", public.argument))
	}
	if located.Rule != "" {
		attrs = append(attrs, slog.String("rule", located.Rule))
	}
	if public.cause != nil {
		attrs = append(attrs, slog.String("cause", public.cause.Error()))
	}
	p.log.LogAttrs(ctx, level, "error", attrs...)
}

func logLevel(public shown) slog.Level {
	switch public.code {
	case models.CodeInternal:
		return slog.LevelError
	case models.CodeUnavailable, codeTimeout:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

// refuse answers a request that was not executed.
func (p *presenter) refuse(w http.ResponseWriter, r *http.Request, err error) {
	recordOf(r.Context()).identify()
	public := p.present(r.Context(), err)
	code := public.Extensions["code"].(models.Code)
	status := statusOf(code)
	var request *refusal
	if errors.As(err, &request) {
		status = request.status
		for name, value := range request.header {
			w.Header().Set(name, value)
		}
	}
	switch {
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "":
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	rec := recordOf(r.Context())
	rec.code, rec.outcome = string(code), outcomeRefused
	as, _ := negotiate(r.Header.Values("Accept"))
	write(w, as, status, &graphql.Response{Errors: gqlerror.List{public}})
}

// statusOf is for requests that end with an error of the application.
func statusOf(code models.Code) int {
	switch code {
	case models.CodeUnauthenticated:
		return http.StatusUnauthorized
	case models.CodeForbidden:
		return http.StatusForbidden
	case models.CodeBadUserInput, codeBadRequest:
		return http.StatusBadRequest
	case models.CodeUnavailable, codeTimeout, codeCancelled:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
