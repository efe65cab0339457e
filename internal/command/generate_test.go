package command

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// generator writes valid operations over a schema, at random: the same ones for the same seed and the same answers.
type generator struct {
	*rand.Rand
	schema *ast.Schema
	// byTTL lets in what promises no more than its TTL: counts, and the order TOP, which follows them.
	byTTL bool
	// profiles, handles and posts are what arguments name; cursors are those that answers had, by the list's coordinate.
	profiles, handles, posts []string
	cursors                  map[string][]string
}

// generated is an operation with the values of its variables.
type generated struct {
	text  string
	given map[string]any
}

func (g generated) body() string {
	body, _ := json.Marshal(map[string]any{"query": g.text, "variables": g.given})
	return string(body)
}

// flip is the same operation with the opposite conditions.
func (g generated) flip() generated {
	flipped := generated{g.text, maps.Clone(g.given)}
	for name, value := range g.given {
		if on, ok := value.(bool); ok {
			flipped.given[name] = !on
		}
	}
	return flipped
}

// draft is an operation that is being written.
type draft struct {
	*generator
	left      int // selections that may still be made
	public    bool
	variables []string
	flags     []string // variables of type Boolean!
	given     map[string]any
	arguments map[string]string            // by coordinate, of the field under its plain name: those that meet must merge
	disguises map[string]map[string]string // by type: the response name of the field under its plain name
	fragments []fragment
	names     int // made so far, of aliases, fragments and variables
}

type fragment struct{ name, on, text string }

const deepest = 6

// byTTL are the fields that promise no more than their TTL.
var byTTL = []string{"counts", "topPosts", "topProfiles", "statistics"}

// elsewhere are the fields that ask other people's servers, which tests have none of.
var elsewhere = []string{"exchangeRates", "geocode"}

