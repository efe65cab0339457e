// Package policy reads the schema's cache directives into one table of TTL, scope and tags.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
)

// Scope says who may share a cached result.
type Scope string

// The scopes. PRIVATE wins wherever both meet.
const (
	Public  Scope = "PUBLIC"
	Private Scope = "PRIVATE"
)

// Rule is what the schema says of one field or type.
type Rule struct {
	// Coordinate is `Type` or `Type.field`.
	Coordinate string
	// MaxAge is the longest that a result with this part may be kept; 0 keeps it out of every cache. It means nothing
	// while Inherits is set.
	MaxAge time.Duration
	// Inherits tells that the parent's MaxAge applies.
	Inherits bool
	Scope    Scope
	// AgeFrom and ScopeFrom are the coordinates that MaxAge and a PRIVATE Scope come from: the field's own, also for the
	// default, or the type's that it returns. Empty where it inherits, or is PUBLIC.
	AgeFrom, ScopeFrom string
	// Tags are the templates of @cacheTag, those of a field behind those of the type it returns.
	Tags []string
}

// Age is MaxAge in words: "90 s", "10 min", "24 h", "not cached" or "as its parent".
func (r Rule) Age() string {
	unit := func(of time.Duration, name string) string { return fmt.Sprintf("%d %s", r.MaxAge/of, name) }
	switch {
	case r.Inherits:
		return "as its parent"
	case r.MaxAge == 0:
		return "not cached"
	case r.MaxAge%time.Hour == 0:
		return unit(time.Hour, "h")
	case r.MaxAge%time.Minute == 0:
		return unit(time.Minute, "min")
	}
	return unit(time.Second, "s")
}

// String is the rule in a few words, such as "10 min, private".
func (r Rule) String() string {
	age := r.Age()
	if r.Scope == Private {
		age += ", private"
	}
	if len(r.Tags) > 0 {
		age += "; tags " + strings.Join(r.Tags, " ")
	}
	return age
}

// Table holds the rule of every field and of every type that can be kept. It never changes.
type Table struct {
	schema *ast.Schema
	rules  map[string]Rule
}

