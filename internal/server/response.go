package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
)

// encode writes a response of the GraphQL specification: gqlgen's own encoding says "data": null where there was no
// execution, and copies the data once more.
func encode(response *graphql.Response) []byte {
	var buf bytes.Buffer
	buf.Grow(len(response.Data) + 256)
	buf.WriteByte('{')
	if len(response.Errors) > 0 {
		member(&buf, "errors", response.Errors)
	}
	if len(response.Data) > 0 {
		separate(&buf)
		buf.WriteString(`"data":`)
		buf.Write(response.Data)
	}
	if len(response.Extensions) > 0 {
		member(&buf, "extensions", response.Extensions)
	}
	buf.WriteByte('}')
	return buf.Bytes()
}

// member panics on a value that JSON cannot hold, which only a mistake in an extension can make.
func member(buf *bytes.Buffer, name string, value any) {
	separate(buf)
	buf.WriteString(`"` + name + `":`)
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("encode " + name + ": " + err.Error())
	}
	buf.Truncate(buf.Len() - 1) // Encode ends with a line break
}

func separate(buf *bytes.Buffer) {
	if buf.Len() > 1 {
		buf.WriteByte(',')
	}
}

func write(w http.ResponseWriter, as media, status int, response *graphql.Response) {
	writeBody(w, as, status, encode(response))
}

func writeBody(w http.ResponseWriter, as media, status int, body []byte) {
	w.Header()["Content-Type"] = as.contentType()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // fails if the client has gone, who then needs no answer
}
