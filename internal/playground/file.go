package playground

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// file answers with the same bytes each time, compressed for those who accept it.
type file struct {
	contentType  string
	cacheControl string
	plain        encoding
	gzipped      func() encoding // made when first asked for: it takes 50 ms for the script
}

type encoding struct {
	content []byte
	etag    string
}

// newFile reads from dist, and panics if the path is not there.
func newFile(path, cacheControl string) *file {
	content, err := dist.ReadFile(path)
	if err != nil {
		panic("playground: read " + path + ": " + err.Error())
	}
	return newFileOf(content, path, cacheControl)
}

func newFileOf(content []byte, name, cacheControl string) *file {
	return &file{
		contentType:  contentType(name),
		cacheControl: cacheControl,
		plain:        newEncoding(content),
		gzipped:      sync.OnceValue(func() encoding { return newEncoding(compress(content)) }),
	}
}

// ServeHTTP answers conditional and range requests too.
func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := f.plain
	w.Header().Set("Vary", "Accept-Encoding")
	if acceptsGzip(r) {
		body = f.gzipped()
		w.Header().Set("Content-Encoding", "gzip")
	}
	w.Header().Set("Cache-Control", f.cacheControl)
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("ETag", body.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body.content))
}

func newEncoding(content []byte) encoding {
	sum := sha256.Sum256(content)
	return encoding{content, `"` + hex.EncodeToString(sum[:16]) + `"`}
}

// contentType does not ask package mime, whose answer depends on the machine.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return "text/plain; charset=utf-8"
	}
}

// acceptsGzip takes anything but a plain mention of gzip as a no, which is always allowed.
func acceptsGzip(r *http.Request) bool {
	for name := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if strings.TrimSpace(name) == "gzip" {
			return true
		}
	}
	return false
}

func compress(content []byte) []byte {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, _ = w.Write(content) // a bytes.Buffer takes everything
	_ = w.Close()
	return compressed.Bytes()
}
