package manifest_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"freshet/internal/manifest"
)

func sum(text string, size int) string {
	switch size {
	case md5.Size:
		s := md5.Sum([]byte(text))
		return hex.EncodeToString(s[:])
	case sha1.Size:
		s := sha1.Sum([]byte(text))
		return hex.EncodeToString(s[:])
	}
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// What the tools themselves have written: each id is the hash of its text, bare.
func TestRead_FilesOfTools(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		format     string
		operations int
		hash       int // bytes
	}{
		"apollo.json":       {"Apollo's manifest", 4, sha256.Size},
		"relay.json":        {"a map of ids to texts", 2, md5.Size},
		"codegen.json":      {"a map of ids to texts", 4, sha256.Size},
		"codegen-sha1.json": {"a map of ids to texts", 4, sha1.Size},
		"cosmo-pairs.json":  {"an array of pairs", 2, md5.Size},
		"cosmo.json":        {"Cosmo's runtime manifest", 4, sha256.Size},
	} {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Read(text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if m.Format != want.format || len(m.Operations) != want.operations {
			t.Errorf("%s: got %s with %d operations, want %s with %d", file, m.Format, len(m.Operations), want.format, want.operations)
		}
		for _, one := range m.Operations {
			if got := sum(one.Text, want.hash); one.ID != got {
				t.Errorf("%s: got the id %s, want %s, the hash of its text", file, one.ID, got)
			}
		}
	}
}

func TestRead_WhatAManifestSays(t *testing.T) {
	t.Parallel()
	m, err := manifest.Read([]byte("\ufeff" + `{"format": "apollo-persisted-query-manifest", "version": 1, "more": {}, "operations": [
		{"id": "a", "name": "A", "type": "query", "body": "query A {x}", "clientName": "ios", "extra": [1]},
		{"id": "b", "name": null, "body": "query B {x}"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	a, b := m.Operations[0], m.Operations[1]
	if a.ID != "a" || a.Name != "A" || a.Type != "query" || a.Text != "query A {x}" || a.Client != "ios" {
		t.Errorf("first: got %+v", a)
	}
	if b.ID != "b" || b.Name != "" || b.Type != "" || b.Text != "query B {x}" || b.Client != "" {
		t.Errorf("second: got %+v", b)
	}
}

// Bare and prefixed, in small letters and capitals, are one id; twice the same is once.
func TestRead_NormalIDs(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	m, err := manifest.Read([]byte(`{"sha256:` + hash + `": "query A {x}", "` + strings.ToUpper(hash) + `": "query A {x}",
		"format": "query F {x}", "operations": "query O {x}", "x-app:7": "query P {x}", "ABCDEF": "query C {x}"}`))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, one := range m.Operations {
		ids = append(ids, one.ID)
	}
	if got, want := strings.Join(ids, " "), hash+" format operations x-app:7 ABCDEF"; got != want {
		t.Errorf("ids: got %s, want %s", got, want)
	}
}

func TestRead_NamesWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	apollo := `{"format": "apollo-persisted-query-manifest", "version": 1, "operations": `
	for file, want := range map[string]string{
		``:                                  "line 1: not JSON",
		"{\n\"a\": \n}":                     "line 3: not JSON",
		"\"text\"":                          "got a string, want an object or an array",
		"\xff":                              "not UTF-8",
		`{}`:                                "has no operations",
		`[]`:                                "has no operations",
		`{"format": "relay", "version": 1}`: `format: got "relay", want "apollo-persisted-query-manifest"`,
		`{"version": 1, "operations": []}`:  "format: got nothing",
		`{"format": 7}`:                     "format: got 7",
		`{"format": "apollo-persisted-query-manifest", "version": 2, "operations": []}`:   "version: got 2, want 1",
		`{"format": "apollo-persisted-query-manifest", "version": "1", "operations": []}`: `version: got "1", want 1`,
		`{"format": "apollo-persisted-query-manifest", "version": 1}`:                     "operations: got nothing, want an array",
		apollo + `[{"id": "a"}]}`: "operations[0]: body: got nothing, want a string",
		apollo + "[\n{\"id\": \"a\", \"body\": \"query A {x}\"},\n{\"id\": 4, \"body\": \"\"}]}": "line 3: operations[1]: id: got a number, want a string",
		apollo + `["query A {x}"]}`:                                             "operations[0]: got a string, want an object",
		"{\"a\": \"query A {x}\",\n\"b\": {\"text\": \"\"}}":                    `line 2: "b": got an object, want the text of an operation`,
		`{"version": 1, "operations": {"a": null}}`:                             `"a": got null`,
		"[[\"a\", \"query A {x}\"],\n[\"b\"]]":                                  "line 2: [1]: want a pair",
		`[["a", 1]]`:                                                            "[0]: got a string and a number",
		`["query A {x}"]`:                                                       "[0]: want a pair",
		"{\"a\": \"query A {x}\",\n\"a\": \"query B {x}\"}":                     `line 2: the id "a" comes twice, with different texts`,
		`{"` + hash + `": "query A {x}", "sha256:` + hash + `": "query B {x}"}`: "comes twice",
		`{"": "query A {x}"}`:                                                   "the id is empty",
		`{"a b": "query A {x}"}`:                                                "has a space",
		`{"a\u0000": "query A {x}"}`:                                            "control character",
		`{"sha256:abc": "query A {x}"}`:                                         "is no SHA-256",
		`{"` + strings.Repeat("é", 200) + `": "query A {x}"}`:                   "longer than 256 bytes",
		`{"a": "query A {x} #\u0000"}`:                                          "NUL",
		`{"a": "` + strings.Repeat(" ", 128<<10) + `x"}`:                        "longer than 128 KiB",
	} {
		m, err := manifest.Read([]byte(file))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: got %+v, %v, want an error with %q", file, m, err, want)
		}
	}
	many := []byte("{")
	for i := range 10_001 {
		many = append(many, strings.Repeat(",", min(i, 1))+`"`+strings.Repeat("a", i%100)+hex.EncodeToString([]byte{byte(i >> 8), byte(i)})+`": "query A {x}"`...)
	}
	if _, err := manifest.Read(append(many, '}')); err == nil || !strings.Contains(err.Error(), "10001 operations") {
		t.Errorf("too many: got %v, want to be told how many", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, file := range []string{"apollo.json", "relay.json", "cosmo-pairs.json", "cosmo.json"} {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Read(text)
		if err != nil {
			return
		}
		for _, one := range m.Operations {
			if one.ID == "" || one.ID != manifest.NormalID(one.ID) {
				t.Errorf("got the id %q, want one in its normal form", one.ID)
			}
		}
	})
}
