package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
)

// Kind ties a kind of cache entries to the places of the schema whose policy it follows.
type Kind struct {
	// Name is the kind's.
	Name string
	// Follows are coordinates: a type for entries that hold one, a field for what has no type of its own.
	Follows []string
}

// TTL and scope of a kind's entries, and the templates of their tags.
type Effective struct {
	TTL   time.Duration
	Scope Scope
	Tags  []string
}

// Resolve returns the policy of each kind by name. It fails, naming every place, where one can't hold: a coordinate that
// is not there or not cached, parents that demand different TTLs or scopes of one kind, a PRIVATE field in a PUBLIC
// entry, a tag that nothing emits. emitted are the types of tags (the part before the first colon) that the database's
// triggers emit.
func (t *Table) Resolve(kinds []Kind, emitted []string) (map[string]Effective, error) {
	effective := make(map[string]Effective, len(kinds))
	var errs []error
	for _, kind := range kinds {
		e, err := t.resolve(kind)
		if err == nil {
			err = checkEmitted(kind.Name, e.Tags, emitted)
		}
		if err == nil {
			err = t.checkPrivate(kind, e, kinds)
		}
		errs = append(errs, err)
		effective[kind.Name] = e
	}
	return effective, errors.Join(errs...)
}

func (t *Table) resolve(kind Kind) (Effective, error) {
	var e Effective
	for i, coordinate := range kind.Follows {
		rule, ok := t.rules[coordinate]
		switch {
		case !ok:
			return e, fmt.Errorf("policy: kind %s follows %s, which is not in the schema", kind.Name, coordinate)
		case rule.Inherits || rule.MaxAge == 0:
			return e, fmt.Errorf("policy: kind %s follows %s, which has no maxAge of its own", kind.Name, coordinate)
		case i > 0 && (rule.MaxAge != e.TTL || rule.Scope != e.Scope):
			return e, fmt.Errorf("policy: kind %s: %s demands %s %s, %s demands %s %s", kind.Name,
				kind.Follows[0], e.TTL, e.Scope, coordinate, rule.MaxAge, rule.Scope)
		}
		e.TTL, e.Scope = rule.MaxAge, rule.Scope
		for _, tag := range t.ownTags(coordinate) {
			if !slices.Contains(e.Tags, tag) {
				e.Tags = append(e.Tags, tag)
			}
		}
	}
	return e, nil
}

// ownTags are the tags declared at the coordinate itself: what a list refers to is kept, and tagged, as its own kind.
func (t *Table) ownTags(coordinate string) []string {
	typ, field, isField := strings.Cut(coordinate, ".")
	def := t.schema.Types[typ]
	if !isField {
		return hintOf(def.Directives).tags
	}
	return hintOf(def.Fields.ForName(field).Directives).tags
}

func checkEmitted(kind string, tags, emitted []string) error {
	for _, tag := range tags {
		prefix, _, _ := strings.Cut(tag, ":")
		if !slices.Contains(emitted, prefix) {
			return fmt.Errorf("policy: kind %s has the tag %q, but no trigger emits %s:…", kind, tag, prefix)
		}
	}
	return nil
}

// checkPrivate refuses a PUBLIC entry of a type that has a PRIVATE leaf, unless the leaf is kept as a kind of its own.
func (t *Table) checkPrivate(kind Kind, e Effective, kinds []Kind) error {
	if e.Scope == Private {
		return nil
	}
	for _, coordinate := range kind.Follows {
		def := t.schema.Types[coordinate]
		if def == nil || def.Kind != ast.Object {
			continue
		}
		for _, field := range def.Fields {
			place := def.Name + "." + field.Name
			apart := slices.ContainsFunc(kinds, func(k Kind) bool { return slices.Contains(k.Follows, place) })
			if t.rules[place].Scope == Private && !apart {
				return fmt.Errorf("policy: %s is PRIVATE in the PUBLIC entries of kind %s", place, kind.Name)
			}
		}
	}
	return nil
}

// Fill puts values into a tag template; value gets names such as "$key.id". What a value holds is not looked into.
func Fill(template string, value func(name string) string) string {
	var b strings.Builder
	for {
		text, rest, open := strings.Cut(template, "{")
		name, after, closed := strings.Cut(rest, "}")
		b.WriteString(text)
		if !open || !closed {
			return b.String()
		}
		b.WriteString(value(name))
		template = after
	}
}
