package operation

import (
	"math"
	"slices"
	"strings"
	"time"

	"freshet/internal/policy"

	"github.com/vektah/gqlparser/v2/ast"
)

// Policy says how long and for whom a result may be kept.
type Policy struct {
	// MaxAge of a result; 0 keeps it out of every cache.
	MaxAge time.Duration
	Scope  policy.Scope
	// Authorised tells of fields behind @authenticated or @requiresScopes: a result must be kept apart per viewer and
	// scopes.
	Authorised bool
	// AgeBy and ScopeBy are the response paths of the fields that limited MaxAge and Scope, such as "feed.nodes.counts";
	// empty where none did.
	AgeBy, ScopeBy string
	// AgeRule and ScopeRule are the coordinates whose rules did it: "PostCounts" or "Query.viewer".
	AgeRule, ScopeRule string
}

// Policy of a result with these variables, by the rules of Apollo Server: fields count whether or not their parent turns
// out to be null or empty, so MaxAge is never longer than Apollo's. Nil variables stand for any: all fields behind @skip
// and @include count. It is never cacheable for a mutation or subscription.
func (o *Operation) Policy(v *Variables) Policy {
	if v == nil || o.steadyPolicy {
		return o.strictest
	}
	p, _ := o.walkPolicy(v.Values)
	return p
}

// Cacheable tells whether it is a query that some variables give a MaxAge. It may be true in vain for conditions that
// exclude one another.
func (o *Operation) Cacheable() bool { return o.cacheable }

const forever = time.Duration(math.MaxInt64)

// walkPolicy also tells whether it depends on variables; nil values include whatever does.
func (o *Operation) walkPolicy(values map[string]any) (p Policy, depends bool) {
	w := &policyWalk{operation: o, values: values, found: Policy{MaxAge: forever, Scope: policy.Public}}
	w.operationRoot()
	if w.found.MaxAge == forever {
		w.found.MaxAge = 0 // nothing but __typename: Apollo keeps no such thing
	}
	return w.found, w.depends
}

// mayBeCacheable looks for a field that can be kept, and for none that must not and is always there.
func (o *Operation) mayBeCacheable() bool {
	w := &policyWalk{operation: o, optimistic: true, found: Policy{MaxAge: forever}}
	w.operationRoot()
	return w.found.MaxAge > 0 && w.keepable
}

// policyWalk visits all fields with all types that their parent can have.
type policyWalk struct {
	operation  *Operation
	values     map[string]any // nil includes whatever depends on them
	found      Policy
	depends    bool // on variables
	optimistic bool // leave aside fields that are not to be kept and may be left out
	keepable   bool // there is a field that may be kept
}

// path is where a field is in the response, from the inside out.
type path struct {
	parent      *path
	name        string
	conditional bool // may be left out
}

func (p *path) String() string {
	var names []string
	for ; p != nil; p = p.parent {
		names = append(names, p.name)
	}
	slices.Reverse(names)
	return strings.Join(names, ".")
}

func (w *policyWalk) operationRoot() {
	c, d := w.operation.compiler, w.operation.Definition
	root := rootOf(c.schema, d.Operation)
	w.selections(d.SelectionSet, []*ast.Definition{root}, nil, false)
	if d.Operation != ast.Query && w.found.MaxAge > 0 {
		w.found.MaxAge, w.found.AgeBy, w.found.AgeRule = 0, "", root.Name
	}
}

func rootOf(schema *ast.Schema, operation ast.Operation) *ast.Definition {
	switch operation {
	case ast.Mutation:
		return schema.Mutation
	case ast.Subscription:
		return schema.Subscription
	}
	return schema.Query
}

// selections of an object of one of the types. Where conditional is set, it may all be left out.
func (w *policyWalk) selections(set ast.SelectionSet, types []*ast.Definition, at *path, conditional bool) {
	for _, selection := range set {
		in, depends := included(directivesOf(selection), w.values)
		w.depends = w.depends || depends
		if !in {
			continue
		}
		switch selection := selection.(type) {
		case *ast.Field:
			w.field(selection, types, &path{at, selection.Alias, conditional || depends})
		case *ast.InlineFragment:
			w.selections(selection.SelectionSet, w.narrow(types, selection.TypeCondition), at, conditional || depends)
		case *ast.FragmentSpread:
			f := selection.Definition
			w.selections(f.SelectionSet, w.narrow(types, f.TypeCondition), at, conditional || depends)
		}
	}
}

// narrow keeps the types that meet a condition.
func (w *policyWalk) narrow(types []*ast.Definition, condition string) []*ast.Definition {
	schema := w.operation.compiler.schema
	if condition == "" {
		return types
	}
	possible := schema.GetPossibleTypes(schema.Types[condition])
	if len(types) == 1 && slices.Contains(possible, types[0]) {
		return types
	}
	var kept []*ast.Definition
	for _, t := range types {
		if slices.Contains(possible, t) {
			kept = append(kept, t)
		}
	}
	return kept
}

func (w *policyWalk) field(f *ast.Field, types []*ast.Definition, at *path) {
	switch f.Name {
	case "__typename":
		return
	case "__schema", "__type":
		if len(types) > 0 {
			w.restrict(policy.Rule{AgeFrom: types[0].Name + "." + f.Name}, at)
		}
		return
	}
	schema := w.operation.compiler.schema
	var below []*ast.Definition
	for _, t := range types {
		definition := t.Fields.ForName(f.Name)
		if definition == nil {
			continue // a field of an introspection type has no policy
		}
		rule, _ := w.operation.compiler.policy.Rule(t.Name + "." + f.Name)
		w.restrict(rule, at)
		w.found.Authorised = w.found.Authorised || guarded(definition)
		if len(f.SelectionSet) == 0 {
			continue
		}
		for _, possible := range schema.GetPossibleTypes(schema.Types[definition.Type.Name()]) {
			if !slices.Contains(below, possible) {
				below = append(below, possible)
			}
		}
	}
	w.selections(f.SelectionSet, below, at, at.conditional)
}

func guarded(definition *ast.FieldDefinition) bool {
	return definition.Directives.ForName("authenticated") != nil || definition.Directives.ForName("requiresScopes") != nil
}

func (w *policyWalk) restrict(rule policy.Rule, at *path) {
	w.keepable = w.keepable || !rule.Inherits && rule.MaxAge > 0
	if w.optimistic && at.conditional && !rule.Inherits && rule.MaxAge == 0 {
		return
	}
	if !rule.Inherits && rule.MaxAge < w.found.MaxAge {
		w.found.MaxAge, w.found.AgeBy, w.found.AgeRule = rule.MaxAge, at.String(), rule.AgeFrom
	}
	if rule.Scope == policy.Private && w.found.Scope != policy.Private {
		w.found.Scope, w.found.ScopeBy, w.found.ScopeRule = policy.Private, at.String(), rule.ScopeFrom
	}
}

// included tells whether @skip and @include leave a selection in, and whether that depends on variables. Without values,
// what depends is in.
func included(directives ast.DirectiveList, values map[string]any) (in, depends bool) {
	in = true
	for _, d := range directives {
		if d.Name != "skip" && d.Name != "include" {
			continue
		}
		condition := d.Arguments.ForName("if").Value
		if condition.Kind == ast.Variable {
			depends = true
			if values == nil {
				continue
			}
		}
		value, _ := condition.Value(values)
		if on, _ := value.(bool); on == (d.Name == "skip") {
			in = false
		}
	}
	return in, depends
}
