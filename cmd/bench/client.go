package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"freshet/cmd/bench/internal/blast"
	"freshet/cmd/bench/internal/rig"
	"freshet/internal/opcache"
)

// client asks as phones do: with connections kept open, for compressed answers.
type client struct{ http *http.Client }

func newClient() *client {
	return &client{&http.Client{
		Timeout:   rig.Hang,
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true},
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// operation is a GraphQL request, ready to be sent.
type operation []byte

func newOperation(query string, variables map[string]any) operation {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		panic(err) // nothing here but text and numbers
	}
	return body
}

// feedOperation is what a phone's first screen shows.
func feedOperation() operation {
	return newOperation(`query Feed($first: Int) {
  feed(first: $first) {
    edges {
      cursor
      node {
        id title body category language publishedAt
        author { id handle name avatarUrl }
        counts { likes }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}`, map[string]any{"first": feedSize})
}

// pageOperation reads a page of the feed, and shows next to nothing of it.
func pageOperation() operation {
	return newOperation(`query Page($first: Int) { feed(first: $first) { pageInfo { endCursor } } }`, map[string]any{"first": feedSize})
}

func profileOperation(id int64) operation {
	return newOperation(`query Profile($id: ID!) { profile(id: $id) { id handle name bio avatarUrl counts { followers following posts } } }`,
		map[string]any{"id": fmt.Sprint(id)})
}

func nameOperation(id int64) operation {
	return newOperation(`query Name($id: ID!) { profile(id: $id) { name } }`, map[string]any{"id": fmt.Sprint(id)})
}

func configOperation(platform string) operation {
	return newOperation(`query Config($platform: Platform!) {
  config(platform: $platform) { version minimumBuild features { name enabled } values { key value } }
}`, map[string]any{"platform": platform})
}

const feedSize = 20

// ask sends an operation and returns the answer as it came, compressed.
func (c *client) ask(ctx context.Context, s *rig.Server, token string, op operation) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/graphql", bytes.NewReader(op))
	if err != nil {
		return nil, err
	}
	request.Header = http.Header{
		"Content-Type":    {"application/json"},
		"Accept":          {"application/graphql-response+json, application/json;q=0.9"},
		"Accept-Encoding": {"gzip"},
		"User-Agent":      {"freshet-bench"},
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return c.do(request)
}

// callersOf are clients that cost little, where what an answer costs is measured in fractions of a millisecond.
func callersOf(s *rig.Server) *blast.Callers {
	return &blast.Callers{Addr: strings.TrimPrefix(s.URL, "http://")}
}

func graphqlRequest(token string, op operation) []byte {
	return postRequest("/graphql", op, "gzip", token)
}

func postRequest(path string, body []byte, encoding, token string) []byte {
	return blast.Request("POST", path, body,
		"Content-Type: application/json", "Accept: application/graphql-response+json, application/json;q=0.9",
		"Accept-Encoding: "+encoding, "User-Agent: freshet-bench", "Authorization: Bearer "+token)
}

func liveRequest() []byte { return blast.Request("GET", "/livez", nil) }

// live asks for the least that a server can be asked for.
func (c *client) live(ctx context.Context, s *rig.Server) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/livez", nil)
	if err != nil {
		return nil, err
	}
	return c.do(request)
}

func (c *client) do(request *http.Request) ([]byte, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		plain, _ := decompress(body)
		err = fmt.Errorf("%s: %s", response.Status, plain)
	}
	return body, err
}

func decompress(body []byte) ([]byte, error) {
	if !bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		return body, nil // short answers are not compressed
	}
	plain, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

// check accepts answers that are whole: with data and without errors. It looks at bytes, since parsing would keep the
// cores from the server; what stands in texts can't look like this, for its quotes are escaped.
func check(body []byte) error {
	plain, err := decompress(body)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(plain, []byte(`{"data":{`)) || bytes.Contains(plain, []byte(`"errors":[`)) ||
		bytes.Contains(plain[:min(40, len(plain))], []byte(`":null`)) {
		return fmt.Errorf("answer: %.300s", plain)
	}
	return nil
}

// awaitHits asks until a server answers from its caches: it may do so only once it follows the change log. Which of them
// answers is a matter of chance: while the whole response is kept, the profile alone is not looked up.
func (c *client) awaitHits(ctx context.Context, s *rig.Server, viewer rig.Viewer) error {
	const pause = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, rig.Hang)
	defer cancel()
	for {
		body, err := c.ask(ctx, s, viewer.Token, profileOperation(viewer.ID))
		if err == nil {
			err = check(body)
		}
		if err != nil {
			return fmt.Errorf("ask %s until it answers from its caches: %w", s.Name, err)
		}
		counters, err := s.Counters(ctx)
		if err != nil {
			return err
		}
		const hits = "freshet_cache_hits_total"
		if counters.Sum(hits, "kind", "profile")+counters.Sum(hits, "kind", opcache.Kind) > 0 {
			return nil
		}
		if err := wait(ctx, time.Now().Add(pause)); err != nil {
			return fmt.Errorf("%s does not answer from its caches: %w", s.Name, err)
		}
	}
}
