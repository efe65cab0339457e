package persisted

import (
	"context"
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"freshet/internal/operation"
	"freshet/internal/policy"
)

// Verdict is what a change of the schema would do to the operations of active and pending builds.
type Verdict struct {
	Builds     int           `json:"builds"`     // looked at
	Operations int           `json:"operations"` // looked at, each once
	Broken     []BrokenBuild `json:"broken"`
}

// BrokenBuild is a build with operations that would break.
type BrokenBuild struct {
	App        string   `json:"app"`
	Version    string   `json:"build"`
	State      State    `json:"state"`
	Operations []Broken `json:"operations"`
}

// Broken is an operation that would not validate any more, or whose clients would send or get what they don't expect.
type Broken struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Reasons []string `json:"reasons"`
}

// ReadSchema reads a schema from its text in the schema definition language. File names it in errors.
func ReadSchema(file, text string) (*ast.Schema, error) {
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: file, Input: text})
	if err != nil {
		return nil, fmt.Errorf("the schema can't be read: %w", err)
	}
	return schema, nil
}

// Check compares the schema that is served with the next one. An operation breaks if it is not valid in the next one, if
// a field that it selects returns another type or may be null now, or if its variables can hold what will be refused.
func (r *Registry) Check(ctx context.Context, served, next *ast.Schema) (*Verdict, error) {
	then, err := compilerOf(next)
	if err != nil {
		return nil, err
	}
	c := &checker{served: served, next: next, now: r.Compiler, then: then, seen: make(map[int64][]string)}
	var rows []struct {
		document
		Build string
		State State
	}
	err = r.DB.NewRaw(`
		SELECT b.version AS build, b.state, d.* FROM persisted.builds b
			JOIN persisted.operations o ON o.build_id = b.id JOIN persisted.documents d ON d.id = o.document_id
		WHERE b.state IN ('active', 'pending') ORDER BY b.app, b.published_at, b.id, d.name, d.key`).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("persisted: read builds to check: %w", err)
	}
	v := &Verdict{Broken: []BrokenBuild{}}
	var in BrokenBuild
	for i := range rows {
		d := &rows[i]
		if i == 0 || in.App != d.App || in.Version != d.Build {
			v.take(in)
			in = BrokenBuild{App: d.App, Version: d.Build, State: d.State}
			v.Builds++
		}
		if reasons := c.reasons(&d.document); len(reasons) > 0 {
			in.Operations = append(in.Operations, Broken{ID: d.Key, Name: d.Name, Reasons: reasons})
		}
	}
	v.take(in)
	v.Operations = len(c.seen)
	return v, nil
}

// compilerOf takes a mistake in the schema's directives, at which NewCompiler panics, for the input's.
func compilerOf(schema *ast.Schema) (c *operation.Compiler, err error) {
	defer func() {
		if mistake := recover(); mistake != nil {
			err = fmt.Errorf("the schema can't be read: %v", mistake)
		}
	}()
	table, err := policy.Read(schema)
	if err != nil {
		return nil, err
	}
	return operation.NewCompiler(operation.Options{Schema: schema, Policy: table}), nil
}

func (v *Verdict) take(b BrokenBuild) {
	if len(b.Operations) > 0 {
		v.Broken = append(v.Broken, b)
	}
}

// checker compares two schemas where operations use them.
type checker struct {
	served, next *ast.Schema
	now, then    *operation.Compiler
	seen         map[int64][]string // documents in several builds are looked at once
}

func (c *checker) reasons(d *document) []string {
	reasons, done := c.seen[d.ID]
	if !done {
		reasons = c.compare(d.Body)
		c.seen[d.ID] = reasons
	}
	return reasons
}

func (c *checker) compare(text string) []string {
	if _, err := compileOne(c.then, text); err != nil {
		return strings.Split(err.Error(), "; ")
	}
	op, err := compileOne(c.now, text)
	if err != nil {
		return nil // it is broken now, and won't be then
	}
	d := &difference{checker: c, said: make(map[string]bool)}
	d.selections(op.Definition.SelectionSet)
	for _, v := range op.Definition.VariableDefinitions {
		d.input(v.Type.Name(), make(map[string]bool))
	}
	return d.reasons
}

// difference collects what changes between the schemas where one operation looks.
type difference struct {
	*checker
	reasons []string
	said    map[string]bool
}

func (d *difference) say(format string, args ...any) {
	if reason := fmt.Sprintf(format, args...); !d.said[reason] {
		d.said[reason] = true
		d.reasons = append(d.reasons, reason)
	}
}

// selections compares what fields return.
func (d *difference) selections(set ast.SelectionSet) {
	for _, one := range set {
		switch one := one.(type) {
		case *ast.Field:
			d.field(one)
			d.selections(one.SelectionSet)
		case *ast.InlineFragment:
			d.selections(one.SelectionSet)
		case *ast.FragmentSpread:
			d.selections(one.Definition.SelectionSet)
		}
	}
}

func (d *difference) field(f *ast.Field) {
	if strings.HasPrefix(f.Name, "__") || f.ObjectDefinition == nil || f.Definition == nil {
		return
	}
	parent := d.next.Types[f.ObjectDefinition.Name]
	if parent == nil || parent.Fields.ForName(f.Name) == nil {
		return // the validator has told
	}
	before, after := f.Definition.Type, parent.Fields.ForName(f.Name).Type
	leaf := d.served.Types[before.Name()].IsLeafType()
	if !serves(before, after, leaf) {
		d.say("the field %s.%s returns %s, and returned %s", parent.Name, f.Name, after, before)
	}
}

// serves tells whether a client that expects the type before can read the type after. Objects are told apart by the
// fields that are selected of them, so only a leaf's name matters.
func serves(before, after *ast.Type, leaf bool) bool {
	switch {
	case before.NonNull && !after.NonNull, (before.Elem == nil) != (after.Elem == nil):
		return false
	case before.Elem != nil:
		return serves(before.Elem, after.Elem, leaf)
	}
	return !leaf || before.NamedType == after.NamedType
}

// input compares what a variable may hold.
func (d *difference) input(name string, visited map[string]bool) {
	before, after := d.served.Types[name], d.next.Types[name]
	if visited[name] || before == nil || after == nil {
		return
	}
	visited[name] = true
	for _, value := range before.EnumValues {
		if after.EnumValues.ForName(value.Name) == nil {
			d.say("the value %s.%s is gone", name, value.Name)
		}
	}
	if before.Kind != ast.InputObject {
		return
	}
	for _, field := range before.Fields {
		then := after.Fields.ForName(field.Name)
		switch {
		case then == nil:
			d.say("the input field %s.%s is gone", name, field.Name)
		case !takes(field.Type, then.Type, then.DefaultValue != nil):
			d.say("the input field %s.%s takes %s, and took %s", name, field.Name, then.Type, field.Type)
		default:
			d.input(field.Type.Name(), visited)
		}
	}
	for _, field := range after.Fields {
		if before.Fields.ForName(field.Name) == nil && field.Type.NonNull && field.DefaultValue == nil {
			d.say("the input field %s.%s is new and required", name, field.Name)
		}
	}
}

// takes tells whether what could be given for the type before can be given for the type after. A default stands in for
// what is left out, though not for null.
func takes(before, after *ast.Type, defaulted bool) bool {
	switch {
	case after.NonNull && !before.NonNull && !defaulted, (before.Elem == nil) != (after.Elem == nil):
		return false
	case before.Elem != nil:
		return takes(before.Elem, after.Elem, false)
	}
	return before.NamedType == after.NamedType
}
