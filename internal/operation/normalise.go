package operation

import (
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// normalise writes an operation and its fragments, in the order of their first use, with no more white space than keeps names apart. Strings have
// one way of being written, so that a block string equals the string it stands for.
func normalise(o *ast.OperationDefinition) string {
	var w writer
	w.operation(o)
	for _, f := range fragmentsOf(o) {
		w.text(" fragment ", f.Name, " on ", f.TypeCondition)
		w.directives(f.Directives)
		w.selections(f.SelectionSet)
	}
	return w.String()
}

type writer struct{ strings.Builder }

func (w *writer) text(parts ...string) {
	for _, part := range parts {
		w.WriteString(part)
	}
}

func (w *writer) operation(o *ast.OperationDefinition) {
	if o.Operation != ast.Query || o.Name != "" || len(o.VariableDefinitions) > 0 || len(o.Directives) > 0 {
		w.text(string(o.Operation))
	}
	if o.Name != "" {
		w.text(" ", o.Name)
	}
	for i, v := range o.VariableDefinitions {
		w.text(separator(i, "("), "$", v.Variable, ":", v.Type.String())
		if v.DefaultValue != nil {
			w.text("=", v.DefaultValue.String())
		}
		w.directives(v.Directives)
	}
	w.end(len(o.VariableDefinitions))
	w.directives(o.Directives)
	w.selections(o.SelectionSet)
}

func (w *writer) selections(set ast.SelectionSet) {
	if len(set) == 0 {
		return
	}
	w.text("{")
	for i, selection := range set {
		if i > 0 {
			w.text(" ")
		}
		switch selection := selection.(type) {
		case *ast.Field:
			if selection.Alias != selection.Name {
				w.text(selection.Alias, ":")
			}
			w.text(selection.Name)
			w.arguments(selection.Arguments)
			w.directives(selection.Directives)
			w.selections(selection.SelectionSet)
		case *ast.FragmentSpread:
			w.text("...", selection.Name)
			w.directives(selection.Directives)
		case *ast.InlineFragment:
			w.text("...")
			if selection.TypeCondition != "" {
				w.text("on ", selection.TypeCondition)
			}
			w.directives(selection.Directives)
			w.selections(selection.SelectionSet)
		}
	}
	w.text("}")
}

func (w *writer) directives(list ast.DirectiveList) {
	for _, d := range list {
		w.text("@", d.Name)
		w.arguments(d.Arguments)
	}
}

func (w *writer) arguments(list ast.ArgumentList) {
	for i, a := range list {
		w.text(separator(i, "("), a.Name, ":", a.Value.String())
	}
	w.end(len(list))
}

func (w *writer) end(listed int) {
	if listed > 0 {
		w.text(")")
	}
}

func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}
