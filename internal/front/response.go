package front

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// mostHeld is in bytes: an answer up to that length leaves in one piece.
const mostHeld = 64 << 10

// response is an http.ResponseWriter that holds an answer until it is whole.
type response struct {
	conn     *conn
	header   http.Header
	status   int
	declared int // Content-Length; -1 if the handler says none
	written  int
	out      *[]byte // nil until the header is written
	body     []byte  // of an answer whose length is known at its end only
	err      error   // the connection's
	last     bool    // the connection closes after it
}

// Header implements http.ResponseWriter.
func (r *response) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter. Informational answers are not sent.
func (r *response) WriteHeader(status int) {
	if r.status != 0 || status < http.StatusOK {
		return
	}
	r.status = status
	if lengths := r.header["Content-Length"]; len(lengths) == 1 && !r.bodyless() {
		if n, err := strconv.Atoi(lengths[0]); err == nil && n >= 0 {
			r.declared = n
			r.writeHead()
		}
	}
}

// bodyless tells of answers that end with their header.
func (r *response) bodyless() bool {
	return r.status == http.StatusNoContent || r.status == http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	switch {
	case r.bodyless():
		return 0, http.ErrBodyNotAllowed
	case r.declared < 0:
		r.body = append(r.body, p...)
	case r.written+len(p) > r.declared:
		return 0, http.ErrContentLength
	default:
		r.send(p)
	}
	r.written += len(p)
	return len(p), r.err
}

// send holds p, or lets it go with what is held.
func (r *response) send(p []byte) {
	if len(*r.out)+len(p) <= mostHeld {
		*r.out = append(*r.out, p...)
		return
	}
	r.flush()
	if r.err == nil {
		_, r.err = r.conn.Conn.Write(p)
	}
}

func (r *response) flush() {
	if r.err == nil && len(*r.out) > 0 {
		_, r.err = r.conn.Conn.Write(*r.out)
	}
	*r.out = (*r.out)[:0]
}

// finish sends what is held, and tells whether another answer may follow on the connection.
func (r *response) finish() bool {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.out == nil {
		if !r.bodyless() {
			r.declared = len(r.body)
			r.header["Content-Length"] = []string{strconv.Itoa(r.declared)}
		}
		r.writeHead()
		r.send(r.body)
	}
	r.flush()
	r.conn.front.buffers.Put(r.out)
	r.out = nil
	return r.err == nil && !r.last && (r.bodyless() || r.written == r.declared)
}

// writeHead writes the header as it is now.
func (r *response) writeHead() {
	out, ok := r.conn.front.buffers.Get().(*[]byte)
	if !ok {
		out = new([]byte)
	}
	b := append(*out, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(append(b, ' '), http.StatusText(r.status)...)
	b = append(b, "\r\n"...)
	for name, values := range r.header {
		if !isToken(name) || r.bodyless() && aboutBody(name, r.status) {
			continue
		}
		for _, value := range values {
			b = appendField(b, name, value)
		}
	}
	if len(r.header["Date"]) == 0 {
		b = appendField(b, "Date", r.conn.front.dateAt(time.Now()))
	}
	said := r.header["Connection"]
	r.last = len(said) > 0 && strings.EqualFold(said[0], "close")
	if len(said) == 0 && r.conn.isLeaving() {
		r.last = true
		b = appendField(b, "Connection", "close")
	}
	*out = append(b, "\r\n"...)
	r.out = out
}

// aboutBody tells of fields that say what is not there (RFC 9110, 15.4.5).
func aboutBody(name string, status int) bool {
	return name == "Content-Length" || name == "Content-Type" && status == http.StatusNotModified
}

// appendField keeps a value from becoming another field.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	start := len(b)
	b = append(b, value...)
	if strings.ContainsAny(value, "\r\n") {
		for i := start; i < len(b); i++ {
			if b[i] == '\r' || b[i] == '\n' {
				b[i] = ' '
			}
		}
	}
	return append(b, "\r\n"...)
}
