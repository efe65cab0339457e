package models

import "testing"

func TestViewer_May(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		scopes []string
		anyOf  [][]string
		want   bool
	}{
		{"all of one list", []string{"a", "b"}, [][]string{{"a", "b"}}, true},
		{"more than asked", []string{"a", "b", "c"}, [][]string{{"b"}}, true},
		{"a part of one list", []string{"a"}, [][]string{{"a", "b"}}, false},
		{"parts of two lists", []string{"a", "c"}, [][]string{{"a", "b"}, {"c", "d"}}, false},
		{"the second list", []string{"c"}, [][]string{{"a", "b"}, {"c"}}, true},
		{"no scopes", nil, [][]string{{"a"}}, false},
		{"no list", []string{"a"}, nil, false},
		{"an empty list asks for nothing", nil, [][]string{{}}, true},
		{"another case", []string{"Admin"}, [][]string{{"admin"}}, false},
	} {
		v := &Viewer{Scopes: c.scopes}
		if got := v.May(c.anyOf); got != c.want {
			t.Errorf("%s: %v may %v: got %v, want %v", c.name, c.scopes, c.anyOf, got, c.want)
		}
	}
}
