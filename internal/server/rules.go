package server

import (
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// rulesFor makes the validation rules anew for each document: gqlgen changes what it gets.
func rulesFor(introspection bool) func() *rules.Rules {
	return func() *rules.Rules {
		set := rules.NewDefaultRules()
		set.AddRule("NoDefer", refuseDefer)
		if introspection {
			return set
		}
		set.AddRule("NoIntrospection", refuseIntrospection)
		// Suggestions tell the schema's names too. The rules for fields and leaves are gqlgen's to exchange.
		set.ReplaceRule("KnownArgumentNames", rules.KnownArgumentNamesRuleWithoutSuggestions.RuleFunc)
		set.ReplaceRule("KnownTypeNames", rules.KnownTypeNamesRuleWithoutSuggestions.RuleFunc)
		set.ReplaceRule("ValuesOfCorrectType", rules.ValuesOfCorrectTypeRuleWithoutSuggestions.RuleFunc)
		return set
	}
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
