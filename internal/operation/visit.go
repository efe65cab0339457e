package operation

import (
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// fragmentsOf lists the fragments that an operation uses, in the order of their first use. The document is valid.
func fragmentsOf(o *ast.OperationDefinition) []*ast.FragmentDefinition {
	var used []*ast.FragmentDefinition
	var visit func(ast.SelectionSet)
	visit = func(set ast.SelectionSet) {
		for _, selection := range set {
			switch selection := selection.(type) {
			case *ast.Field:
				visit(selection.SelectionSet)
			case *ast.InlineFragment:
				visit(selection.SelectionSet)
			case *ast.FragmentSpread:
				if f := selection.Definition; !slices.Contains(used, f) {
					used = append(used, f)
					visit(f.SelectionSet)
				}
			}
		}
	}
	visit(o.SelectionSet)
	return used
}

func directivesOf(selection ast.Selection) ast.DirectiveList {
	switch selection := selection.(type) {
	case *ast.Field:
		return selection.Directives
	case *ast.InlineFragment:
		return selection.Directives
	case *ast.FragmentSpread:
		return selection.Directives
	}
	return nil
}

// eachValue visits the values in an operation and in the fragments that it uses, once each.
func eachValue(o *ast.OperationDefinition, visit func(*ast.Value)) {
	v := valueVisitor(visit)
	v.directives(o.Directives)
	v.selections(o.SelectionSet)
	for _, f := range fragmentsOf(o) {
		v.directives(f.Directives)
		v.selections(f.SelectionSet)
	}
}

type valueVisitor func(*ast.Value)

func (v valueVisitor) selections(set ast.SelectionSet) {
	for _, selection := range set {
		v.directives(directivesOf(selection))
		switch selection := selection.(type) {
		case *ast.Field:
			v.arguments(selection.Arguments)
			v.selections(selection.SelectionSet)
		case *ast.InlineFragment:
			v.selections(selection.SelectionSet)
		}
	}
}

func (v valueVisitor) directives(list ast.DirectiveList) {
	for _, d := range list {
		v.arguments(d.Arguments)
	}
}

func (v valueVisitor) arguments(list ast.ArgumentList) {
	for _, a := range list {
		v.value(a.Value)
	}
}

func (v valueVisitor) value(value *ast.Value) {
	v(value)
	for _, child := range value.Children {
		v.value(child.Value)
	}
}
