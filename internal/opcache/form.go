package opcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strconv"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// A stored result, in the order of its bytes:
//
//	0   form  1 byte; 0: plain, 1: gzip (RFC 1952)
//	1   sum   16 bytes; of SHA-256 over the plain body, for its ETags
//	17  body
const (
	formPlain  = 0
	formGzip   = 1
	formHeader = 1 + sumSize
	sumSize    = 16
)

type bodySum [sumSize]byte

func sumOf(body []byte) bodySum {
	sum := sha256.Sum256(body)
	return bodySum(sum[:sumSize])
}

// form is a stored result as it is sent. What its header says is written once, and shared by all who send it.
type form struct {
	gzip   bool
	sum    bodySum
	body   []byte
	etag   []string
	length []string
}

func encode(body []byte, gzip bool, sum bodySum) []byte {
	stored := make([]byte, 0, formHeader+len(body))
	kind := byte(formPlain)
	if gzip {
		kind = formGzip
	}
	stored = append(append(stored, kind), sum[:]...)
	return append(stored, body...)
}

// open is what the cache calls for each stored body.
func open(stored []byte) (any, bool) {
	if len(stored) <= formHeader || stored[0] > formGzip {
		return nil, false
	}
	f := &form{gzip: stored[0] == formGzip, sum: bodySum(stored[1:formHeader]), body: stored[formHeader:]}
	f.etag = []string{etagOf(f.sum, f.gzip)}
	f.length = []string{strconv.Itoa(len(f.body))}
	return f, true
}

// etagOf makes a strong ETag: equal bodies have one, and each encoding has its own.
func etagOf(sum bodySum, gzip bool) string {
	text := base64.RawURLEncoding.EncodeToString(sum[:])
	if gzip {
		text += "-gzip"
	}
	return `"` + text + `"`
}

// LeastGzip is from how many bytes on compressing is worth it: shorter bodies fit one packet as they are.
const LeastGzip = 1024

// Zipper compresses. It is safe for concurrent use; its zero value works.
type Zipper struct {
	writers sync.Pool
	readers sync.Pool
}

// Compress returns body in gzip. It favours speed: the default level takes several times as long, for 7 % fewer bytes.
func (z *Zipper) Compress(body []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(body)/2 + 64)
	w, ok := z.writers.Get().(*gzip.Writer)
	if ok {
		w.Reset(&out)
	} else {
		w, _ = gzip.NewWriterLevel(&out, gzip.BestSpeed) // fails for unknown levels only
	}
	w.Write(body) // a Buffer takes everything
	w.Close()
	z.writers.Put(w)
	return out.Bytes()
}

// Expand is the opposite of Compress. It fails if body is not gzip.
func (z *Zipper) Expand(body []byte) ([]byte, error) {
	in := bytes.NewReader(body)
	r, ok := z.readers.Get().(*gzip.Reader)
	var err error
	if ok {
		err = r.Reset(in)
	} else {
		r, err = gzip.NewReader(in)
	}
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	z.readers.Put(r)
	return plain, err
}
