package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"freshet/internal/testenv"
)

// BenchmarkFeed is a warm page of 20 posts with authors and counts over HTTP: what of a request is the server's own, with
// everything in this process's memory.
func BenchmarkFeed(b *testing.B) { benchmarkFeed(b, nil) }

// BenchmarkExecute is the same page executed each time, from values in this process's memory. BenchmarkInspectorOff of
// internal/server compares it with what it costs without the inspector.
func BenchmarkExecute(b *testing.B) {
	benchmarkFeed(b, http.Header{"Cache-Control": {"no-store"}})
}

func benchmarkFeed(b *testing.B, header http.Header) {
	w := newWorld(b)
	a := w.start()
	reader, _ := a.person("reader")
	for i := range 20 {
		author, id := a.person(fmt.Sprintf("author%d", i))
		a.must(reader, `mutation($id: ID!) { follow(input: {profileId: $id}) { userErrors { message } } }`, map[string]any{"id": id}, nil)
		var out any
		a.must(author, `mutation($b: String!) { publishPost(input: {title: "A title", body: $b, category: "science", language: "en"}) {
			post { id } } }`, map[string]any{"b": strings.Repeat("Some words of a post. ", 32)}, &out)
	}
	w.exec(`UPDATE accounts SET scopes = '{developer}'`)
	reader = a.signIn("reader")
	body, err := json.Marshal(map[string]any{"query": `{ feed { nodes { id title body publishedAt author { name handle } counts { likes } } } }`})
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	b.ReportAllocs()
	defer testenv.ReportCPU(b)()
	for b.Loop() {
		req, err := http.NewRequest("POST", a.url, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		maps.Copy(req.Header, header)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+reader)
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		resp.Body.Close()
	}
}
