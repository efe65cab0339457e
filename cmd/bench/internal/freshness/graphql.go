package freshness

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// request is a GraphQL request.
type request struct {
	query     string
	variables map[string]any
	token     string
}

// answer is what the requests of this package are answered with.
type answer struct {
	Data   data
	Errors []struct{ Message string }
}

type data struct {
	P, P0, P1, H, H0, H1, O *profile
	T, T0, T1               *post
	C                       *config
	Feed                    *posts
	Viewer                  *struct{ Settings *settings }
	Name                    *struct{ Profile *profile }
	Title                   *struct{ Post *post }
	Publish                 *struct{ Post *post }
	Settings                *struct{ Settings *settings }
	Config                  *struct{ Config *config }

	stale bool // as the instance said itself
}

type profile struct {
	ID     string
	Name   string
	Counts *struct{ Posts int }
	Posts  *posts
}

type post struct {
	Title  string
	Author *profile
}

type posts struct {
	Edges []struct{ Cursor string }
	Nodes []post
}

type config struct{ MinimumBuild string }

// settings hold a version by its remainder.
type settings struct {
	Theme             string
	Language          string
	PushNotifications bool
	Digest            string
}

const settingsVersions = 3 * 8 * 2 * 3

func themes() []string    { return []string{"SYSTEM", "LIGHT", "DARK"} }
func languages() []string { return []string{"de", "en", "es", "fr", "it", "ja", "pt", "uk"} }
func digests() []string   { return []string{"OFF", "DAILY", "WEEKLY"} }

func settingsOf(version int) settings {
	n := version % settingsVersions
	return settings{
		Theme: themes()[n%3], Language: languages()[n/3%8], PushNotifications: n/24%2 == 1, Digest: digests()[n/48],
	}
}

// version is the highest up to most that these settings are of. Nobody sees one that is 144 versions old.
func (s *settings) version(most int) int {
	for v := most; v > most-settingsVersions && v >= 0; v-- {
		if settingsOf(v) == *s {
			return v
		}
	}
	return -1
}

// number is the version in a text such as "v17".
func number(text string, prefix byte) (int, error) {
	if text == "" || text[0] != prefix {
		return 0, fmt.Errorf("%q has no version %c", text, prefix)
	}
	return strconv.Atoi(text[1:])
}

// rank is the version that the cursor of one of a pair's posts stands for. See the form of cursors in internal/store.
func rank(cursor string) (int, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < 12 {
		return 0, fmt.Errorf("cursor %q", cursor)
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(raw[4:])))
	return int(at.Sub(pairEpoch()) / time.Second), nil
}

// client sends requests to instances.
type client struct {
	http http.Client
}

func newClient() *client {
	return &client{http.Client{
		Timeout:   rig.Hang,
		Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true},
	}}
}

// errNotSent is a failure of a request that reached nobody.
var errNotSent = errors.New("not sent")

func (c *client) do(ctx context.Context, url string, r *request) (*data, error) {
	body, err := json.Marshal(map[string]any{"query": r.query, "variables": r.variables})
	if err != nil {
		return nil, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	post.Header.Set("Content-Type", "application/json")
	if r.token != "" {
		post.Header.Set("Authorization", "Bearer "+r.token)
	}
	response, err := c.http.Do(post)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return nil, errNotSent
	}
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("answer %.100q: %w", text, err)
	}
	if len(a.Errors) > 0 {
		return nil, errors.New(a.Errors[0].Message)
	}
	a.Data.stale = response.Header.Get("Warning") != ""
	return &a.Data, nil
}
