// Package operation parses, validates, limits and analyses the operations of a document, once.
package operation

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"

	"freshet/internal/policy"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator/core"
)

// Options of a Compiler. Schema and Policy are required.
type Options struct {
	// Schema that operations are for; read only.
	Schema *ast.Schema
	// Policy of that schema.
	Policy *policy.Table
	// Introspection answers __schema and __type, and makes errors suggest names.
	Introspection bool
	// Limits that operations must keep; zero fields take defaults.
	Limits Limits
}

// Compiler turns texts into documents. It never changes: all methods are safe for concurrent use.
type Compiler struct {
	schema *ast.Schema
	policy *policy.Table
	limits Limits
	rules  []core.Rule
	prices map[*ast.FieldDefinition]*price
}

// NewCompiler panics where a cost directive of the schema can't be read, which is a mistake in the program.
func NewCompiler(o Options) *Compiler {
	prices := pricesOf(o.Schema)
	return &Compiler{
		schema: o.Schema,
		policy: o.Policy,
		limits: o.Limits.withDefaults(),
		rules:  rulesFor(o.Introspection, prices),
		prices: prices,
	}
}

// Document is a text that was understood. It never changes: what executes AST must leave it as it is.
type Document struct {
	Text string
	AST  *ast.QueryDocument

	operations []*Operation
}

// Compile makes a document of a text, or says why not; errors have a code in their extensions. It keeps nothing.
func (c *Compiler) Compile(text string) (*Document, gqlerror.List) {
	parsed, err := c.parse(text)
	if err != nil {
		return nil, gqlerror.List{err}
	}
	if err := c.limits.check(parsed); err != nil {
		return nil, gqlerror.List{err}
	}
	if errs := c.validate(parsed); len(errs) > 0 {
		return nil, errs
	}
	d := &Document{Text: text, AST: parsed}
	for _, definition := range parsed.Operations {
		d.operations = append(d.operations, c.operation(d, definition))
	}
	if len(parsed.Operations) > 1 {
		d.forgetDefinitions()
	}
	return d, nil
}

func (c *Compiler) parse(text string) (*ast.QueryDocument, *gqlerror.Error) {
	if limit := c.limits.bytesOf(text); len(text) > limit {
		return nil, beyond("MAX_BYTES_LIMIT", "bytes", len(text), limit)
	}
	if !utf8.ValidString(text) {
		return nil, refuse(codeParse, "the document is not valid UTF-8")
	}
	parsed, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, c.limits.Tokens)
	if err != nil {
		located := gqlerror.WrapIfUnwrapped(err)
		if located.Message == fmt.Sprintf("exceeded token limit of %d", c.limits.Tokens) {
			return nil, refuse("MAX_TOKENS_LIMIT", "the document has more than %d tokens", c.limits.Tokens)
		}
		return nil, code(codeParse, located)
	}
	if len(parsed.Operations) == 0 {
		return nil, refuse(codeValidation, "the document has no operation")
	}
	return parsed, nil
}

func (c *Compiler) operation(d *Document, definition *ast.OperationDefinition) *Operation {
	o := &Operation{
		Document: d, Definition: definition, Name: definition.Name, Type: definition.Operation, compiler: c,
	}
	o.normalised = normalise(definition)
	o.Hash = sha256.Sum256([]byte(o.normalised))
	o.neverNull = neverNull(definition)
	o.analyse()
	return o
}

// analyse works out what does not depend on variables, and what holds whatever they are.
func (o *Operation) analyse() {
	var depends bool
	o.strictest, depends = o.walkPolicy(nil)
	o.steadyPolicy = !depends
	o.cacheable = o.strictest.MaxAge > 0 || depends && o.mayBeCacheable()
	o.cost, depends = o.walkCost(nil)
	o.steadyCost = !depends
}

// Operation finds an operation by name; the empty name stands for the only one.
func (d *Document) Operation(name string) (*Operation, *gqlerror.Error) {
	if name == "" && len(d.operations) == 1 {
		return d.operations[0], nil
	}
	for _, o := range d.operations {
		if name != "" && o.Name == name {
			return o, nil
		}
	}
	if name == "" {
		return nil, refuse(codeNoOperation, "the document has several operations: name one in operationName")
	}
	return nil, refuse(codeNoOperation, "the document has no operation %s", shorten(name, 100))
}

// Operation is one operation of a document. It never changes.
type Operation struct {
	Document   *Document
	Definition *ast.OperationDefinition
	// Name is empty for the anonymous one.
	Name string
	Type ast.Operation
	// Hash is the SHA-256 of the normalised text.
	Hash [32]byte

	compiler   *Compiler
	normalised string
	neverNull  []string // nullable variables in places that are not
	strictest  Policy
	cost       int
	cacheable  bool
	// What no variable changes is steady.
	steadyPolicy, steadyCost bool
}

// Normalised is the operation and the fragments that it uses: white space, comments, the order of fragments and the way a
// string is written do not change it, whatever changes a result does.
func (o *Operation) Normalised() string { return o.normalised }

// forgetDefinitions of variables: in a fragment that several operations use, they are those of the operation that was
// validated last, and their defaults would come to the others. Variables has put the right ones among the values.
func (d *Document) forgetDefinitions() {
	for _, o := range d.operations {
		eachValue(o.Definition, func(v *ast.Value) { v.VariableDefinition = nil })
	}
}

// shorten keeps a client's text from filling an error.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
