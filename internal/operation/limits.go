package operation

import (
	"cmp"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Limits of a document and its variables. "Written out" means that fragments count wherever they are spread.
type Limits struct {
	// Bytes of a document's text; 32 KiB if 0. A text with block strings, which are slow to read, may have half of it.
	Bytes int
	// Tokens of a document, as the lexer counts: names, values, punctuation and comments; 1,000 if 0.
	Tokens int
	// Depth to which fields may nest, and so may list and object literals; 20 if 0.
	Depth int
	// Aliases of an operation, written out; 50 if 0.
	Aliases int
	// RootFields of an operation, written out; 20 if 0.
	RootFields int
	// Directives of an operation, written out; 50 if 0.
	Directives int
	// Fragments that a document may define; 50 if 0.
	Fragments int
	// Nodes are fields, spreads, directives and values of all operations written out, and of each fragment once more:
	// what validation walks. 1,000 if 0.
	Nodes int
	// Overlaps are pairs of fields with one response name in one place, which validation must compare; a pair with
	// arguments counts for their values too. 1,000 if 0.
	Overlaps int
	// Cost of an operation by estimate, about the objects in its response; 5,000 if 0.
	Cost int
	// VariableBytes of the values of all declared variables as JSON, about; 256 KiB if 0.
	VariableBytes int
}

// What a validation or coercion may take is quadratic or large in these too, and no client needs more.
const (
	mostVariables      = 100   // declared by an operation
	mostVariableValues = 3_500 // lists' entries and objects' members all counted
)

func (l Limits) withDefaults() Limits {
	l.Bytes = cmp.Or(l.Bytes, 32<<10)
	l.Tokens = cmp.Or(l.Tokens, 1_000)
	l.Depth = cmp.Or(l.Depth, 20)
	l.Aliases = cmp.Or(l.Aliases, 50)
	l.RootFields = cmp.Or(l.RootFields, 20)
	l.Directives = cmp.Or(l.Directives, 50)
	l.Fragments = cmp.Or(l.Fragments, 50)
	l.Nodes = cmp.Or(l.Nodes, 1_000)
	l.Overlaps = cmp.Or(l.Overlaps, 1_000)
	l.Cost = cmp.Or(l.Cost, 5_000)
	l.VariableBytes = cmp.Or(l.VariableBytes, 256<<10)
	return l
}

func (l Limits) bytesOf(text string) int {
	if strings.Contains(text, `"""`) {
		return l.Bytes / 2
	}
	return l.Bytes
}

// check takes time in proportion to the document's tokens and to Nodes, whatever the document.
func (l Limits) check(d *ast.QueryDocument) *gqlerror.Error {
	if n := len(d.Fragments); n > l.Fragments {
		return beyond("MAX_FRAGMENTS_LIMIT", "fragments", n, l.Fragments)
	}
	m := newMeasure(d)
	var total size
	for _, o := range d.Operations {
		if n := len(o.VariableDefinitions); n > mostVariables {
			return refuseAt(o.Position, codeVariables, "an operation declares %d variables, and the limit is %d", n, mostVariables)
		}
		found := m.operation(o)
		if err := cmp.Or(m.cycle, l.checkOperation(o, found)); err != nil {
			return err
		}
		total.add(found)
	}
	for _, f := range d.Fragments {
		if len(f.VariableDefinition) > 0 {
			return refuseAt(f.Position, codeParse, "fragments have no variables of their own")
		}
		found := m.fragment(f)
		if err := cmp.Or(m.cycle, l.checkDepth(f.Position, found)); err != nil {
			return err
		}
		total.add(found)
	}
	if total.nodes > l.Nodes {
		return beyond("MAX_NODES_LIMIT", "fields, spreads, directives and values with its fragments written out", total.nodes, l.Nodes)
	}
	if n := overlaps(d, m.fragments, total.inline); n > l.Overlaps {
		return beyond("MAX_OVERLAPS_LIMIT", "pairs of fields with the same response name in the same place", n, l.Overlaps)
	}
	return nil
}

func (l Limits) checkOperation(o *ast.OperationDefinition, found size) *gqlerror.Error {
	for _, c := range []struct {
		code, what   string
		found, limit int
	}{
		{"MAX_ROOT_FIELDS_LIMIT", "root fields", found.top, l.RootFields},
		{"MAX_ALIASES_LIMIT", "aliases", found.aliases, l.Aliases},
		{"MAX_DIRECTIVES_LIMIT", "directives", found.directives, l.Directives},
	} {
		if c.found > c.limit {
			return refuseAt(o.Position, c.code, "the operation has %d %s, and the limit is %d", c.found, c.what, c.limit)
		}
	}
	return l.checkDepth(o.Position, found)
}

func (l Limits) checkDepth(at *ast.Position, found size) *gqlerror.Error {
	if found.depth > l.Depth {
		return refuseAt(at, "MAX_DEPTH_LIMIT", "fields or values nest %d deep, and the limit is %d", found.depth, l.Depth)
	}
	return nil
}

// size of a selection set, written out.
type size struct {
	nodes, aliases, directives int
	top                        int // fields of the set itself
	depth, inline              int // to which fields or values nest; to which inline fragments do
}

// most keeps sums from overflowing: n fragments that spread the next one twice have 2^n fields.
const most = 1 << 30

func (s *size) add(other size) {
	s.nodes = min(most, s.nodes+other.nodes)
	s.aliases = min(most, s.aliases+other.aliases)
	s.directives = min(most, s.directives+other.directives)
	s.top = min(most, s.top+other.top)
	s.depth = max(s.depth, other.depth)
	s.inline = max(s.inline, other.inline)
}

// measure takes each fragment's size once, whatever the number of its spreads.
type measure struct {
	fragments map[string]*ast.FragmentDefinition
	sizes     map[string]*size // nil while it is being taken
	cycle     *gqlerror.Error  // the first that was found; sizes mean nothing then
}

func newMeasure(d *ast.QueryDocument) *measure {
	m := &measure{
		fragments: make(map[string]*ast.FragmentDefinition, len(d.Fragments)),
		sizes:     make(map[string]*size, len(d.Fragments)),
	}
	for _, f := range d.Fragments {
		m.fragments[f.Name] = f
	}
	return m
}

func (m *measure) operation(o *ast.OperationDefinition) size {
	s := m.selections(o.SelectionSet)
	s.add(m.directives(o.Directives))
	for _, v := range o.VariableDefinitions {
		s.add(m.directives(v.Directives))
		s.add(valueSize(v.DefaultValue))
		s.nodes++
	}
	s.nodes++
	return s
}

func (m *measure) fragment(f *ast.FragmentDefinition) size {
	if known, begun := m.sizes[f.Name]; begun {
		if known == nil {
			m.cycle = cmp.Or(m.cycle, refuseAt(f.Position, codeValidation, "Cannot spread fragment %q within itself.", shorten(f.Name, 100)))
			return size{}
		}
		return *known
	}
	m.sizes[f.Name] = nil
	s := m.selections(f.SelectionSet)
	s.add(m.directives(f.Directives))
	m.sizes[f.Name] = &s
	return s
}

func (m *measure) selections(set ast.SelectionSet) size {
	var s size
	for _, selection := range set {
		var one size
		switch selection := selection.(type) {
		case *ast.Field:
			one = m.field(selection)
		case *ast.InlineFragment:
			one = m.selections(selection.SelectionSet)
			one.add(m.directives(selection.Directives))
			one.inline++
		case *ast.FragmentSpread:
			if f := m.fragments[selection.Name]; f != nil {
				one = m.fragment(f)
			}
			one.add(m.directives(selection.Directives))
		}
		one.nodes++
		s.add(one)
	}
	return s
}

func (m *measure) field(f *ast.Field) size {
	s := m.selections(f.SelectionSet)
	s.depth++
	s.add(m.directives(f.Directives))
	for _, a := range f.Arguments {
		s.add(valueSize(a.Value))
	}
	if f.Alias != f.Name {
		s.aliases = min(most, s.aliases+1)
	}
	s.top = 1
	return s
}

func (m *measure) directives(list ast.DirectiveList) size {
	s := size{nodes: len(list), directives: len(list)}
	for _, d := range list {
		for _, a := range d.Arguments {
			s.add(valueSize(a.Value))
		}
	}
	return s
}

func valueSize(v *ast.Value) size {
	if v == nil {
		return size{}
	}
	s := size{nodes: 1}
	for _, child := range v.Children {
		s.add(valueSize(child.Value))
	}
	if len(v.Children) > 0 {
		s.depth++
	}
	return s
}
