package persisted

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"freshet/internal/manifest"
	"freshet/internal/operation"
	"freshet/internal/policy"
)

// Publication is what a client's release brings.
type Publication struct {
	App, Version string
	Manifest     *manifest.Manifest
	// Activate has the build served at once.
	Activate bool
}

// Report is what a publication came to.
type Report struct {
	App        string      `json:"app"`
	Version    string      `json:"build"`
	State      State       `json:"state"`
	Format     string      `json:"format"`
	Added      int         `json:"added"` // to the build
	Operations []Published `json:"operations"`
	// Notes are what was accepted and may yet be a mistake.
	Notes []string `json:"notes,omitempty"`
}

// Published is one operation, and how its responses can be cached whatever its variables are.
type Published struct {
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Type   string       `json:"type"`
	MaxAge int          `json:"maxAge"` // s
	Scope  policy.Scope `json:"scope"`
	Cost   int          `json:"cost"`
	// Uncacheable is the path of the field that keeps responses out of every cache, if one does, and Rule what the schema
	// says of it.
	Uncacheable string `json:"uncacheable,omitempty"`
	Rule        string `json:"rule,omitempty"`
}

// Refused lists everything for which a publication, or a change of a build's state, was refused.
type Refused []error

// Error has a line for each of the first reasons.
func (r Refused) Error() string {
	const most = 20
	var b strings.Builder
	b.WriteString("nothing was changed:")
	for _, err := range r[:min(len(r), most)] {
		b.WriteString("\n  " + err.Error())
	}
	if len(r) > most {
		fmt.Fprintf(&b, "\n  and %d more", len(r)-most)
	}
	return b.String()
}

// document is a row of persisted.documents.
type document struct {
	bun.BaseModel `bun:"table:persisted.documents,alias:d"`

	ID     int64 `bun:",pk,autoincrement"`
	App    string
	Key    string
	Name   string
	Type   string
	Body   string
	SHA256 []byte `bun:"sha256"`
}

// hashed tells whether the id is the SHA-256 of the text.
func (d *document) hashed() bool { return d.Key == hex.EncodeToString(d.SHA256) }

// Publish adds the operations of a manifest to a build, all of them or none, and makes the build, pending, if there is
// none. Publishing the same again changes nothing. The error is Refused where the manifest is to blame.
func (r *Registry) Publish(ctx context.Context, p Publication) (*Report, error) {
	if err := errors.Join(checkName("--app", p.App), checkName("--build", p.Version)); err != nil {
		return nil, err
	}
	report := &Report{App: p.App, Version: p.Version, Format: p.Manifest.Format}
	documents, err := r.compile(p, report)
	if err != nil {
		return nil, err
	}
	// Ids in one order, so that two publishers wait for each other and don't deadlock.
	slices.SortFunc(documents, func(a, b *document) int { return strings.Compare(a.Key, b.Key) })
	err = r.DB.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		return r.store(ctx, tx, p, documents, report)
	})
	var refused Refused
	if err != nil && !errors.As(err, &refused) {
		err = fmt.Errorf("persisted: publish %s %s: %w", p.App, p.Version, err)
	}
	return report, err
}

// compile validates every operation of the manifest.
func (r *Registry) compile(p Publication, report *Report) (documents []*document, err error) {
	var refused Refused
	for _, one := range p.Manifest.Operations {
		op, err := r.operation(&one, p.App)
		if err != nil {
			refused = append(refused, one.Errorf("%s: %w", cmp.Or(one.Name, one.ID), err))
			continue
		}
		sum := sha256.Sum256([]byte(one.Text))
		documents = append(documents, &document{
			App: p.App, Key: one.ID, Name: op.Name, Type: string(op.Type), Body: one.Text, SHA256: sum[:],
		})
		report.Operations = append(report.Operations, describe(one.ID, op))
	}
	if refused != nil {
		return nil, refused
	}
	return documents, nil
}

func (r *Registry) operation(l *manifest.Operation, app string) (*operation.Operation, error) {
	if l.Client != "" && l.Client != app {
		return nil, fmt.Errorf("clientName is %q, and this is published for %q", l.Client, app)
	}
	op, err := compileOne(r.Compiler, l.Text)
	switch {
	case err != nil:
		return nil, err
	case l.Name != "" && l.Name != op.Name:
		return nil, fmt.Errorf("the text's operation has the name %s", op.Name)
	case l.Type != "" && l.Type != string(op.Type):
		return nil, fmt.Errorf("type is %q, and the text is a %s", l.Type, op.Type)
	}
	return op, nil
}

// compileOne wants a document with exactly one operation, which has a name, as tools make them.
func compileOne(c *operation.Compiler, text string) (*operation.Operation, error) {
	doc, problems := c.Compile(text)
	if len(problems) > 0 {
		return nil, inWords(problems)
	}
	if n := len(doc.AST.Operations); n != 1 {
		return nil, fmt.Errorf("the text has %d operations, want one", n)
	}
	if doc.AST.Operations[0].Name == "" {
		return nil, errors.New("the operation has no name")
	}
	op, problem := doc.Operation("")
	if problem != nil {
		return nil, errors.New(problem.Message)
	}
	return op, nil
}

