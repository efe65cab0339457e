package operation

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
)

const codeVariables = "MAX_VARIABLES_LIMIT"

// Variables are values for one operation, checked.
type Variables struct {
	// Values by name, of declared variables alone, with defaults. Never nil; not to be changed.
	Values map[string]any
	// Canonical is Values as JSON: keys sorted, IDs as strings, whole numbers without a fraction. Equal values have the
	// same, others another; a variable that is absent is none that is null.
	Canonical string
}

// Variables makes the operation's variables of what a request gave, and checks what the operation costs with them. Errors
// have BAD_USER_INPUT, and the argument to blame in extensions.argument, or the code of a limit. What was given must be
// what JSON in UTF-8 decodes to, with numbers as int64, float64 or json.Number; it is not changed.
func (o *Operation) Variables(given map[string]any) (*Variables, gqlerror.List) {
	if err := o.weigh(given); err != nil {
		return nil, gqlerror.List{err}
	}
	settled, err := o.settle(given)
	if err != nil {
		return nil, gqlerror.List{err}
	}
	values, failed := validator.VariableValues(o.compiler.schema, o.Definition, settled)
	if failed != nil {
		return nil, gqlerror.List{explain(failed)}
	}
	for _, name := range o.neverNull {
		if value, given := values[name]; given && value == nil {
			return nil, gqlerror.List{badVariable(ast.Path{ast.PathName(name)}, "cannot be null")}
		}
	}
	v := &Variables{Values: values, Canonical: canonical(values)}
	if cost, limit := o.Cost(v), o.compiler.limits.Cost; cost > limit {
		return nil, gqlerror.List{refuse("COST_ESTIMATED_TOO_EXPENSIVE",
			"the operation costs %d by estimate, and the limit is %d: ask for fewer entries of lists", cost, limit)}
	}
	return v, nil
}

