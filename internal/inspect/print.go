package inspect

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the report for a terminal.
func (r *Report) Print(w io.Writer) error {
	o := &r.Operation
	fmt.Fprintf(w, "%s %s: %s\n", o.Type, cmp.Or(o.Name, "(anonymous)"), r.outcome())
	if o.Key != nil {
		fmt.Fprintf(w, "key      %s\n", o.Key.Name)
		if tags := o.Key.Tags; len(tags) > 0 {
			fmt.Fprintf(w, "tags     %s\n", some(tags, 12))
		}
	}
	fmt.Fprintf(w, "policy   %s\n", r.Policy.words())
	if len(r.Reads) == 0 {
		fmt.Fprintf(w, "reads    none\n")
	} else {
		r.printReads(w)
	}
	for _, s := range r.Statements {
		fmt.Fprintf(w, "%8.1f %7.1f ms  %s\n", s.StartMs, s.TookMs, s.Text)
	}
	_, err := fmt.Fprintf(w, "took     %.1f ms\n", r.TookMs)
	return err
}

// outcome is what became of the whole result.
func (r *Report) outcome() string {
	o := &r.Operation
	var said strings.Builder
	said.WriteString(o.Result)
	if o.Key != nil && o.Result == "hit" {
		fmt.Fprintf(&said, " in %s", o.Key.Tier)
		if o.Key.Age != nil && o.Key.TTL != nil {
			fmt.Fprintf(&said, ", %.1f s old, %.1f s left", *o.Key.Age, *o.Key.TTL)
		}
		if at := o.Key.AsOf; at != nil {
			fmt.Fprintf(&said, ", as of position %d", at.At)
		}
	}
	if o.Reason != "" {
		said.WriteString(": " + o.Reason)
	}
	if o.Key != nil {
		said.WriteString(o.Key.first() + o.Key.change())
	}
	if o.Stored != nil && *o.Stored {
		said.WriteString("; kept")
	}
	return said.String()
}

// first is the reason before a wait.
func (k *Key) first() string {
	if k.First == "" {
		return ""
	}
	return " after " + k.First
}

func (k *Key) change() string {
	if k.StaleBy == nil {
		return ""
	}
	return fmt.Sprintf(", %s changed at position %d", k.StaleBy.Tag, k.StaleBy.Position)
}

func (p *Policy) words() string {
	said := fmt.Sprintf("%s, maxAge %g s", p.Scope, p.MaxAge)
	if p.AgeBy != nil {
		said += fmt.Sprintf("; maxAge limited by %s (%s)", p.AgeBy.Path, p.AgeBy.Rule)
	}
	if p.ScopeBy != nil {
		said += fmt.Sprintf("; PRIVATE by %s (%s)", p.ScopeBy.Path, p.ScopeBy.Rule)
	}
	return said
}

func (r *Report) printReads(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "START ms\tTOOK ms\tKIND\tKEYS\tFROM\tFIELDS")
	for _, read := range r.Reads {
		fmt.Fprintf(table, "%.1f\t%.1f\t%s\t%d\t%s\t%s\n", read.StartMs, read.TookMs, read.Kind, len(read.Keys), read.from(), read.fields())
		for _, s := range read.SQL {
			fmt.Fprintf(table, "%.1f\t%.1f\t  SQL\t\t\t%s\n", s.StartMs, s.TookMs, shorten(s.Text))
		}
	}
	table.Flush()
}

// from counts where the keys came from, and why those of the source did.
func (r *Read) from() string {
	counts := make(map[string]int)
	var order []string
	for _, key := range r.Keys {
		from := cmp.Or(key.Tier, "failed")
		if key.Miss != "" {
			from += " (" + key.Miss + key.first() + key.change() + ")"
		}
		if counts[from] == 0 {
			order = append(order, from)
		}
		counts[from]++
	}
	for i, from := range order {
		if len(order) > 1 {
			order[i] = fmt.Sprintf("%d %s", counts[from], from)
		}
	}
	return some(order, 4)
}

// fields are the paths without the places in lists, each once.
func (r *Read) fields() string {
	var paths []string
	seen := make(map[string]bool)
	for _, key := range r.Keys {
		for _, path := range key.Paths {
			if path = indices.ReplaceAllString(path, ""); !seen[path] {
				seen[path] = true
				paths = append(paths, path)
			}
		}
	}
	return some(paths, 4)
}

func some(list []string, most int) string {
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func shorten(text string) string {
	const most = 160
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