func (g *generator) operation() generated {
	d := &draft{
		generator: g, left: 8 + g.IntN(18), public: g.chance(45), given: map[string]any{},
		arguments: map[string]string{}, disguises: map[string]map[string]string{},
	}
	text := d.set(g.schema.Query, 0, 0)
	head := "query " + d.name("Q")
	if len(d.variables) > 0 {
		head += "(" + strings.Join(d.variables, ", ") + ")"
	}
	text = head + " " + text
	for _, f := range d.fragments {
		text += " fragment " + f.name + " on " + f.on + " " + f.text
	}
	return generated{text, d.given}
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func (d *draft) name(prefix string) string {
	d.names++
	return prefix + strconv.Itoa(d.names)
}

// set writes selections of a type; lists tells how many lists there are around it.
func (d *draft) set(t *ast.Definition, depth, lists int) string {
	var parts []string
	for n := 1 + d.IntN(4); n > 0; n-- {
		d.left--
		part := ""
		switch roll := d.IntN(100); {
		case roll < 12 && d.left > 0 && depth < deepest:
			part = pick(d.generator, "...", "... on "+t.Name) + d.condition() + " " + d.set(t, depth+1, lists)
		case roll < 32 && d.left > 0 && depth < deepest:
			part = "..." + d.fragment(t, depth, lists) + d.condition()
		case roll < 36:
			part = "__typename"
		default:
			part = d.field(t, depth, lists)
		}
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return "{ " + strings.Join(parts, " ") + " }"
}

// fragment has a named one written, or takes one that is there: what a fragment spreads was complete before it.
func (d *draft) fragment(t *ast.Definition, depth, lists int) string {
	for _, f := range d.fragments {
		if f.on == t.Name && d.left > 8 && d.chance(60) {
			d.left -= 6
			return f.name
		}
	}
	name := d.name("F")
	text := d.set(t, depth+1, lists)
	d.fragments = append(d.fragments, fragment{name, t.Name, text})
	return name
}

func (d *draft) field(t *ast.Definition, depth, lists int) string {
	var fit []*ast.FieldDefinition
	for _, f := range t.Fields {
		leaf := d.schema.Types[f.Type.Name()].IsLeafType()
		switch {
		case strings.HasPrefix(f.Name, "__"), slices.Contains(elsewhere, f.Name), slices.Contains(byTTL, f.Name) && !d.byTTL, d.public && ownOnly(d.schema, f):
		case leaf || d.left > 0 && depth < deepest:
			fit = append(fit, f)
		}
	}
	if len(fit) == 0 {
		return "__typename"
	}
	f := pick(d.generator, fit...)
	if own := slices.IndexFunc(fit, func(f *ast.FieldDefinition) bool { return ownOnly(d.schema, f) }); own >= 0 && depth > 0 && d.chance(25) {
		f = fit[own] // else most would be in operations that are private anyhow
	}
	if scopes := slices.IndexFunc(fit, func(f *ast.FieldDefinition) bool { return f.Name == "scopes" }); scopes >= 0 && d.chance(25) {
		f = fit[scopes] // what two sessions of one viewer may differ in
	}
	if strings.HasSuffix(f.Type.Name(), "Connection") {
		lists++
	}
	text := d.head(t, f, lists) + d.condition()
	if below := d.schema.Types[f.Type.Name()]; !below.IsLeafType() {
		text += " " + d.set(below, depth+1, lists)
	}
	return text
}

// ownOnly tells whether the schema declares a field or its type to be one viewer's.
func ownOnly(schema *ast.Schema, f *ast.FieldDefinition) bool {
	for _, directives := range []ast.DirectiveList{f.Directives, schema.Types[f.Type.Name()].Directives} {
		if d := directives.ForName("cacheControl"); d != nil {
			if scope := d.Arguments.ForName("scope"); scope != nil && scope.Value.Raw == "PRIVATE" {
				return true
			}
		}
	}
	return false
}

// head is a field with its response name and arguments. Under its plain name it has the same arguments everywhere.
func (d *draft) head(t *ast.Definition, f *ast.FieldDefinition, lists int) string {
	coordinate := t.Name + "." + f.Name
	if d.chance(25) {
		return d.name("x") + ": " + f.Name + d.list(coordinate, f, lists)
	}
	if _, ok := d.arguments[coordinate]; !ok {
		d.arguments[coordinate] = d.list(coordinate, f, lists)
	}
	if name := d.disguise(t)[f.Name]; name != "" {
		return name + ": " + f.Name + d.arguments[coordinate]
	}
	return f.Name + d.arguments[coordinate]
}

// disguise has two fields of a type answer under each other's name, in some operations.
func (d *draft) disguise(t *ast.Definition) map[string]string {
	made, ok := d.disguises[t.Name]
	if !ok {
		made = map[string]string{}
		if a, b := pick(d.generator, t.Fields...).Name, pick(d.generator, t.Fields...).Name; a != b && d.chance(30) &&
			!strings.HasPrefix(a+b, "__") && !strings.Contains(b, "__") {
			made[a], made[b] = b, a
		}
		d.disguises[t.Name] = made
	}
	return made
}

func (d *draft) list(coordinate string, f *ast.FieldDefinition, lists int) string {
	var all []string
	for _, a := range f.Arguments {
		must := a.Type.NonNull && a.DefaultValue == nil || a.Name == "first" && (lists > 1 || coordinate != "Query.feed")
		if !must && d.chance(60) {
			continue
		}
		value, ok := d.value(coordinate, a.Name)
		if !ok {
			continue
		}
		text := literal(value)
		if d.chance(50) {
			text = d.variable(a.Type, value, must)
		}
		all = append(all, a.Name+": "+text)
	}
	if len(all) == 0 {
		return ""
	}
	d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return "(" + strings.Join(all, ", ") + ")"
}

// word is an enum's value: written without quotes.
type word string

// value of an argument, as JSON.
func (d *draft) value(coordinate, argument string) (any, bool) {
	g := d.generator
	switch argument {
	case "id":
		switch coordinate {
		case "Query.post":
			return pick(g, g.posts...), true
		case "Query.product", "Query.order":
			return pick(g, "1", "2", "999"), true
		}
		return pick(g, g.profiles...), true
	case "name":
		return pick(g, word("COUNTRIES"), word("LANGUAGES")), true
	case "category":
		return pick(g, "toys", "books"), true
	case "categories":
		return pick(g, []any{"science"}, []any{"food", "science"}, []any{}), true
	case "search":
		return pick(g, "kite", "Red kite", "-kite"), true
	case "period":
		return pick(g, word("DAY"), word("MONTH")), true
	case "handle":
		return pick(g, "", "@") + pick(g, g.handles...), true
	case "first":
		if g.chance(3) {
			return 0, true // refused: an error beside the data
		}
		return 1 + g.IntN(3), true
	case "after":
		if len(g.cursors[coordinate]) == 0 {
			return nil, false
		}
		return pick(g, g.cursors[coordinate]...), true
	case "filter":
		return d.filter(), true
	case "order":
		if g.byTTL && g.chance(50) {
			return word("TOP"), true
		}
		return word("NEWEST"), true
	case "query": // of a source that is not asked here: an error beside the data
		return "Berlin", true
	case "base":
		return pick(g, "EUR", "USD"), true
	case "platform":
		return pick(g, word("IOS"), word("ANDROID"), word("WEB")), true
	}
	panic("no values for argument " + argument + " of " + coordinate)
}

func (d *draft) filter() map[string]any {
	g, filter := d.generator, map[string]any{}
	if g.chance(50) {
		filter["categories"] = pick(g, []any{"science"}, []any{"food", "science"}, []any{"science", "food"}, []any{})
	}
	if g.chance(40) {
		filter["languages"] = pick(g, []any{"en"}, []any{"de", "en"})
	}
	if g.chance(20) {
		filter["since"] = pick(g, "2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00", "2100-01-01T00:00:00Z")
	}
	return filter
}

func literal(value any) string {
	switch value := value.(type) {
	case word:
		return string(value)
	case string:
		return strconv.Quote(value)
	case []any:
		var all []string
		for _, one := range value {
			all = append(all, literal(one))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case map[string]any:
		var all []string
		for name, one := range value {
			all = append(all, name+": "+literal(one))
		}
		slices.Sort(all)
		return "{" + strings.Join(all, ", ") + "}"
	}
	return fmt.Sprint(value)
}

// variable declares one of a type that fits t: with a default or without, given, left out or null as far as it may be.
// Must keeps the value.
func (d *draft) variable(t *ast.Type, value any, must bool) string {
	name, declared := d.name("v"), strings.TrimSuffix(t.String(), "!")
	strict := t.NonNull || d.chance(30)
	if strict && !(must && t.NonNull && d.chance(30)) {
		declared += "!"
	}
	defaulted := !strings.HasSuffix(declared, "!") && t.NonNull || d.chance(40)
	text := "$" + name + ": " + declared
	if defaulted {
		text += " = " + literal(value)
	}
	d.variables = append(d.variables, text)
	switch optional := !strings.HasSuffix(declared, "!"); {
	case optional && !must && !t.NonNull && d.chance(20):
		d.given[name] = nil
	case defaulted && d.chance(50), optional && !must && !t.NonNull && d.chance(30):
	default:
		d.given[name] = value
	}
	return "$" + name
}

// condition is @skip or @include, or both, or none.
func (d *draft) condition() string {
	text := ""
	for _, directive := range []string{"skip", "include"} {
		if !d.chance(14) {
			continue
		}
		on := literal(d.chance(50) == (directive == "include"))
		if d.chance(65) {
			on = "$" + d.flag()
		}
		text += " @" + directive + "(if: " + on + ")"
	}
	return text
}

// flag is a variable of type Boolean, one that is there or a new one.
func (d *draft) flag() string {
	if len(d.flags) > 0 && d.chance(50) {
		return pick(d.generator, d.flags...)
	}
	name := d.name("b")
	d.flags = append(d.flags, name)
	on := d.chance(50)
	text := "$" + name + pick(d.generator, ": Boolean!", ": Boolean! = "+literal(on), ": Boolean = "+literal(on))
	d.variables = append(d.variables, text)
	if !strings.Contains(text, "=") || d.chance(50) {
		d.given[name] = d.chance(50)
	}
	return name
}
