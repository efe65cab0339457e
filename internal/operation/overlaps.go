package operation

import (
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// overlaps bounds the comparisons that validation makes to see that fields can be merged: each pair of fields with one
// response path once, spreads likewise, and all of it again for each inline fragment around them. The document is within
// its other limits, or this would take too long.
func overlaps(d *ast.QueryDocument, fragments map[string]*ast.FragmentDefinition, inline int) int {
	c := &comparisons{fragments: fragments}
	for _, o := range d.Operations {
		c.below([]meeting{{set: o.SelectionSet}})
	}
	for _, f := range d.Fragments {
		c.below([]meeting{{set: f.SelectionSet}})
	}
	return c.pairs * (1 + inline)
}

type comparisons struct {
	fragments map[string]*ast.FragmentDefinition
	pairs     int
	stack     []meeting // of all places that are being looked at
}

// meeting is a field or spread in the place where it meets others of its response name.
type meeting struct {
	name   string
	weight int // what it takes to compare it
	set    ast.SelectionSet
}

// spreads meet under a name that no field can have.
const spreads = "..."

// below counts what is below fields that are merged.
func (c *comparisons) below(fields []meeting) {
	start := len(c.stack)
	for _, f := range fields {
		c.collect(f.set)
	}
	place := c.stack[start:]
	slices.SortFunc(place, func(a, b meeting) int { return strings.Compare(a.name, b.name) })
	for len(place) > 0 {
		n, weight, deeper := 0, 0, false
		for n < len(place) && place[n].name == place[0].name {
			weight += place[n].weight
			deeper = deeper || len(place[n].set) > 0
			n++
		}
		c.pairs += (n - 1) * weight / 2
		if deeper {
			c.below(place[:n])
		}
		place = place[n:]
	}
	c.stack = c.stack[:start]
}

// collect puts what is in a set, and in its fragments, on the stack.
func (c *comparisons) collect(set ast.SelectionSet) {
	for _, selection := range set {
		switch selection := selection.(type) {
		case *ast.Field:
			weight := 1
			for _, a := range selection.Arguments {
				weight += valueSize(a.Value).nodes
			}
			c.stack = append(c.stack, meeting{selection.Alias, weight, selection.SelectionSet})
		case *ast.InlineFragment:
			c.collect(selection.SelectionSet)
		case *ast.FragmentSpread:
			c.stack = append(c.stack, meeting{spreads, 1, nil})
			if f := c.fragments[selection.Name]; f != nil {
				c.collect(f.SelectionSet)
			}
		}
	}
}