// canonical panics on what JSON cannot hold, so that it can't have come in any.
func canonical(values map[string]any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(values); err != nil {
		panic("canonical variables: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// neverNull lists the variables that may be null but stand where null may not, which a default of theirs or of the place
// allows.
func neverNull(o *ast.OperationDefinition) (names []string) {
	eachValue(o, func(v *ast.Value) {
		if v.Kind != ast.Variable || v.ExpectedType == nil || !v.ExpectedType.NonNull {
			return
		}
		declared := o.VariableDefinitions.ForName(v.Raw)
		if declared != nil && !declared.Type.NonNull && !slices.Contains(names, v.Raw) {
			names = append(names, v.Raw)
		}
	})
	return names
}

// explain puts the operation's words for gqlparser's.
func explain(failed error) *gqlerror.Error {
	err := gqlerror.WrapIfUnwrapped(failed)
	if len(err.Path) < 2 || err.Path[0] != ast.PathName("variable") { // how gqlparser begins the path of a variable
		return code(codeInput, err)
	}
	return badVariable(err.Path[1:], inWords(err.Message))
}

func badVariable(path ast.Path, message string) *gqlerror.Error {
	argument := shorten(path.String(), longestMessage/2)
	err := refuse(codeInput, "variable $%s: %s", argument, message)
	err.Extensions["argument"] = argument
	return err
}

// inWords puts JSON's kinds for Go's, of which gqlparser speaks.
func inWords(message string) string {
	return strings.NewReplacer(
		"cannot use string as", "cannot use a string as",
		"cannot use int64 as", "cannot use a whole number as",
		"cannot use float64 as", "cannot use a fraction as",
		"cannot use bool as", "cannot use a boolean as",
		"cannot use map as", "cannot use an object as",
		"cannot use slice as", "cannot use a list as",
	).Replace(message)
}

// weigh stops where a limit is passed.
func (o *Operation) weigh(given map[string]any) *gqlerror.Error {
	w := weight{bytes: o.compiler.limits.VariableBytes, values: mostVariableValues}
	for _, declared := range o.Definition.VariableDefinitions {
		w.take(given[declared.Variable])
	}
	switch {
	case w.values < 0:
		return refuse(codeVariables, "the variables have more than %d values", mostVariableValues)
	case w.bytes < 0:
		return refuse(codeVariables, "the variables have more than %d bytes", o.compiler.limits.VariableBytes)
	}
	return nil
}

// weight is what is left of the limits.
type weight struct{ bytes, values int }

func (w *weight) take(value any) {
	w.values--
	w.bytes--
	if w.values < 0 || w.bytes < 0 {
		return
	}
	switch value := value.(type) {
	case string:
		w.text(value)
	case json.Number:
		w.bytes -= len(value)
	case []any:
		for i := 0; i < len(value) && w.values >= 0; i++ {
			w.take(value[i])
		}
	case map[string]any:
		for name, member := range value {
			if w.values < 0 {
				return
			}
			w.bytes--
			w.text(name)
			w.take(member)
		}
	default:
		w.bytes -= 4
	}
}

// text counts what JSON escapes as the six bytes that it may take.
func (w *weight) text(s string) {
	w.bytes -= len(s) + 2
	for i := 0; i < len(s) && w.bytes >= 0; i++ {
		if s[i] < ' ' || s[i] == '"' || s[i] == '\\' {
			w.bytes -= 5
		}
	}
}

// settle copies the declared variables in canonical form, and refuses what gqlparser takes but the types of models, or
// the specification, do not. What is of another kind than its type is left for gqlparser to refuse.
func (o *Operation) settle(given map[string]any) (map[string]any, *gqlerror.Error) {
	values := make(map[string]any, len(o.Definition.VariableDefinitions))
	for _, declared := range o.Definition.VariableDefinitions {
		value, isGiven := given[declared.Variable]
		if !isGiven {
			if declared.DefaultValue == nil {
				continue
			}
			value, _ = declared.DefaultValue.Value(nil)
		}
		s := settler{schema: o.compiler.schema}
		values[declared.Variable] = s.in(ast.PathName(declared.Variable), declared.Type, value)
		if s.refused != "" {
			slices.Reverse(s.path)
			return nil, badVariable(s.path, s.refused)
		}
	}
	return values, nil
}

// settler settles one variable, until something of it is refused.
type settler struct {
	schema  *ast.Schema
	refused string
	path    ast.Path // to what is refused, from the inside out
}

func (s *settler) value(t *ast.Type, value any) any {
	switch {
	case value == nil:
		return nil
	case t.Elem != nil:
		return s.list(t.Elem, value)
	}
	definition := s.schema.Types[t.NamedType]
	switch definition.Kind {
	case ast.InputObject:
		if object, ok := value.(map[string]any); ok {
			return s.object(definition, object)
		}
	case ast.Enum:
		return s.enum(definition, value)
	case ast.Scalar:
		return s.scalar(t.NamedType, value)
	}
	return value
}

// in settles the part of a value that step leads to.
func (s *settler) in(step ast.PathElement, t *ast.Type, value any) any {
	value = s.value(t, value)
	if s.refused != "" {
		s.path = append(s.path, step)
	}
	return value
}

// list takes a single value for a list of it, as the specification asks.
func (s *settler) list(of *ast.Type, value any) any {
	given, isList := value.([]any)
	if !isList {
		return []any{s.value(of, value)}
	}
	settled := make([]any, len(given))
	for i, entry := range given {
		settled[i] = s.value(of, entry)
		if s.refused != "" {
			s.path = append(s.path, ast.PathIndex(i))
			break
		}
	}
	return settled
}

func (s *settler) object(definition *ast.Definition, given map[string]any) any {
	for name := range given {
		if name != "__typename" && definition.Fields.ForName(name) == nil {
			s.refused, s.path = "unknown field", ast.Path{ast.PathName(name)}
			return nil
		}
	}
	settled := make(map[string]any, len(given))
	for _, field := range definition.Fields {
		member, isGiven := given[field.Name]
		if !isGiven {
			if field.DefaultValue == nil {
				continue
			}
			member, _ = field.DefaultValue.Value(nil)
		}
		settled[field.Name] = s.in(ast.PathName(field.Name), field.Type, member)
		if s.refused != "" {
			break
		}
	}
	return settled
}

func (s *settler) enum(definition *ast.Definition, value any) any {
	switch value := value.(type) {
	case string:
		if definition.EnumValues.ForName(value) == nil { // gqlparser takes it in any case
			s.refused = shorten(value, 40) + " is not a valid " + definition.Name
		}
	case int64, float64, json.Number:
		s.refused = "cannot use a number as " + definition.Name
	}
	return value
}

func (s *settler) scalar(name string, value any) any {
	switch name {
	case "Int":
		return s.integer(value)
	case "Float":
		return s.float(value)
	case "String":
		return s.text(value)
	case "ID":
		return s.id(value)
	case "DateTime":
		s.string(name, value, checkDateTime)
	case "Decimal":
		s.string(name, value, checkDecimal)
	}
	return value
}

// string checks a scalar that is written as one.
func (s *settler) string(name string, value any, check func(string) string) {
	text, isText := value.(string)
	if !isText {
		s.refused = "a " + name + " is a string"
	} else {
		s.refused = check(text)
	}
}

func (s *settler) integer(value any) any {
	digits := ""
	switch value := value.(type) {
	case string:
		s.refused = "cannot use a string as Int"
		return value
	case int64:
		digits = strconv.FormatInt(value, 10)
	case float64:
		if value != math.Trunc(value) {
			return value
		}
		digits = strconv.FormatFloat(value, 'f', 0, 64)
	case json.Number:
		digits = string(value)
	default:
		return value
	}
	s.refused = checkInt(digits)
	whole, _ := strconv.ParseInt(digits, 10, 32)
	return whole
}

// checkInt takes the digits of a whole number.
func checkInt(digits string) string {
	if _, err := strconv.ParseInt(digits, 10, 32); err != nil {
		return "cannot use " + shorten(digits, 40) + " as Int: it has more than 32 bits"
	}
	return ""
}

func (s *settler) float(value any) any {
	switch value := value.(type) {
	case string:
		s.refused = "cannot use a string as Float"
	case int64:
		return float64(value)
	case json.Number:
		number, err := value.Float64()
		if err != nil {
			s.refused = "cannot use " + shorten(string(value), 40) + " as Float: it has more than 64 bits"
		}
		return number
	}
	return value
}

func (s *settler) text(value any) any {
	if _, isNumber := value.(json.Number); isNumber {
		s.refused = "cannot use a number as String"
	}
	return value
}

func (s *settler) id(value any) any {
	text := ""
	switch value := value.(type) {
	case string:
		text = value
	case int64:
		text = strconv.FormatInt(value, 10)
	case json.Number:
		text = string(value)
	default:
		return value
	}
	s.refused = checkID(text)
	return text
}
