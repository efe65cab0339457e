package operation

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/core"
)

// Weights where the schema has no @cost, as Apollo has them; a field of the mutation root is a transaction.
const (
	weightComposite     = 1
	weightMutation      = 10
	weightIntrospection = 100 // with all below it: it reads no data
	sizeOfList          = 10  // where no @listSize tells
)

// Cost of an operation by estimate, in about the objects of its response: each field's weight, times the lists around
// it, as the schema's @cost and @listSize say. A field that is selected twice counts twice. Nil variables stand for none
// given, with all fields behind @skip and @include.
func (o *Operation) Cost(v *Variables) int {
	if v == nil || o.steadyCost {
		return o.cost
	}
	cost, _ := o.walkCost(v.Values)
	return cost
}

// price of a field, from the schema.
type price struct {
	weight    float64
	arguments map[string]float64 // weights of those that have one
	list      *listSize          // nil for what is no list and sizes none
}

// listSize is a directive @listSize, or its default for a list.
type listSize struct {
	assumed    float64  // negative if not said
	slicing    []string // arguments that tell the size
	sized      []string // fields of the returned object that are the list, in place of the field itself
	requireOne bool
}

// pricesOf the fields of a schema. It panics on a weight that is no number.
func pricesOf(schema *ast.Schema) map[*ast.FieldDefinition]*price {
	prices := map[*ast.FieldDefinition]*price{}
	for _, parent := range schema.Types {
		if !parent.IsCompositeType() {
			continue
		}
		for _, field := range parent.Fields {
			prices[field] = priceOf(schema, parent, field)
		}
	}
	for _, parent := range schema.Types { // an interface's field costs what its dearest implementation does
		if parent.Kind != ast.Interface {
			continue
		}
		for _, field := range parent.Fields {
			for _, t := range schema.GetPossibleTypes(parent) {
				if of := t.Fields.ForName(field.Name); of != nil {
					prices[field] = dearer(prices[field], prices[of])
				}
			}
		}
	}
	return prices
}

func dearer(a, b *price) *price {
	if b.weight > a.weight {
		a = &price{b.weight, a.arguments, a.list}
	}
	if a.list == nil || len(a.list.slicing) == 0 && b.list != nil {
		a = &price{a.weight, a.arguments, b.list}
	}
	return a
}

func priceOf(schema *ast.Schema, parent *ast.Definition, field *ast.FieldDefinition) *price {
	returned := schema.Types[field.Type.Name()]
	p := &price{list: listSizeOf(field)}
	switch {
	case parent == schema.Mutation:
		p.weight = weightMutation
	case returned.IsCompositeType():
		p.weight = weightComposite
	}
	if w, given := weightAt(returned.Directives); given && parent != schema.Mutation {
		p.weight = w
	}
	if w, given := weightAt(field.Directives); given {
		p.weight = w
	}
	for _, a := range field.Arguments {
		if w, given := weightAt(a.Directives); given {
			if p.arguments == nil {
				p.arguments = map[string]float64{}
			}
			p.arguments[a.Name] = w
		}
	}
	return p
}

func weightAt(directives ast.DirectiveList) (weight float64, given bool) {
	d := directives.ForName("cost")
	if d == nil {
		return 0, false
	}
	weight, err := strconv.ParseFloat(d.Arguments.ForName("weight").Value.Raw, 64)
	if err != nil || weight < 0 {
		panic(fmt.Sprintf("cost: weight %q in line %d of the schema is not a number from 0 up",
			d.Arguments.ForName("weight").Value.Raw, d.Position.Line))
	}
	return weight, true
}

func listSizeOf(field *ast.FieldDefinition) *listSize {
	d := field.Directives.ForName("listSize")
	if d == nil {
		if field.Type.Elem == nil {
			return nil
		}
		return &listSize{assumed: sizeOfList}
	}
	l := &listSize{assumed: -1, requireOne: true}
	for _, a := range d.Arguments {
		value, _ := a.Value.Value(nil)
		switch value := value.(type) {
		case int64:
			l.assumed = float64(value)
		case bool:
			l.requireOne = value
		case []any:
			into := &l.slicing
			if a.Name == "sizedFields" {
				into = &l.sized
			}
			for _, name := range value {
				*into = append(*into, fmt.Sprint(name))
			}
		}
	}
	return l
}

