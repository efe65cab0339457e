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

	"github.com/99designs/gqlgen/graphql"
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

// readEnvelope reads POST bodies and GET addresses.
func readEnvelope(w http.ResponseWriter, r *http.Request, bodyLimit int64) (*envelope, error) {
	if len(r.RequestURI) > uriLimit {
		return nil, &refusal{
			status: http.StatusRequestURITooLong, code: codeBadRequest,
			message: "the address is too long: send the request by POST",
		}
	}
	if r.Method != http.MethodPost {
		return fromAddress(r.URL.RawQuery)
	}
	if err := checkContentType(r.Header); err != nil {
		return nil, err
	}
	body, err := readBody(w, r, bodyLimit)
	if err != nil {
		return nil, err
	}
	return fromBody(body)
}

func checkContentType(header http.Header) error {
	refused := &refusal{
		status: http.StatusUnsupportedMediaType, code: codeBadRequest,
		message: "the body must be JSON in UTF-8: Content-Type: application/json",
	}
	types := header.Values("Content-Type")
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

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	tooLarge := &refusal{
		status: http.StatusRequestEntityTooLarge, code: codeBadRequest,
		message: "the body is too large",
	}
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // or the rest of the body would have to be read
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var exceeded *http.MaxBytesError
	switch {
	case errors.As(err, &exceeded):
		return nil, tooLarge
	case err != nil:
		return nil, badRequest("the body could not be read to its end")
	case len(bytes.TrimSpace(body)) == 0:
		return nil, badRequest("the body is empty")
	case !utf8.Valid(body):
		return nil, badRequest("the body is not valid UTF-8")
	}
	return body, nil
}

func fromBody(body []byte) (*envelope, error) {
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

// texts has the three names under which clients send the id of a document: the draft's, Relay's and Hot Chocolate's.
func (e *envelope) texts() []textMember {
	return []textMember{
		{"query", &e.query},
		{"operationName", &e.operationName},
		{"id", &e.documentID},
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

// params is what gqlgen executes, or why the request names no document.
func (e *envelope) params() (*graphql.RawParams, error) {
	if err := e.checkPersisted(); err != nil {
		return nil, err
	}
	if strings.TrimSpace(e.query) == "" {
		return nil, badRequest("GraphQL operations must contain a non-empty `query` or a `persistedQuery` extension.")
	}
	return &graphql.RawParams{
		Query:         e.query,
		OperationName: e.operationName,
		Variables:     e.variables,
		Extensions:    e.extensions,
	}, nil
}
