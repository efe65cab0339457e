package operation

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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
// what JSON decodes to, with whole numbers as int64, other numbers as float64 or json.Number; it is not changed.
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
	for _, name := range o.conditions {
		if value, given := values[name]; given && value == nil {
			return nil, gqlerror.List{badVariable(ast.Path{ast.PathName(name)}, "cannot be null")}
		}
	}
	canonical, failed := json.Marshal(values)
	if failed != nil {
		return nil, gqlerror.List{refuse(codeInput, "the variables are not JSON")}
	}
	v := &Variables{Values: values, Canonical: string(canonical)}
	if cost, limit := o.Cost(v), o.compiler.limits.Cost; cost > limit {
		return nil, gqlerror.List{refuse("COST_ESTIMATED_TOO_EXPENSIVE",
			"the operation costs %d by estimate, and the limit is %d: ask for fewer entries of lists", cost, limit)}
	}
	return v, nil
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
	w.bytes -= 2
	if w.values < 0 || w.bytes < 0 {
		return
	}
	switch value := value.(type) {
	case string:
		w.bytes -= len(value)
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
			w.bytes -= len(name) + 3
			w.take(member)
		}
	default:
		w.bytes -= 6
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
		s := settler{schema: o.compiler.schema, path: ast.Path{ast.PathName(declared.Variable)}}
		values[declared.Variable] = s.value(declared.Type, value)
		if s.refused != "" {
			return nil, badVariable(s.path, s.refused)
		}
	}
	return values, nil
}

// settler settles one variable. It stops, with its path where it was, when something is refused.
type settler struct {
	schema  *ast.Schema
	path    ast.Path
	refused string
}

func (s *settler) value(t *ast.Type, value any) any {
	switch {
	case value == nil || s.refused != "":
		return value
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

// in settles a part of a value.
func (s *settler) in(step ast.PathElement, t *ast.Type, value any) any {
	s.path = append(s.path, step)
	value = s.value(t, value)
	if s.refused == "" {
		s.path = s.path[:len(s.path)-1]
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
		settled[i] = s.in(ast.PathIndex(i), of, entry)
	}
	return settled
}

func (s *settler) object(definition *ast.Definition, given map[string]any) any {
	settled := make(map[string]any, len(given))
	for name, member := range given {
		if name != "__typename" && definition.Fields.ForName(name) == nil {
			settled[name] = member // unknown, which gqlparser says
		}
	}
	for _, field := range definition.Fields {
		member, isGiven := given[field.Name]
		if !isGiven {
			if field.DefaultValue == nil {
				continue
			}
			member, _ = field.DefaultValue.Value(nil)
		}
		settled[field.Name] = s.in(ast.PathName(field.Name), field.Type, member)
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
		text, isText := value.(string)
		if !isText {
			s.refused = "a DateTime is a string"
		} else {
			s.refused = checkDateTime(text)
		}
		return value
	}
	if !isJSON(value) {
		s.refused = "cannot use " + reflect.TypeOf(value).String() + " as " + name
	}
	return value
}

func (s *settler) integer(value any) any {
	switch value := value.(type) {
	case string:
		s.refused = "cannot use a string as Int"
	case int64:
		s.refused = checkInt(strconv.FormatInt(value, 10))
	case float64:
		if value == math.Trunc(value) {
			s.refused = checkInt(strconv.FormatFloat(value, 'f', 0, 64))
		}
	case json.Number:
		s.refused = checkInt(string(value))
	}
	return value
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
	switch value := value.(type) {
	case json.Number:
		s.refused = "cannot use a whole number as String"
	case string:
		if !utf8.ValidString(value) {
			s.refused = "is not valid UTF-8"
		}
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

// isJSON holds values of types that are not known here to what Canonical can tell apart.
func isJSON(value any) bool {
	switch value := value.(type) {
	case nil, bool, int64, json.Number:
		return true
	case float64:
		return !math.IsNaN(value) && !math.IsInf(value, 0)
	case string:
		return utf8.ValidString(value)
	case []any:
		return !slices.ContainsFunc(value, func(entry any) bool { return !isJSON(entry) })
	case map[string]any:
		for name, member := range value {
			if !utf8.ValidString(name) || !isJSON(member) {
				return false
			}
		}
		return true
	}
	return false
}