// checkSlicing holds fields to requireOneSlicingArgument.
func checkSlicing(prices map[*ast.FieldDefinition]*price, observers *core.Events, refuse core.AddErrFunc) {
	observers.OnField(func(_ *core.Walker, field *ast.Field) {
		p := prices[field.Definition]
		if p == nil || p.list == nil || !p.list.requireOne || len(p.list.slicing) == 0 {
			return
		}
		given, byDefault := 0, false
		for _, name := range p.list.slicing {
			if field.Arguments.ForName(name) != nil {
				given++
			} else if a := field.Definition.Arguments.ForName(name); a != nil && a.DefaultValue != nil {
				byDefault = true
			}
		}
		if given > 1 || given == 0 && !byDefault {
			refuse(core.Message("Field %q needs exactly one of the arguments %s.", field.Name, core.QuotedOrList(p.list.slicing...)),
				core.At(field.Position))
		}
	})
}

type costWalk struct {
	operation *Operation
	values    map[string]any // nil: none known
	depends   bool           // on variables
}

// walkCost also tells whether it depends on variables.
func (o *Operation) walkCost(values map[string]any) (cost int, depends bool) {
	w := &costWalk{operation: o, values: values}
	sum := w.selections(o.Definition.SelectionSet, nil, 1)
	return int(math.Ceil(min(sum, math.MaxInt32))), w.depends
}

// selections below a field with the list size from, if any, which has size entries.
func (w *costWalk) selections(set ast.SelectionSet, from *listSize, size float64) (sum float64) {
	for _, selection := range set {
		in, depends := included(directivesOf(selection), w.values)
		w.depends = w.depends || depends
		if !in {
			continue
		}
		switch selection := selection.(type) {
		case *ast.Field:
			sum += w.field(selection, from, size)
		case *ast.InlineFragment:
			sum += w.selections(selection.SelectionSet, from, size)
		case *ast.FragmentSpread:
			sum += w.selections(selection.Definition.SelectionSet, from, size)
		}
	}
	return sum
}

func (w *costWalk) field(f *ast.Field, from *listSize, size float64) float64 {
	if f.Name == "__schema" || f.Name == "__type" {
		return weightIntrospection
	}
	p := w.operation.compiler.prices[f.Definition]
	if p == nil {
		return 0 // __typename
	}
	each := p.weight
	for name, weight := range p.arguments {
		if f.Arguments.ForName(name) != nil {
			each += weight
		}
	}
	times, below := 1.0, 1.0
	if p.list != nil {
		below = w.size(f, p.list)
		if len(p.list.sized) == 0 {
			times = below
		}
	}
	if from != nil && slices.Contains(from.sized, f.Name) {
		times = size
	}
	return times * (each + w.selections(f.SelectionSet, p.list, below))
}

// size is the largest that a slicing argument gives, or what is assumed.
func (w *costWalk) size(f *ast.Field, l *listSize) float64 {
	size := -1.0
	for _, name := range l.slicing {
		if n, given := w.number(f, name); given {
			size = max(size, n, 0)
		}
	}
	switch {
	case size >= 0:
		return size
	case l.assumed >= 0:
		return l.assumed
	}
	return sizeOfList
}

// number is the value of an argument: the literal, the variable's or the schema's default.
func (w *costWalk) number(f *ast.Field, name string) (float64, bool) {
	var value any
	given := f.Arguments.ForName(name)
	switch {
	case given == nil:
	case given.Value.Kind == ast.Variable:
		w.depends = true
		known := false
		if value, known = w.values[given.Value.Raw]; known {
			break
		}
		if v := w.operation.Definition.VariableDefinitions.ForName(given.Value.Raw); v != nil && v.DefaultValue != nil {
			value, _ = v.DefaultValue.Value(nil)
		}
	default:
		value, _ = given.Value.Value(nil)
		if value == nil {
			return 0, false
		}
	}
	if a := f.Definition.Arguments.ForName(name); value == nil && a != nil && a.DefaultValue != nil {
		value, _ = a.DefaultValue.Value(nil)
	}
	n, ok := value.(int64)
	return float64(n), ok
}
