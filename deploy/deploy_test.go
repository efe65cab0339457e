// Package deploy holds the tests of the files that run Freshet elsewhere. It is a module of its own, so that the
// validators of others' formats are no dependencies of the server.
package deploy

import (
	"os"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// replaced is text with one part replaced, which must be there: what a control breaks.
func replaced(t *testing.T, text, old, with string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("there is no %q to break", old)
	}
	return strings.Replace(text, old, with, 1)
}

// wantValid wants a check to pass a text, and to refuse it with each of the replacements, in pairs of old and new.
func wantValid(t *testing.T, text string, check func(text string) error, broken ...[2]string) {
	t.Helper()
	if err := check(text); err != nil {
		t.Errorf("got %v, want no problem", err)
	}
	for _, pair := range broken {
		if err := check(replaced(t, text, pair[0], pair[1])); err == nil {
			t.Errorf("with %q for %q: got no problem, want one", pair[1], pair[0])
		}
	}
}
