package server

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/cache"
	"freshet/internal/inspect"
	"freshet/internal/opcache"
	"freshet/internal/operation"
	"freshet/models"
)

// debugHeader asks for extensions.freshet: "cache" has the response say what the caches did, "source" also has it made
// from PostgreSQL alone.
const debugHeader = "Freshet-Debug"

// inspection is what a request asks to be told of itself.
type inspection struct{ on, source bool }

// inspectionOf honours those who may inspect; for others the header is not there.
func (e *endpoint) inspectionOf(header []string, viewer *models.Viewer) inspection {
	if len(header) == 0 || !e.mayInspect(viewer) {
		return inspection{}
	}
	var words []string
	for word := range strings.SplitSeq(strings.ToLower(strings.Join(header, ",")), ",") {
		words = append(words, strings.TrimSpace(word))
	}
	source := slices.Contains(words, "source")
	return inspection{on: source || slices.Contains(words, "cache"), source: source}
}

// inspected answers like respond, with what the caches did beside the data.
func (e *endpoint) inspected(w http.ResponseWriter, r *http.Request, as media, p *prepared, how inspection) error {
	rec := recordOf(r.Context())
	ctx, recorder := inspect.Begin(r.Context(), rec.started)
	wish := wishOf(r.Header["Cache-Control"], rec.viewer)
	if how.source {
		ctx, wish = cache.Bypass(ctx), wishNoStore
	}
	kept, made, err := e.result(ctx, p, rec.viewer, wish, true)
	if err != nil {
		return err
	}
	report := e.report(recorder, p, rec.viewer, wish, kept, made)
	report.TookMs = milliseconds(time.Since(rec.started))
	if kept == nil {
		made.Extensions = map[string]any{"freshet": report}
		return e.write(w, r, as, made)
	}
	body, err := kept.Plain(&e.zip)
	if err != nil {
		return err
	}
	rec.outcome = outcomeOK
	buf := bytes.NewBuffer(bytes.TrimSuffix(bytes.Clone(body), []byte("}")))
	member(buf, "extensions", map[string]any{"freshet": report})
	buf.WriteByte('}')
	writeBody(w, as, http.StatusOK, buf.Bytes())
	return nil
}

func (e *endpoint) report(
	recorder *inspect.Recorder, p *prepared, viewer *models.Viewer, wish wish, kept *opcache.Answer, made *graphql.Response,
) inspect.Report {
	now := time.Now()
	report := inspect.Report{
		Operation: inspect.Operation{
			Name: p.operation.Name, Type: string(p.operation.Type), Hash: hex.EncodeToString(p.operation.Hash[:]),
		},
		Policy: policyOf(p.operation.Policy(p.variables)),
	}
	report.Reads, report.Statements = recorder.Report(opcache.Kind, now)
	o := &report.Operation
	o.Key = recorder.Operation(opcache.Kind, now)
	_, shared := e.key(p, viewer)
	switch {
	case !shared:
		o.Result, o.Reason = "uncacheable", e.uncacheable(p)
	case wish != wishAny:
		o.Result, o.Reason = "bypassed", "the request asked for it"
	case o.Key != nil && o.Key.Tier != "":
		o.Result = "hit"
	default:
		o.Result = "miss"
		if o.Key != nil {
			o.Reason = o.Key.Miss
		}
		stored := kept != nil
		if o.Stored = &stored; !stored {
			o.Reason += "; not kept: " + unkept(made)
		}
	}
	return report
}

// uncacheable says in words why no result of the request's is ever kept.
func (e *endpoint) uncacheable(p *prepared) string {
	policy := p.operation.Policy(p.variables)
	switch {
	case e.results == nil:
		return "this server keeps no results"
	case p.operation.Type != ast.Query:
		return "a " + string(p.operation.Type) + " is never kept"
	case policy.MaxAge <= 0 && policy.AgeBy == "":
		return "nothing in it has a maxAge"
	case policy.MaxAge <= 0:
		return "maxAge 0 of " + policy.AgeBy + ", by " + policy.AgeRule
	case policy.ScopeBy != "":
		return "PRIVATE by " + policy.ScopeBy + ", and nobody is signed in"
	}
	return "a part of it needs a viewer, and nobody is signed in"
}

func unkept(made *graphql.Response) string {
	if made != nil && len(made.Errors) > 0 {
		return "the response has errors"
	}
	return "a part of it may not be kept, or can't be proved fresh"
}

func policyOf(p operation.Policy) inspect.Policy {
	said := inspect.Policy{MaxAge: p.MaxAge.Seconds(), Scope: string(p.Scope)}
	if p.AgeBy != "" {
		said.AgeBy = &inspect.Limit{Path: p.AgeBy, Rule: p.AgeRule}
	}
	if p.ScopeBy != "" {
		said.ScopeBy = &inspect.Limit{Path: p.ScopeBy, Rule: p.ScopeRule}
	}
	return said
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
