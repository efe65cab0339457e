package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// element is a value inside a JSON file, and where it begins. Manifests are read by hand, because encoding/json keeps the
// last of two members with one name and says nothing.
type element struct {
	file *[]byte
	raw  []byte
	at   int
}

// member is a value and its name in an object.
type member struct {
	name  string
	value element
}

// parseJSON takes the whole of a file as one value.
func parseJSON(file []byte) (element, error) {
	file = bytes.TrimPrefix(file, []byte("\ufeff"))
	if !utf8.Valid(file) {
		return element{}, errors.New("not UTF-8")
	}
	whole := element{&file, file, 0}
	var syntax *json.SyntaxError
	var any json.RawMessage
	switch err := json.Unmarshal(file, &any); {
	case errors.As(err, &syntax):
		return whole, element{&file, nil, int(syntax.Offset)}.errorf("not JSON: %w", err)
	case err != nil:
		return whole, fmt.Errorf("not JSON: %w", err)
	}
	return whole, nil
}

// errorf begins with the line of the element.
func (e element) errorf(format string, args ...any) error {
	line := 1 + bytes.Count((*e.file)[:min(e.at, len(*e.file))], []byte("\n"))
	return fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...))
}

// kind is what the element is, in JSON's words.
func (e element) kind() string {
	text := bytes.TrimLeft(e.raw, " \t\r\n")
	if len(text) == 0 {
		return "nothing"
	}
	switch text[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// members are those of an object, in order; false if the element is none.
func (e element) members() ([]member, bool) {
	var list []member
	ok := e.walk('{', func(d *json.Decoder) {
		name, _ := d.Token()
		list = append(list, member{name.(string), e.next(d)})
	})
	return list, ok
}

// elements are those of an array, in order; false if the element is none.
func (e element) elements() ([]element, bool) {
	var list []element
	ok := e.walk('[', func(d *json.Decoder) { list = append(list, e.next(d)) })
	return list, ok
}

// walk steps through what is known to be JSON.
func (e element) walk(open json.Delim, step func(*json.Decoder)) bool {
	d := json.NewDecoder(bytes.NewReader(e.raw))
	if first, err := d.Token(); err != nil || first != open {
		return false
	}
	for d.More() {
		step(d)
	}
	return true
}

func (e element) next(d *json.Decoder) element {
	var raw json.RawMessage
	_ = d.Decode(&raw)
	return element{e.file, raw, e.at + int(d.InputOffset()) - len(raw)}
}

// text is a string's value; false if the element is none.
func (e element) text() (string, bool) {
	var s *string
	if json.Unmarshal(e.raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}
