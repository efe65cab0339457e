package operation

import "github.com/vektah/gqlparser/v2/ast"

// overlaps bounds the comparisons that validation makes to see that fields can be merged: each pair of fields with one
// response path once, spreads likewise, and all of it again for each inline fragment around them. The document is within
// its other limits, or this would take too long.
func overlaps(d *ast.QueryDocument, fragments map[string]*ast.FragmentDefinition, inline int) int {
	c := &comparisons{fragments: fragments}
	for _, o := range d.Operations {
		c.within(o.SelectionSet)
	}
	for _, f := range d.Fragments {
		c.within(f.SelectionSet)
	}
	return c.pairs * (1 + inline)
}

type comparisons struct {
	fragments map[string]*ast.FragmentDefinition
	pairs     int
}

// group is what has one response name in one place.
type group struct {
	members, weight int
	below           []ast.SelectionSet
}

// place is where the selections of one merged field meet.
type place struct {
	groups map[string]*group
	order  []*group
}

func (c *comparisons) within(sets ...ast.SelectionSet) {
	p := place{groups: map[string]*group{}}
	for _, set := range sets {
		c.collect(&p, set)
	}
	for _, g := range p.order {
		c.pairs += (g.members - 1) * g.weight / 2
		if len(g.below) > 0 {
			c.within(g.below...)
		}
	}
}

func (c *comparisons) collect(p *place, set ast.SelectionSet) {
	for _, selection := range set {
		switch selection := selection.(type) {
		case *ast.Field:
			g := p.group(selection.Alias)
			g.members++
			g.weight++
			for _, a := range selection.Arguments {
				g.weight += valueSize(a.Value).nodes
			}
			if len(selection.SelectionSet) > 0 {
				g.below = append(g.below, selection.SelectionSet)
			}
		case *ast.InlineFragment:
			c.collect(p, selection.SelectionSet)
		case *ast.FragmentSpread:
			g := p.group("...")
			g.members++
			g.weight++
			if f := c.fragments[selection.Name]; f != nil {
				c.collect(p, f.SelectionSet)
			}
		}
	}
}

func (p *place) group(name string) *group {
	g := p.groups[name]
	if g == nil {
		g = &group{}
		p.groups[name] = g
		p.order = append(p.order, g)
	}
	return g
}
