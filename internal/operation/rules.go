package operation

import (
	"slices"
	"strings"

	"freshet/models"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// What a refused document is told at most: a long one can have hundreds of errors, and each costs.
const (
	mostErrors     = 20
	mostErrorBytes = 8 << 10
)

// enough unwinds the validation of a document that has had enough errors.
type enough struct{}

// validate runs after the limits were checked: some rules take quadratic time.
func (c *Compiler) validate(d *ast.QueryDocument) (errs gqlerror.List) {
	defer func() {
		if reason := recover(); reason != nil && reason != (enough{}) {
			panic(reason)
		}
	}()
	events, size := &core.Events{}, 0
	for _, rule := range c.rules {
		rule.RuleFunc(events, func(options ...core.ErrorOption) {
			err := &gqlerror.Error{Rule: rule.Name}
			for _, option := range options {
				option(err)
			}
			size += len(err.Message)
			errs = append(errs, code(codeValidation, err))
			if len(errs) == mostErrors || size > mostErrorBytes {
				panic(enough{})
			}
		})
	}
	core.Walk(c.schema, d, events)
	return errs
}

func rulesFor(introspection bool, prices map[*ast.FieldDefinition]*price) []core.Rule {
	set := rules.NewDefaultRules()
	set.AddRule("NoDefer", refuseDefer)
	set.AddRule("ScalarValues", checkScalars)
	set.AddRule("SlicingArguments", func(observers *core.Events, refuse core.AddErrFunc) {
		checkSlicing(prices, observers, refuse)
	})
	if !introspection {
		set.AddRule("NoIntrospection", refuseIntrospection)
		// Suggestions tell the schema's names too.
		for name, quiet := range map[string]core.Rule{
			"FieldsOnCorrectType": rules.FieldsOnCorrectTypeRuleWithoutSuggestions,
			"KnownArgumentNames":  rules.KnownArgumentNamesRuleWithoutSuggestions,
			"KnownTypeNames":      rules.KnownTypeNamesRuleWithoutSuggestions,
			"ScalarLeafs":         rules.ScalarLeafsRuleWithoutSuggestions,
			"ValuesOfCorrectType": rules.ValuesOfCorrectTypeRuleWithoutSuggestions,
		} {
			set.ReplaceRule(name, quiet.RuleFunc)
		}
	}
	var list []core.Rule
	for name, rule := range set.GetInner() {
		list = append(list, core.Rule{Name: name, RuleFunc: rule})
	}
	slices.SortFunc(list, func(a, b core.Rule) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func refuseIntrospection(observers *core.Events, refuse core.AddErrFunc) {
	observers.OnField(func(_ *core.Walker, field *ast.Field) {
		if field.Name == "__schema" || field.Name == "__type" {
			refuse(core.Message("introspection is off: %s is not answered", field.Name), core.At(field.Position))
		}
	})
}

// refuseDefer: gqlgen would leave deferred fields out of the first response, and this server sends no second.
func refuseDefer(observers *core.Events, refuse core.AddErrFunc) {
	observers.OnDirective(func(_ *core.Walker, directive *ast.Directive) {
		if directive.Name == "defer" {
			refuse(core.Message("@defer is not supported"), core.At(directive.Position))
		}
	})
}

// checkScalars refuses literals that the types of models would refuse as their field is executed.
func checkScalars(observers *core.Events, refuse core.AddErrFunc) {
	check := func(path ast.Path, v *ast.Value) {
		eachScalar(path, v, func(path ast.Path, v *ast.Value) {
			if err := checkLiteral(v); err != "" {
				refuse(core.Message("argument %s: %s", path, err), core.At(v.Position), argument(path))
			}
		})
	}
	arguments := func(list ast.ArgumentList) {
		for _, a := range list {
			check(ast.Path{ast.PathName(a.Name)}, a.Value)
		}
	}
	observers.OnField(func(_ *core.Walker, field *ast.Field) { arguments(field.Arguments) })
	observers.OnDirective(func(_ *core.Walker, directive *ast.Directive) { arguments(directive.Arguments) })
	observers.OnOperation(func(_ *core.Walker, o *ast.OperationDefinition) {
		for _, v := range o.VariableDefinitions {
			check(ast.Path{ast.PathName("$" + v.Variable)}, v.DefaultValue)
		}
	})
}

func argument(path ast.Path) core.ErrorOption {
	return func(err *gqlerror.Error) { err.Extensions = map[string]any{"argument": path.String()} }
}

// eachScalar calls visit with every scalar inside a value. The path is only good during the call.
func eachScalar(path ast.Path, v *ast.Value, visit func(ast.Path, *ast.Value)) {
	if v == nil {
		return
	}
	for i, child := range v.Children {
		step := ast.PathElement(ast.PathIndex(i))
		if child.Name != "" {
			step = ast.PathName(child.Name)
		}
		eachScalar(append(path, step), child.Value, visit)
	}
	isList := v.Kind == ast.ListValue && (v.ExpectedType == nil || v.ExpectedType.Elem != nil)
	if v.Definition != nil && v.Definition.Kind == ast.Scalar && !isList {
		visit(path, v)
	}
}

// checkLiteral says what is wrong; the rules of gqlparser say what is of the wrong kind.
func checkLiteral(v *ast.Value) string {
	isText := v.Kind == ast.StringValue || v.Kind == ast.BlockValue
	switch {
	case v.Kind == ast.Variable || v.Kind == ast.NullValue:
		return ""
	case v.Definition.Name == "Int" && v.Kind == ast.IntValue:
		return checkInt(v.Raw)
	case v.Definition.Name == "ID" && (isText || v.Kind == ast.IntValue):
		return checkID(v.Raw)
	case v.Definition.Name == "DateTime" && isText:
		return checkDateTime(v.Raw)
	case v.Definition.Name == "DateTime":
		return "a DateTime is a string"
	case v.Definition.Name == "Decimal" && isText:
		return checkDecimal(v.Raw)
	case v.Definition.Name == "Decimal":
		return "a Decimal is a string"
	}
	return ""
}

func checkID(text string) string {
	if err := new(models.ID).UnmarshalGQL(text); err != nil {
		return err.Error()
	}
	return ""
}

func checkDateTime(text string) string {
	if _, err := models.UnmarshalDateTime(text); err != nil {
		return err.Error()
	}
	return ""
}

func checkDecimal(text string) string {
	if _, err := models.UnmarshalDecimal(text); err != nil {
		return err.Error()
	}
	return ""
}