// Read makes the table of a schema. It fails, naming the place, on a tag template that can't be filled in.
func Read(schema *ast.Schema) (*Table, error) {
	t := &Table{schema: schema, rules: make(map[string]Rule)}
	for _, def := range schema.Types {
		if def.BuiltIn || !def.IsCompositeType() {
			continue
		}
		hint := hintAt(def.Name, def.Directives)
		t.rules[def.Name] = hint.rule(def.Name, hint.inherit)
		if err := checkTags(def.Name, hint.tags, def, nil, hint.scope); err != nil {
			return nil, err
		}
		for _, field := range def.Fields {
			if strings.HasPrefix(field.Name, "__") {
				continue
			}
			rule := t.fieldRule(def, field)
			t.rules[rule.Coordinate] = rule
			if err := checkTags(rule.Coordinate, hintOf(field.Directives).tags, def, field, rule.Scope); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// Rule returns what is known of a coordinate.
func (t *Table) Rule(coordinate string) (Rule, bool) {
	r, ok := t.rules[coordinate]
	return r, ok
}

// Rules lists all of them by coordinate.
func (t *Table) Rules() []Rule {
	list := make([]Rule, 0, len(t.rules))
	for _, r := range t.rules {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Rule) int { return strings.Compare(a.Coordinate, b.Coordinate) })
	return list
}

// fieldRule follows Apollo Server's cacheControl plugin: the hint of the type that the field returns, then the field's
// own over it; without a maxAge, root fields and fields that return objects get 0, all others inherit.
func (t *Table) fieldRule(parent *ast.Definition, field *ast.FieldDefinition) Rule {
	returned := t.schema.Types[field.Type.Name()]
	composite := returned != nil && returned.IsCompositeType()
	var of hint
	if composite {
		of = hintAt(returned.Name, returned.Directives)
	}
	coordinate := parent.Name + "." + field.Name
	own := hintAt(coordinate, field.Directives)
	if own.inherit && of.maxAge == nil {
		of.inherit = true
	} else if own.maxAge != nil {
		of.maxAge, of.ageFrom, of.inherit = own.maxAge, own.ageFrom, false
	}
	if own.scope != "" {
		of.scope, of.scopeFrom = own.scope, own.scopeFrom
	}
	of.tags = append(slices.Clone(of.tags), own.tags...)
	root := parent == t.schema.Query || parent == t.schema.Mutation || parent == t.schema.Subscription
	return of.rule(coordinate, of.maxAge == nil && !root && (of.inherit || !composite))
}

// hint is what the directives at one place say, or at the type under a field and at the field.
type hint struct {
	maxAge             *int64
	scope              Scope
	ageFrom, scopeFrom string
	inherit            bool
	tags               []string
}

func (h hint) rule(coordinate string, inherits bool) Rule {
	r := Rule{Coordinate: coordinate, MaxAge: seconds(h.maxAge), Inherits: inherits, Scope: scopeOf(h), Tags: h.tags}
	if !inherits {
		r.AgeFrom = cmp.Or(h.ageFrom, coordinate)
	}
	if r.Scope == Private {
		r.ScopeFrom = h.scopeFrom
	}
	return r
}

func hintAt(coordinate string, directives ast.DirectiveList) hint {
	h := hintOf(directives)
	if h.maxAge != nil {
		h.ageFrom = coordinate
	}
	if h.scope != "" {
		h.scopeFrom = coordinate
	}
	return h
}

func hintOf(directives ast.DirectiveList) hint {
	var h hint
	if d := directives.ForName("cacheControl"); d != nil {
		if arg := d.Arguments.ForName("maxAge"); arg != nil {
			if n, ok := value(arg).(int64); ok {
				h.maxAge = &n
			}
		}
		if arg := d.Arguments.ForName("scope"); arg != nil {
			h.scope = Scope(arg.Value.Raw)
		}
		if arg := d.Arguments.ForName("inheritMaxAge"); arg != nil {
			h.inherit, _ = value(arg).(bool)
		}
		if h.inherit {
			h.maxAge = nil // as Apollo has it, where a directive says both
		}
	}
	for _, d := range directives.ForNames("cacheTag") {
		h.tags = append(h.tags, d.Arguments.ForName("format").Value.Raw)
	}
	return h
}

func value(arg *ast.Argument) any {
	v, err := arg.Value.Value(nil)
	if err != nil {
		return nil
	}
	return v
}

func seconds(maxAge *int64) time.Duration {
	if maxAge == nil {
		return 0
	}
	return time.Duration(*maxAge) * time.Second
}

func scopeOf(h hint) Scope {
	if h.scope == Private {
		return Private
	}
	return Public
}

// checkTags refuses templates that name what is not there.
func checkTags(at string, tags []string, def *ast.Definition, field *ast.FieldDefinition, scope Scope) error {
	for _, tag := range tags {
		names := placeholders(tag)
		if strings.Count(tag, "{") != len(names) || strings.Count(tag, "}") != len(names) {
			return fmt.Errorf("policy: %s: tag %q has a brace without its partner", at, tag)
		}
		for _, name := range names {
			from, what, _ := strings.Cut(name, ".")
			ok := false
			switch from {
			case "$key":
				ok = def.Fields.ForName(what) != nil
			case "$args":
				ok = field != nil && field.Arguments.ForName(what) != nil
			case "$viewer":
				ok = what == "id" && scope == Private
			}
			if !ok {
				return fmt.Errorf("policy: %s: tag %q names {%s}, which is not there", at, tag, name)
			}
		}
	}
	return nil
}

// placeholders are the names between braces.
func placeholders(template string) []string {
	var names []string
	for {
		_, rest, open := strings.Cut(template, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !open || !closed {
			return names
		}
		names, template = append(names, name), after
	}
}