// inWords is the validator's errors on one line each, with their places in the text.
func inWords(problems gqlerror.List) error {
	words := make([]string, len(problems))
	for i, problem := range problems {
		words[i] = problem.Message
		if len(problem.Locations) > 0 {
			words[i] += fmt.Sprintf(" (%d:%d)", problem.Locations[0].Line, problem.Locations[0].Column)
		}
	}
	return errors.New(strings.Join(words, "; "))
}

func describe(id string, op *operation.Operation) Published {
	rules := op.Policy(nil)
	d := Published{
		ID: id, Name: op.Name, Type: string(op.Type),
		MaxAge: int(rules.MaxAge / time.Second), Scope: rules.Scope, Cost: op.Cost(nil),
	}
	if rules.MaxAge == 0 {
		d.Uncacheable, d.Rule = rules.AgeBy, rules.AgeRule
	}
	return d
}

func (r *Registry) store(ctx context.Context, tx bun.Tx, p Publication, documents []*document, report *Report) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO persisted.builds (app, version) VALUES (?, ?)
		ON CONFLICT ON CONSTRAINT builds_app_version_key DO NOTHING`, p.App, p.Version)
	if err != nil {
		return err
	}
	build, state, err := r.find(ctx, tx, p.App, p.Version)
	if err != nil {
		return err
	}
	if _, err := tx.NewInsert().Model(&documents).On("CONFLICT ON CONSTRAINT documents_app_key_key DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return err
	}
	if err := checkIDs(ctx, tx, documents, report); err != nil {
		return err
	}
	if report.Added, err = list(ctx, tx, build, documents); err != nil {
		return err
	}
	report.State = state
	if p.Activate && state != Active {
		if err := r.validate(ctx, tx, build); err != nil {
			return err
		}
		report.State = Active
	}
	if report.Added == 0 && report.State == state {
		return nil
	}
	return setState(ctx, tx, build, report.State)
}

// list adds the documents to the build and returns how many it lacked.
func list(ctx context.Context, tx bun.Tx, build int64, documents []*document) (added int, err error) {
	result, err := tx.ExecContext(ctx, `INSERT INTO persisted.operations (build_id, document_id)
		SELECT ?, id FROM persisted.documents WHERE app = ? AND key = ANY(?) ORDER BY id
		ON CONFLICT DO NOTHING`, build, documents[0].App, pgdialect.Array(keysOf(documents)))
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

func keysOf(documents []*document) []string {
	keys := make([]string, len(documents))
	for i, d := range documents {
		keys[i] = d.Key
	}
	return keys
}

// checkIDs refuses an id that already means another text, in this app or as the SHA-256 of a text that is known.
func checkIDs(ctx context.Context, tx bun.Tx, documents []*document, report *Report) error {
	hashes := slices.DeleteFunc(keysOf(documents), func(key string) bool { return !manifest.IsSHA256(key) })
	var known []*document
	err := tx.NewSelect().Model(&known).ExcludeColumn("body").
		Where("key = ANY(?)", pgdialect.Array(keysOf(documents))).
		WhereOr("sha256 IN (SELECT decode(h, 'hex') FROM unnest(?::text[]) h)", pgdialect.Array(hashes)).
		Order("id").Scan(ctx)
	if err != nil {
		return err
	}
	byKey, byHash := make(map[string][]*document), make(map[string]*document)
	for _, d := range known {
		byKey[d.Key] = append(byKey[d.Key], d)
		byHash[hex.EncodeToString(d.SHA256)] = d
	}
	var refused Refused
	names := 0
	for _, d := range documents {
		if !d.hashed() && manifest.IsSHA256(d.Key) {
			names++
		}
		if other := byHash[d.Key]; other != nil && !d.hashed() {
			refused = append(refused, fmt.Errorf("%s: the id %s is the SHA-256 of another text, that of %s of the app %s",
				d.Name, d.Key, other.Name, other.App))
		}
		for _, other := range byKey[d.Key] {
			same := slices.Equal(other.SHA256, d.SHA256)
			switch {
			case other.App == d.App && !same:
				refused = append(refused, fmt.Errorf("%s: the id %s already means another text, that of %s; an id means one text for good",
					d.Name, d.Key, other.Name))
			case !same:
				report.Notes = append(report.Notes, fmt.Sprintf(
					"%s: the id %s means another text in the app %s: requests have to name their app", d.Name, d.Key, other.App))
			}
		}
	}
	if refused != nil {
		return refused
	}
	if names > 0 {
		report.Notes = append(report.Notes, fmt.Sprintf(
			"%d ids look like a SHA-256 and are not that of their text: they are taken as names", names))
	}
	return nil
}

// validate compiles every operation of a build.
func (r *Registry) validate(ctx context.Context, tx bun.Tx, build int64) error {
	var documents []*document
	err := tx.NewSelect().Model(&documents).
		Where("id IN (SELECT document_id FROM persisted.operations WHERE build_id = ?)", build).Order("name", "key").Scan(ctx)
	if err != nil {
		return err
	}
	var refused Refused
	for _, d := range documents {
		if _, err := compileOne(r.Compiler, d.Body); err != nil {
			refused = append(refused, fmt.Errorf("%s: %w", d.Name, err))
		}
	}
	if refused != nil {
		return refused
	}
	return nil
}
