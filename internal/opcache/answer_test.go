package opcache

import (
	"fmt"
	"strings"
	"testing"
)

func TestAcceptsGzip_Headers(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"gzip": true, "": false, "identity": false, "br, gzip": true, "GZIP": true, "gzip;q=0.5": true, "gzip;q=0": false,
		"gzip; q=0.000": false, "*": true, "*;q=0": false, "*, gzip;q=0": false, "gzip;q=1, *;q=0": true, "x-gzip": false, "gzip;q=x": false,
	} {
		if got := AcceptsGzip([]string{header}); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
	if AcceptsGzip(nil) || !AcceptsGzip([]string{"br", "gzip"}) {
		t.Error("no header, two headers: got gzip and none, want none and gzip")
	}
}

func TestTagHeader_CoarsestFirstWithinItsLimit(t *testing.T) {
	t.Parallel()
	if got := tagHeader([]string{"post:1", "post:2", "profile:1"}, false); got != "post profile post:1 post:2 profile:1" {
		t.Errorf("with spaces: got %q", got)
	}
	if got := tagHeader([]string{"post:1", "profile:1"}, true); got != "post,profile,post:1,profile:1" {
		t.Errorf("with commas: got %q", got)
	}
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("post:%d", 1_000_000_000+i))
	}
	if got := tagHeader(append(many, "profile:1"), false); len(got) > 16<<10 || !strings.HasPrefix(got, "post profile ") {
		t.Errorf("many: got %d bytes beginning with %.20q, want 16 KiB at most, types first", len(got), got)
	}
}

func TestForm_StoredAndExpanded(t *testing.T) {
	t.Parallel()
	var z Zipper
	body := []byte(strings.Repeat(`{"title":"What the river left behind"}`, 100))
	for range 2 { // the second time with a writer and a reader that were used before
		stored := encode(z.Compress(body), true, sumOf(body))
		value, ok := open(stored)
		if !ok {
			t.Fatal("a stored form: got none")
		}
		f := value.(*form)
		plain, err := z.Expand(f.body)
		if err != nil || string(plain) != string(body) || !f.gzip || f.length[0] != fmt.Sprint(len(f.body)) {
			t.Errorf("expanded: got %d bytes, %v, want the %d that were stored", len(plain), err, len(body))
		}
	}
	for _, damaged := range [][]byte{nil, {formGzip}, append([]byte{7}, body...)} {
		if _, ok := open(damaged); ok {
			t.Errorf("%.20q: got a form, want none", damaged)
		}
	}
	if _, err := z.Expand(body); err == nil {
		t.Error("what is no gzip: got no error")
	}
}
