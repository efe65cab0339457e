package command

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"freshet/internal/inspect"
)

// inspected sends a request with the header that asks what the caches did.
func (a *api) inspected(token, header, query string) (exchange, *inspect.Report) {
	a.t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		a.t.Fatal(err)
	}
	x := a.send("", string(body), bearer(token), "Freshet-Debug: "+header)
	var answered struct {
		Extensions struct{ Freshet *inspect.Report }
	}
	if err := json.Unmarshal([]byte(x.body), &answered); err != nil {
		a.t.Fatalf("%s: %v", x.body, err)
	}
	return x, answered.Extensions.Freshet
}

// readOf finds the read of a kind.
func readOf(t *testing.T, report *inspect.Report, kind string) inspect.Read {
	t.Helper()
	for _, read := range report.Reads {
		if read.Kind == kind {
			return read
		}
	}
	t.Fatalf("got no read of %s in %+v", kind, report.Reads)
	return inspect.Read{}
}

func TestInspect_FollowsAResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	ann, _ := a.person("ann")
	_, bob := a.person("bob")
	a.must(ann, `mutation { follow(input: {profileId: "`+bob+`"}) { userErrors { code } } }`, nil, nil)
	post := a.publish(a.signIn("bob"), "A post")
	w.exec(`UPDATE accounts SET scopes = '{developer}' WHERE profile_id = (SELECT id FROM profiles WHERE handle = 'ann')`)
	dev := a.signIn("ann")
	const feed = `{ feed(first: 5) { nodes { id title author { handle counts { posts } } } } }`

	x, report := a.inspected(dev, "cache", feed)
	if report == nil {
		t.Fatalf("got %s, want extensions.freshet", x.body)
	}
	if o := report.Operation; o.Result != "miss" || o.Reason != "absent" || o.Stored == nil || !*o.Stored {
		t.Errorf("first: got %+v, want a miss that was kept", o)
	}
	if p := report.Policy; p.MaxAge != 30 || p.Scope != "PRIVATE" || p.AgeBy == nil || p.AgeBy.Path != "feed.nodes.author.counts" ||
		p.ScopeBy == nil || p.ScopeBy.Path != "feed" {
		t.Errorf("policy: got %+v %+v %+v, want 30 s by the counts, PRIVATE by the feed", p, p.AgeBy, p.ScopeBy)
	}
	read := readOf(t, report, "post")
	if len(read.Keys) != 1 || !strings.HasSuffix(read.Keys[0].Name, ":post:"+post) || read.Keys[0].Tier != "redis" ||
		!slices.Contains(read.Keys[0].Tags, "post:"+post) || len(read.Keys[0].Paths) == 0 {
		t.Errorf("post: got %+v, want it from Redis, where its author's answer was read back", read)
	}
	if author := readOf(t, report, "profile").Keys[0]; !slices.Equal(author.Paths, []string{"feed.nodes[0].author"}) {
		t.Errorf("author: got paths %v, want feed.nodes[0].author", author.Paths)
	}
	read = readOf(t, report, "feed")
	if len(read.SQL) != 1 || !strings.Contains(read.SQL[0].Text, "LIMIT ?") || read.Keys[0].Tier != "source" || read.Keys[0].Miss != "absent" {
		t.Errorf("feed: got %+v, want one statement without its values", read)
	}
	if x.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got Cache-Control %q, want no-store", x.header.Get("Cache-Control"))
	}

	if _, report = a.inspected(dev, "cache", feed); report.Operation.Result != "hit" || report.Operation.Tier != "memory" ||
		report.Operation.Age == nil || len(report.Reads) != 0 || report.Operation.AsOf == nil {
		t.Errorf("again: got %+v, want a hit in memory", report.Operation)
	}
	a.must(a.signIn("bob"), `mutation { editPost(input: {postId: "`+post+`", title: "Other"}) { userErrors { code } } }`, nil, nil)
	if _, report = a.inspected(dev, "cache", feed); report.Operation.Reason != "stale_tag" || report.Operation.StaleBy == nil ||
		report.Operation.StaleBy.Tag != "post:"+post || report.Operation.StaleBy.Position == 0 {
		t.Errorf("after an edit: got %+v, want it stale by the post's tag", report.Operation)
	}
	if _, report = a.inspected(dev, "source", feed); report.Operation.Result != "bypassed" || readOf(t, report, "post").Keys[0].Tier != "source" {
		t.Errorf("from the source: got %+v", report)
	}
}

func TestInspect_SaysWhyNothingIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	a.person("dev")
	w.exec(`UPDATE accounts SET scopes = '{developer}'`)
	dev := a.signIn("dev")
	for query, want := range map[string]string{
		`{ viewer { sessions { current } } }`:                                        "maxAge 0 of viewer.sessions.current",
		`mutation { updateProfile(input: {bio: "s3cret-bio"}) { profile { bio } } }`: "a mutation is never kept",
		`{ __typename }`: "nothing in it has a maxAge",
	} {
		x, report := a.inspected(dev, "cache", query)
		if report == nil || report.Operation.Result != "uncacheable" || !strings.Contains(report.Operation.Reason, want) {
			t.Errorf("%s: got %s, want %s", query, x.body, want)
		}
		if strings.Contains(query, "s3cret") && (len(report.Statements) == 0 || strings.Count(x.body, "s3cret") != 1) {
			t.Errorf("%s: got %s, want its statements without values", query, x.body)
		}
	}
}

func TestInspect_OnlyForDevelopers(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	ann, id := a.person("ann")
	for _, token := range []string{ann, ""} {
		for _, header := range []string{"cache", "source", "cache, source"} {
			lines := []string{"Freshet-Debug: " + header}
			if token != "" {
				lines = append(lines, bearer(token))
			}
			for range 2 {
				if x := a.send("", `{"query":"{ profile(id: \"`+id+`\") { handle } }"}`, lines...); x.status != 200 || strings.Contains(x.body, "extensions") {
					t.Errorf("got %s, want nothing but data", x.body)
				}
			}
		}
	}
}
