package front

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strings"
)

// head is a request's first line and header. Nothing changes it, also those who handle its requests: they share it.
type head struct {
	text   string // with the empty line at its end
	method string
	target string
	query  string
	host   string
	header http.Header // without Host, as net/http has it
	length int         // of the body
	ours   bool
}

type verdict int

const (
	partial verdict = iota // what is there may become either
	ours
	theirs
)

// judge looks at what may be the beginning of a request, of which there can't be more than most bytes. Size is that of the
// whole request, 0 if it is not known. Where it is known, net/http must find the same end, or what follows would be taken
// for another request than it is: what is not plain has none.
func (c *conn) judge(p []byte, most int) (_ *head, size int, _ verdict) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) == most || !plainSoFar(p) {
			return nil, 0, theirs
		}
		return nil, 0, partial
	}
	end += len("\r\n\r\n")
	if c.last == nil || c.last.text != string(p[:end]) {
		c.last = parseHead(string(p[:end]), c.front.path)
	}
	h := c.last
	switch {
	case h == nil:
		return nil, 0, theirs
	case !h.ours || end+h.length > most:
		return nil, end + h.length, theirs
	case end+h.length > len(p):
		return nil, end + h.length, partial
	}
	return h, end + h.length, ours
}

// plainSoFar is false for what net/http would judge before the header's end.
func plainSoFar(p []byte) bool {
	if p[0] < 'A' || p[0] > 'Z' {
		return false
	}
	for rest := p; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return true
		}
		if i == 0 || rest[i-1] != '\r' {
			return false
		}
		rest = rest[i+1:]
	}
}

// parseHead reads RFC 9112's syntax without what is obsolete or optional in it. Nil is what net/http must judge.
func parseHead(text, path string) *head {
	line, rest, _ := strings.Cut(text, "\r\n")
	h := &head{text: text}
	method, target, ok := cutLine(line)
	if !ok {
		return nil
	}
	h.method, h.target = method, target
	p := headParser{head: h}
	if !p.fields(rest) || len(p.hosts) != 1 || !plainHost(p.hosts[0]) {
		return nil
	}
	h.host = p.hosts[0]
	at, query, asks := strings.Cut(target, "?")
	h.query = query
	// A POST without a length has no body; net/http knows what that means.
	h.ours = !p.foreign && at == path && asks == (query != "") && (method == http.MethodPost && p.sized || method == http.MethodGet && h.length == 0)
	return h
}

// cutLine is false for all but HTTP/1.1 and a target that is a path.
func cutLine(line string) (method, target string, ok bool) {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	if version != "HTTP/1.1" || !isToken(method) || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return "", "", false
	}
	for _, b := range []byte(target) {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return "", "", false
		}
	}
	return method, target, true
}

type headParser struct {
	*head
	hosts   []string
	sized   bool
	foreign bool // it asks for what only net/http does
}

// fields is false if the header is not plain.
func (p *headParser) fields(rest string) bool {
	count := strings.Count(rest, "\r\n") - 1
	p.header = make(http.Header, count)
	values := make([]string, 0, count) // one piece of memory for all
	for rest != "\r\n" {
		line, after, _ := strings.Cut(rest, "\r\n")
		rest = after
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !isToken(name) || !plainValue(value) {
			return false
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if !p.field(name, value) {
			return false
		}
		if name == "Host" {
			continue
		}
		if before := p.header[name]; before != nil {
			p.header[name] = append(before, value)
			continue
		}
		values = append(values, value)
		p.header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	return true
}

// field notes what is said of the connection and the body's length. It is false where net/http must find the end.
func (p *headParser) field(name, value string) bool {
	switch name {
	case "Host":
		p.hosts = append(p.hosts, value)
	case "Content-Length":
		length, ok := parseLength(value)
		if !ok || p.sized {
			return false
		}
		p.sized, p.length = true, length
	case "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return false
	case "Connection":
		p.foreign = p.foreign || !strings.EqualFold(value, "keep-alive")
	case "Expect", "Pragma", "Te", "Trailer", "Proxy-Connection", "Keep-Alive":
		p.foreign = true
	}
	return true
}

func parseLength(text string) (n int, ok bool) {
	if text == "" || len(text) > 9 {
		return 0, false
	}
	for _, b := range []byte(text) {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + int(b-'0')
	}
	return n, true
}

func plainHost(host string) bool {
	for _, b := range []byte(host) {
		if !alphanumeric(b) && strings.IndexByte(".-:[]_", b) < 0 {
			return false
		}
	}
	return host != ""
}

func plainValue(value string) bool {
	for _, b := range []byte(value) {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

func isToken(text string) bool {
	for _, b := range []byte(text) {
		if !alphanumeric(b) && strings.IndexByte("-_!#$%&'*+.^`|~", b) < 0 {
			return false
		}
	}
	return text != ""
}

func alphanumeric(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}
