package server

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// media is how a response is labelled, and with that which statuses its reader expects.
type media int

const (
	mediaUnnamed media = iota // nothing named, or */*: JSON, with the statuses of GraphQL's own type
	mediaJSON                 // application/json named: refused documents leave with 200, as such clients expect
	mediaGraphQL              // application/graphql-response+json
)

const (
	typeJSON    = "application/json"
	typeGraphQL = "application/graphql-response+json"
)

// contentType is the header's value; nobody may change it.
func (m media) contentType() []string {
	if m == mediaGraphQL {
		return contentTypeGraphQL
	}
	return contentTypeJSON
}

var (
	contentTypeJSON    = []string{typeJSON + "; charset=utf-8"}
	contentTypeGraphQL = []string{typeGraphQL + "; charset=utf-8"}
)

// documentRefused is the status for a document or variables that cannot be executed.
func (m media) documentRefused() int {
	if m == mediaJSON {
		return http.StatusOK
	}
	return http.StatusBadRequest
}

// negotiate picks the type with the highest quality among those that Accept names, GraphQL's own among equals. ok is
// false if nothing that Accept names can be made.
func negotiate(accept []string) (chosen media, ok bool) {
	list := strings.TrimSpace(strings.Join(accept, ","))
	switch list { // what most clients send needs no parsing
	case "", "*/*":
		return mediaUnnamed, true
	case typeJSON:
		return mediaJSON, true
	case typeGraphQL, typeGraphQL + "," + typeJSON + ";q=0.9", typeGraphQL + ", " + typeJSON + ";q=0.9":
		return mediaGraphQL, true
	}
	best := 0.0
	for item := range strings.SplitSeq(list, ",") {
		offered, quality := parseRange(item)
		if quality <= 0 {
			continue
		}
		ok = true
		if offered == mediaUnnamed {
			continue
		}
		if quality > best || quality == best && offered > chosen {
			chosen, best = offered, quality
		}
	}
	return chosen, ok
}

// parseRange gives quality 0 for what is malformed or cannot be made.
func parseRange(item string) (media, float64) {
	name, params, err := mime.ParseMediaType(item)
	if err != nil {
		return mediaUnnamed, 0
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return mediaUnnamed, 0
	}
	quality := 1.0
	if q, given := params["q"]; given {
		if quality, err = strconv.ParseFloat(q, 64); err != nil {
			return mediaUnnamed, 0
		}
	}
	switch name {
	case typeGraphQL:
		return mediaGraphQL, quality
	case typeJSON:
		return mediaJSON, quality
	case "*/*", "application/*":
		return mediaUnnamed, quality
	}
	return mediaUnnamed, 0
}
