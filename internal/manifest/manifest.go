// Package manifest reads the lists of operations that the tools of GraphQL clients write.
package manifest

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of what is published, so that a mistake does not fill every instance's memory.
const (
	mostManifestBytes = 64 << 20
	mostOperations    = 10_000
	mostTextBytes     = 128 << 10
)

// Manifest is what a client's tool wrote: texts of operations by id.
type Manifest struct {
	// Format is the tool's, in words.
	Format     string
	Operations []Operation
}

// Operation is one operation as a manifest has it.
type Operation struct {
	// ID is in its normal form: a SHA-256 is bare and in lower case.
	ID, Text string
	// Name and Type are what the manifest says of the text; empty if it says nothing.
	Name, Type string
	// Client is the app that the manifest says the operation is for; empty if it says nothing.
	Client string
	line   element
}

// Errorf makes an error that begins with the operation's line in the file.
func (o *Operation) Errorf(format string, args ...any) error { return o.line.errorf(format, args...) }

const (
	apolloFormat  = "apollo-persisted-query-manifest"
	apolloVersion = "1"
)

// Read reads Apollo's persisted query manifest; the map from id to text of Relay, GraphQL Code Generator and Hive;
// Cosmo's array of pairs of id and text, and its runtime manifest. An error names what is wrong and where.
func Read(file []byte) (*Manifest, error) {
	if len(file) > mostManifestBytes {
		return nil, fmt.Errorf("larger than %d MiB", mostManifestBytes>>20)
	}
	whole, err := parseJSON(file)
	if err != nil {
		return nil, err
	}
	m, err := readFormat(whole)
	if err != nil {
		return nil, err
	}
	if len(m.Operations) == 0 {
		return nil, fmt.Errorf("%s: has no operations", m.Format)
	}
	if len(m.Operations) > mostOperations {
		return nil, fmt.Errorf("%s: has %d operations, more than %d", m.Format, len(m.Operations), mostOperations)
	}
	return m, m.settle()
}

func readFormat(whole element) (*Manifest, error) {
	if pairs, ok := whole.elements(); ok {
		return readPairs(pairs)
	}
	members, ok := whole.members()
	if !ok {
		return nil, whole.errorf("got %s, want an object or an array", whole.kind())
	}
	// A map may have the ids "format" and "operations", but their values are texts of operations.
	operations, listed := find(members, "operations")
	format, named := find(members, "format")
	name, _ := format.text()
	switch {
	case listed && operations.kind() == "an array", named && (format.kind() != "a string" || !strings.Contains(name, "{")):
		return readApollo(whole, members)
	case listed && operations.kind() == "an object":
		texts, _ := operations.members()
		return readMap("Cosmo's runtime manifest", texts)
	}
	return readMap("a map of ids to texts", members)
}

// find looks for a member of an object by its name.
func find(members []member, name string) (element, bool) {
	at := slices.IndexFunc(members, func(m member) bool { return m.name == name })
	if at < 0 {
		return element{}, false
	}
	return members[at].value, true
}

func readPairs(pairs []element) (*Manifest, error) {
	m := &Manifest{Format: "an array of pairs"}
	for i, pair := range pairs {
		both, ok := pair.elements()
		if !ok || len(both) != 2 {
			return nil, pair.errorf("[%d]: want a pair of an id and a text", i)
		}
		id, isID := both[0].text()
		text, isText := both[1].text()
		if !isID || !isText {
			return nil, pair.errorf("[%d]: got %s and %s, want the id and the text of an operation, both strings",
				i, both[0].kind(), both[1].kind())
		}
		m.Operations = append(m.Operations, Operation{ID: id, Text: text, line: pair})
	}
	return m, nil
}

func readMap(format string, members []member) (*Manifest, error) {
	m := &Manifest{Format: format}
	for _, one := range members {
		text, ok := one.value.text()
		if !ok {
			return nil, one.value.errorf("%q: got %s, want the text of an operation", one.name, one.value.kind())
		}
		m.Operations = append(m.Operations, Operation{ID: one.name, Text: text, line: one.value})
	}
	return m, nil
}

func readApollo(whole element, members []member) (*Manifest, error) {
	format, _ := find(members, "format")
	if got, ok := format.text(); !ok || got != apolloFormat {
		return nil, whole.errorf("format: got %s, want %q", orNothing(format), apolloFormat)
	}
	if version, _ := find(members, "version"); string(version.raw) != apolloVersion {
		return nil, whole.errorf("version: got %s, want %s", orNothing(version), apolloVersion)
	}
	list, _ := find(members, "operations")
	operations, ok := list.elements()
	if !ok {
		return nil, whole.errorf("operations: got %s, want an array", list.kind())
	}
	m := &Manifest{Format: "Apollo's manifest"}
	for i, one := range operations {
		listing, err := readApolloOperation(one)
		if err != nil {
			return nil, one.errorf("operations[%d]: %w", i, err)
		}
		m.Operations = append(m.Operations, listing)
	}
	return m, nil
}

func readApolloOperation(e element) (Operation, error) {
	l := Operation{line: e}
	members, ok := e.members()
	if !ok {
		return l, fmt.Errorf("got %s, want an object", e.kind())
	}
	for _, field := range []struct {
		name     string
		to       *string
		required bool
	}{{"id", &l.ID, true}, {"body", &l.Text, true}, {"name", &l.Name, false}, {"type", &l.Type, false}, {"clientName", &l.Client, false}} {
		value, given := find(members, field.name)
		if !field.required && (!given || value.kind() == "null") {
			continue
		}
		if *field.to, ok = value.text(); !ok {
			return l, fmt.Errorf("%s: got %s, want a string", field.name, value.kind())
		}
	}
	return l, nil
}

// orNothing is an element's own text, cut short.
func orNothing(e element) string {
	switch {
	case len(e.raw) == 0:
		return "nothing"
	case len(e.raw) > 60:
		return string(e.raw[:60]) + "…"
	}
	return string(e.raw)
}

// settle brings the ids into their normal form and refuses one that means two texts. Which was meant can't be known, as
// where JSON has a member twice.
func (m *Manifest) settle() error {
	seen := make(map[string]string, len(m.Operations))
	once := m.Operations[:0]
	for _, one := range m.Operations {
		if err := checkID(one.ID); err != nil {
			return one.line.errorf("%w", err)
		}
		one.ID = NormalID(one.ID)
		text, again := seen[one.ID]
		switch {
		case again && text != one.Text:
			return one.line.errorf("the id %q comes twice, with different texts", one.ID)
		case again:
			continue
		case len(one.Text) > mostTextBytes:
			return one.line.errorf("%q: the text is longer than %d KiB", one.ID, mostTextBytes>>10)
		case strings.ContainsRune(one.Text, 0):
			return one.line.errorf("%q: the text has a NUL character", one.ID)
		}
		seen[one.ID] = one.Text
		once = append(once, one)
	}
	m.Operations = once
	return nil
}
