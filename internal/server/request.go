package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// uriLimit is in bytes; longer documents go by POST or by their id.
const uriLimit = 16 << 10

// envelope is a request as HTTP brought it.
type envelope struct {
	query         string
	operationName string
	documentID    string
	variables     map[string]any
	extensions    map[string]any
}

// readRequest returns the bytes that say what a request asks for: the body of a POST, or the address's part behind a
// question mark, with that in front, so that no address passes for a body.
func readRequest(w http.ResponseWriter, r *http.Request, bodyLimit int64) (string, error) {
	if len(r.RequestURI) > uriLimit {
		return "", &refusal{
			status: http.StatusRequestURITooLong, code: codeBadRequest,
			message: "the address is too long: send the request by POST",
		}
	}
	if r.Method != http.MethodPost {
		return "?" + r.URL.RawQuery, nil
	}
	if err := checkContentType(r.Header); err != nil {
		return "", err
	}
	return readBody(w, r, bodyLimit)
}

// parseRequest reads what readRequest has returned.
func parseRequest(method, bytes string) (*envelope, error) {
	if method != http.MethodPost {
		return fromAddress(bytes[1:])
	}
	return fromBody([]byte(bytes))
}

func checkContentType(header http.Header) error {
	refused := &refusal{
		status: http.StatusUnsupportedMediaType, code: codeBadRequest,
		message: "the body must be JSON in UTF-8: Content-Type: application/json",
	}
	types := header["Content-Type"]
	if len(types) == 1 && types[0] == typeJSON && len(header["Content-Encoding"]) == 0 {
		return nil // as nearly all clients say it
	}
	if len(types) != 1 {
		return refused
	}
	name, params, err := mime.ParseMediaType(types[0])
	if err != nil || name != typeJSON {
		return refused
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refused
	}
	if encoding := header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		refused.message = "compressed request bodies are not supported"
		return refused
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) (string, error) {
	tooLarge := &refusal{
		status: http.StatusRequestEntityTooLarge, code: codeBadRequest,
		message: "the body is too large",
	}
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // or the rest of the body would have to be read
		return "", tooLarge
	}
	body, err := readAll(w, r, limit)
	var exceeded *http.MaxBytesError
	switch {
	case errors.As(err, &exceeded):
		return "", tooLarge
	case err != nil:
		return "", badRequest("the body could not be read to its end")
	}
	return unsafe.String(unsafe.SliceData(body), len(body)), nil // nobody has body any more
}

// readAll needs no room to grow in where the length is known, as it nearly always is.
func readAll(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func fromBody(body []byte) (*envelope, error) {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return nil, badRequest("the body is empty")
	case !utf8.Valid(body):
		return nil, badRequest("the body is not valid UTF-8")
	}
	var members map[string]json.RawMessage
	err := json.Unmarshal(body, &members)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, badRequest("the body is not JSON: %s at byte %d", syntax.Error(), syntax.Offset)
	case err != nil && bytes.TrimSpace(body)[0] == '[':
		return nil, badRequest("batches are not supported: send one operation a request")
	case err != nil || members == nil:
		return nil, badRequest("the body must be a JSON object")
	}
	var e envelope
	for _, text := range e.texts() {
		if err := decodeText(members, text.name, text.into); err != nil {
			return nil, err
		}
	}
	if e.query == "" && e.documentID == "" { // beside a query, it is no member that anyone has defined
		if err := decodeText(members, "id", &e.documentID); err != nil {
			return nil, err
		}
	}
	for _, object := range e.objects() {
		if err := decodeObject(object.name, members[object.name], object.into); err != nil {
			return nil, err
		}
	}
	return &e, nil
}

func fromAddress(rawQuery string) (*envelope, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, badRequest("the address is malformed behind the question mark")
	}
	for name, given := range values {
		if len(given) > 1 {
			return nil, badRequest("%s is given twice", shorten(name))
		}
		if !utf8.ValidString(given[0]) {
			return nil, badRequest("%s is not valid UTF-8", shorten(name))
		}
	}
	var e envelope
	for _, text := range e.texts() {
		if value := values.Get(text.name); value != "" {
			*text.into = value
		}
	}
	if e.query == "" && e.documentID == "" {
		e.documentID = values.Get("id")
	}
	for _, object := range e.objects() {
		if err := decodeObject(object.name, []byte(values.Get(object.name)), object.into); err != nil {
			return nil, err
		}
	}
	return &e, nil
}

type textMember struct {
	name string
	into *string
}

// texts has two of the names under which clients send the id of a document: the draft's and Relay's. Hot Chocolate's "id"
// counts where there is nothing else.
func (e *envelope) texts() []textMember {
	return []textMember{
		{"query", &e.query},
		{"operationName", &e.operationName},
		{"doc_id", &e.documentID},
		{"documentId", &e.documentID},
	}
}

type objectMember struct {
	name string
	into *map[string]any
}

func (e *envelope) objects() []objectMember {
	return []objectMember{{"variables", &e.variables}, {"extensions", &e.extensions}}
}

// decodeText leaves into as it is where the member is missing or null.
func decodeText(members map[string]json.RawMessage, name string, into *string) error {
	raw, given := members[name]
	if !given || string(raw) == "null" {
		return nil
	}
	if raw[0] != '"' {
		return badRequest("%s must be a string", name)
	}
	return json.Unmarshal(raw, into) // the whole body was valid JSON
}

// decodeObject keeps numbers exact. Missing, empty and null are no object.
func decodeObject(name string, raw []byte, into *map[string]any) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if !json.Valid(raw) || raw[0] != '{' {
		return badRequest("%s must be a JSON object", name)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return badRequest("%s must be a JSON object", name)
	}
	settleNumbers(*into)
	return nil
}

// settleNumbers gives numbers a Go type, in place: gqlparser takes a json.Number for a string, and so would accept 5 for
// a String. Whole numbers become int64, also when written as 20.0; those beyond 64 bits stay json.Number, exact.
func settleNumbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			value[key] = settleNumbers(member)
		}
	case []any:
		for i, item := range value {
			value[i] = settleNumbers(item)
		}
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		float, err := value.Float64()
		switch {
		case err != nil || math.Abs(float) >= math.MaxInt64:
			return value
		case float == math.Trunc(float) && math.Abs(float) <= 1<<53:
			return int64(float)
		default:
			return float
		}
	}
	return value
}

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }
