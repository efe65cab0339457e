package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"freshet/internal/devenv"
	"freshet/internal/inspect"
	"freshet/internal/operation"
	"freshet/models"
)

// ExplainOptions say what is explained, to whom and from where.
type ExplainOptions struct {
	Serve ServeOptions
	// Dir is a dev command's data directory: where the URLs of Serve are empty, its private servers are asked.
	Dir string
	// Operation to choose from a document with several.
	Operation string
	// Variables are JSON, or a file of it behind "@".
	Variables string
	// As is the handle of the viewer; empty for nobody.
	As string
	// App is whose builds an id is looked up in.
	App string
	// Source answers from PostgreSQL alone.
	Source, JSON bool
	In           io.Reader
	Out          io.Writer
}

// Explain runs a query once, in an instance of its own, and prints what the caches did. What is the id of a persisted
// operation, the name of a file with a document, or "-" for In.
func Explain(ctx context.Context, o ExplainOptions, what string) (err error) {
	if err := o.complete(); err != nil {
		return err
	}
	request, err := o.request(what)
	if err != nil {
		return err
	}
	i, err := newInstance(ctx, o.Serve)
	if err != nil {
		return err
	}
	defer i.close()
	if err := i.onlyQueries(request, o.App); err != nil {
		return err
	}
	viewer, err := i.viewer(ctx, o.As)
	if err != nil {
		return err
	}
	if err := i.granted(ctx); err != nil {
		return err
	}
	answer, err := i.inspect(ctx, o, request, viewer)
	if err != nil {
		return err
	}
	return o.print(answer)
}

// complete takes what was not given from the dev command that runs over Dir.
func (o *ExplainOptions) complete() error {
	o.Serve.Addr, o.Serve.Introspection, o.Serve.Automatic, o.Serve.Name = "127.0.0.1:0", true, true, "explain"
	if o.Serve.DatabaseURL != "" && o.Serve.RedisURL != "" {
		return nil
	}
	info, err := devenv.ReadInfo(o.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("explain: no server runs over %s: give --database-url and --redis-url, or --data", o.Dir)
	}
	o.Serve.DatabaseURL, o.Serve.RedisURL = info.DatabaseURL, info.RedisURL
	return err
}

// explained is a request as it is sent.
type explained struct {
	Query         string          `json:"query,omitempty"`
	DocumentID    string          `json:"documentId,omitempty"`
	OperationName string          `json:"operationName,omitempty"`
	Variables     json.RawMessage `json:"variables,omitempty"`
}

func (o *ExplainOptions) request(what string) (explained, error) {
	r := explained{OperationName: o.Operation}
	text, err := []byte(nil), error(nil)
	if what == "-" {
		text, err = io.ReadAll(o.In)
	} else {
		text, err = os.ReadFile(what)
	}
	switch {
	case err == nil:
		r.Query = string(text)
	case errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(what, "/."):
		r.DocumentID = what
	default:
		return r, fmt.Errorf("explain: %w", err)
	}
	variables := []byte(o.Variables)
	if name, isFile := strings.CutPrefix(o.Variables, "@"); isFile {
		if variables, err = os.ReadFile(name); err != nil {
			return r, fmt.Errorf("explain: variables: %w", err)
		}
	}
	if len(variables) > 0 && !json.Valid(variables) {
		return r, errors.New("explain: the variables are not JSON")
	}
	r.Variables = variables
	return r, nil
}

// onlyQueries keeps a look from being a change.
func (i *instance) onlyQueries(r explained, app string) error {
	var op *operation.Operation
	if r.DocumentID != "" {
		entry, ok := i.library.ByID(r.DocumentID, app)
		if !ok {
			return fmt.Errorf("explain: there is no file and no operation of an active build %q", r.DocumentID)
		}
		op = entry.Operation
	} else {
		document, errs := i.compiler.Compile(r.Query)
		if len(errs) > 0 {
			return fmt.Errorf("explain: %w", errs)
		}
		found, err := document.Operation(r.OperationName)
		if err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		op = found
	}
	if op.Type != ast.Query {
		return fmt.Errorf("explain: %s is a %s: only queries are run", op.Name, op.Type)
	}
	return nil
}

// viewer is somebody as a session of theirs would be.
func (i *instance) viewer(ctx context.Context, handle string) (*models.Viewer, error) {
	if handle == "" {
		return nil, nil
	}
	normal, _ := models.NormalHandle(handle)
	account, found, err := i.store.Account(ctx, normal)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("explain: nobody has the handle %q", handle)
	}
	return &models.Viewer{ID: account.ProfileID, Scopes: slices.Clone(account.Scopes)}, nil
}

// granted waits until this instance may answer from caches. Where that takes long, it explains a miss.
func (i *instance) granted(ctx context.Context) error {
	const look = 5 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(i.options.tuning.startWait, defaultStartWait))
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !i.node.Stats().Granted {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// inspect sends the request over HTTP, as a client would, to a server that takes any token for the viewer's.
func (i *instance) inspect(ctx context.Context, o ExplainOptions, r explained, viewer *models.Viewer) ([]byte, error) {
	srv, err := i.listenAs(func(context.Context, string) (*models.Viewer, error) { return viewer, nil })
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx) }()
	defer func() { stop(); <-served }()
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+srv.Addr().String()+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Freshet-Debug", "cache")
	if o.Source {
		req.Header.Set("Freshet-Debug", "source")
	}
	if viewer != nil {
		req.Header.Set("Authorization", "Bearer viewer")
	}
	if o.App != "" {
		req.Header.Set("apollographql-client-name", o.App)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

func (o *ExplainOptions) print(answer []byte) error {
	var parsed struct {
		Errors []struct {
			Message string
			Path    []any
		}
		Extensions struct{ Freshet *inspect.Report }
	}
	if err := json.Unmarshal(answer, &parsed); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	report := parsed.Extensions.Freshet
	if report == nil {
		for _, e := range parsed.Errors {
			return fmt.Errorf("explain: %s", e.Message)
		}
		return errors.New("explain: the answer says nothing of itself")
	}
	if o.JSON {
		return writeJSON(o.Out, report)
	}
	for _, e := range parsed.Errors {
		fmt.Fprintf(o.Out, "error at %v: %s\n", e.Path, e.Message)
	}
	return report.Print(o.Out)
}
