package persisted

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/manifest"
)

// contents is everything that is published, but for counts.
func (r *rig) contents() string {
	r.t.Helper()
	var lines []string
	r.must(r.DB.NewRaw(`
		SELECT 'build ' || app || ' ' || version || ' ' || state || ' ' || changed_at AS line FROM persisted.builds
		UNION ALL SELECT 'document ' || app || ' ' || key || ' ' || body FROM persisted.documents
		UNION ALL SELECT 'operation ' || b.version || ' ' || d.key FROM persisted.operations
			JOIN persisted.builds b ON b.id = build_id JOIN persisted.documents d ON d.id = document_id
		ORDER BY line`).Scan(r.t.Context(), &lines))
	return strings.Join(lines, "\n")
}

// What each tool wrote can be published and looked up by the ids that clients send.
func TestPublish_FilesOfTools(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	files := []string{"apollo.json", "relay.json", "codegen.json", "codegen-sha1.json", "cosmo-pairs.json", "cosmo.json", "custom.json"}
	ids := make(map[string][]manifest.Operation)
	for _, file := range files {
		text, err := os.ReadFile("../manifest/testdata/" + file)
		r.must(err)
		m, err := manifest.Read(text)
		r.must(err)
		report, err := r.Publish(t.Context(), Publication{App: file, Version: "1", Manifest: m, Activate: true})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if len(report.Operations) != len(m.Operations) || report.Added != len(m.Operations) || report.State != Active || len(report.Notes) > 0 {
			t.Errorf("%s: got %+v, want all %d and no notes", file, report, len(m.Operations))
		}
		ids[file] = m.Operations
	}
	l := r.library()
	for file, operations := range ids {
		for _, one := range operations {
			forms := []string{one.ID, file + "~1~" + one.ID, file + "/" + one.ID, sha256Hex(one.Text), "sha256:" + sha256Hex(one.Text)}
			for _, id := range forms {
				r.want(l, id, file, one.Text)
				r.want(l, id, "", one.Text)
			}
		}
	}
}

func TestPublish_Reports(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	report, err := r.try("ios", "1", false, "p", profile, "f", feed, "d", devices, "l", like, strings.Repeat("ab", 32), bio)
	r.must(err)
	if report.State != Pending || report.Added != 5 {
		t.Errorf("report: got %s with %d added, want pending with 5", report.State, report.Added)
	}
	for i, want := range []string{
		"p Profile query 600 PUBLIC  ", "f Feed query 60 PRIVATE  ",
		"d Devices query 0 PRIVATE viewer.sessions.current Session.current", "l Like mutation 0 PUBLIC like Mutation.like",
	} {
		op := report.Operations[i]
		if got := fmt.Sprint(op.ID, " ", op.Name, " ", op.Type, " ", op.MaxAge, " ", op.Scope, " ", op.Uncacheable, " ", op.Rule); got != want {
			t.Errorf("operation: got %q, want %q", got, want)
		}
		if op.Cost <= 0 {
			t.Errorf("%s: got the cost %d, want some", op.Name, op.Cost)
		}
	}
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "1 ids look like a SHA-256") {
		t.Errorf("notes: got %q, want one on the id that is no hash", report.Notes)
	}
	// Publishing again changes nothing, more adds, and an id of another app is noted.
	before := r.contents()
	if report, err = r.try("ios", "1", false, "p", profile); err != nil || report.Added != 0 || r.contents() != before {
		t.Errorf("again: got %+v, %v, want nothing changed", report, err)
	}
	report, err = r.try("ios", "1", false, "p", profile, "b", bio)
	if err != nil || report.Added != 1 || report.State != Pending {
		t.Errorf("one more: got %+v, %v, want it added", report, err)
	}
	report, err = r.try("android", "1", false, "p", bio)
	if err != nil || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "another text in the app ios") {
		t.Errorf("an id of another app: got %+v, %v, want a note", report, err)
	}
}

func TestPublish_RefusalsChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile)
	before := r.contents()
	for name, c := range map[string]struct {
		app, version, id, text, want string
	}{
		"unknown field":      {"ios", "2", "x", "query X { profile(id: 1) { secret } }", `Cannot query field "secret" on type "Profile"`},
		"syntax":             {"ios", "2", "x", "query X {", "Expected Name"},
		"no operation":       {"ios", "2", "x", "fragment F on Profile { id }", "no operation"},
		"anonymous":          {"ios", "2", "x", "{ feed { nodes { id } } }", "has no name"},
		"several":            {"ios", "2", "x", "query X { feed { nodes { id } } } query Y { feed { nodes { id } } }", "has 2 operations"},
		"id, another text":   {"ios", "2", "p", bio, "the id p already means another text, that of Profile"},
		"hash of another":    {"android", "2", sha256Hex(profile), bio, "is the SHA-256 of another text, that of Profile of the app ios"},
		"hash in the file":   {"android", "2", sha256Hex(feed), bio, "is the SHA-256 of another text, that of Feed of the app android"},
		"app without a name": {"", "2", "x", bio, "--app: needs a name"},
		"tilde":              {"ios", "2~3", "x", bio, "--build"},
		"space at the end":   {"ios ", "2", "x", bio, "--app"},
		"long":               {strings.Repeat("x", 101), "2", "x", bio, "longer than 100"},
	} {
		// Valid operations beside the one that is refused are not published either.
		_, err := r.try(c.app, c.version, true, "feed", feed, c.id, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
		if after := r.contents(); after != before {
			t.Fatalf("%s: got\n%s\nwant nothing changed:\n%s", name, after, before)
		}
	}
}

func TestPublish_RefusesWhatAManifestSaysOtherwise(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for fields, want := range map[string]string{
		`"clientName": "android"`: `clientName is "android", and this is published for "ios"`,
		`"name": "Other"`:         "the text's operation has the name Profile",
		`"type": "mutation"`:      `type is "mutation", and the text is a query`,
	} {
		m, err := manifest.Read([]byte(`{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [
			{"id": "p", ` + fields + `, "body": ` + quote(profile) + `}]}`))
		r.must(err)
		if _, err = r.Publish(t.Context(), Publication{App: "ios", Version: "1", Manifest: m}); err == nil ||
			!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2: ") {
			t.Errorf("%s: got %v, want an error with %q in line 2", fields, err, want)
		}
	}
}

// Of many who publish at the same time, those that mean the same agree, and the others are refused.
func TestPublish_AtTheSameTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const publishers = 8
	errs := make([]error, publishers)
	var work sync.WaitGroup
	for i := range publishers {
		work.Go(func() {
			pairs := []string{"f", feed, "d", devices}
			if i%2 == 1 {
				pairs = []string{"d", devices, "f", feed}
			}
			_, errs[i] = r.try("ios", fmt.Sprint(i%4), true, append(pairs, "p", []string{profile, bio}[i/4])...)
		})
	}
	work.Wait()
	published := 0
	for _, err := range errs {
		if err == nil {
			published++
		} else if !strings.Contains(err.Error(), "already means another text") {
			t.Errorf("got %v, want only conflicts refused", err)
		}
	}
	if published != publishers/2 {
		t.Errorf("published: got %d, want the half that came first", published)
	}
}

func TestBuilds_TheirLife(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.try("ios", "1", false, "p", profile, "f", feed)
	r.must(err)
	r.publish("ios", "2", "p", profile)
	state := func(version string) State {
		t.Helper()
		builds, err := r.Builds(t.Context(), "ios")
		r.must(err)
		for _, b := range builds {
			if b.Version == version {
				return b.State
			}
		}
		t.Fatalf("build %s: not listed", version)
		return ""
	}
	l := r.library()
	r.want(l, "f", "ios", "") // pending
	r.must(r.Activate(t.Context(), "ios", "1"))
	r.must(l.Load(t.Context()))
	r.want(l, "f", "ios", feed)
	r.must(r.Retire(t.Context(), "ios", "1"))
	r.must(l.Load(t.Context()))
	r.want(l, "f", "ios", "")
	r.want(l, "p", "ios", profile)
	r.want(l, "ios~2~p", "", profile)
	r.want(l, "ios~1~p", "", "") // names a retired build
	if got := []State{state("1"), state("2")}; got[0] != Retired || got[1] != Active {
		t.Errorf("states: got %v, want retired and active", got)
	}
	for _, err := range []error{r.Activate(t.Context(), "ios", "9"), r.Retire(t.Context(), "web", "1")} {
		if err == nil || !strings.Contains(err.Error(), "there is no build") {
			t.Errorf("an unknown build: got %v, want to be told", err)
		}
	}
	// What is no longer valid is not activated.
	r.Compiler = r.compiler(strings.Replace(r.schema, "type Profile ", "type Person ", 1) + "\ntype Profile { id: ID! }")
	if err := r.Activate(t.Context(), "ios", "1"); err == nil || !strings.Contains(err.Error(), "can't be activated") || state("1") != Retired {
		t.Errorf("activate what is not valid: got %v, %s, want it refused", err, state("1"))
	}
}

func TestSeen_WhatRetiringWouldHurt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile, "f", feed)
	r.publish("ios", "2", "p", profile)
	l := r.library()
	use := func(id, build string) {
		t.Helper()
		e, ok := l.ByID(id, "ios")
		if !ok {
			t.Fatalf("%s: unknown", id)
		}
		r.wait(time.Hour)
		e.Used("ios", build)
		r.must(l.flush(t.Context()))
	}
	want := func(version string, at time.Time) {
		t.Helper()
		if got, err := r.Seen(t.Context(), "ios", version); err != nil || !got.Equal(at) {
			t.Errorf("%s seen: got %v, %v, want %v", version, got, err, at)
		}
	}
	want("1", time.Time{})
	use("p", "2") // 1 does not matter: 2 goes on serving it
	want("1", time.Time{})
	want("2", r.now())
	use("f", "?") // only 1 serves it
	want("1", r.now())
	use("p", "1")
	want("1", r.now())
}

func TestCheck_NamesWhatWouldBreak(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile, "f", feed, "l", like)
	_, err := r.try("ios", "2", false, "b", bio, "l", like, "o", `query Sorted($by: FeedOrder!, $f: FeedFilter) { feed(order: $by, filter: $f) { nodes { id } } }`)
	r.must(err)
	r.publish("web", "1", "d", devices)
	r.must(r.Retire(t.Context(), "web", "1"))
	served, err := ReadSchema("now", r.schema)
	r.must(err)
	for name, c := range map[string]struct{ old, new, want string }{
		"nothing":          {"", "", ""},
		"addition":         {"\n  bio: String!", "\n  bio: String!\n  motto: String", ""},
		"retired":          {"current: Boolean!", "present: Boolean!", ""},
		"more lenient":     {"\n  digest: Digest\n", "\n  digest: Digest = OFF\n", ""},
		"stricter result":  {"title: String!", "title: String!", ""},
		"field":            {"\n  bio: String!", "\n  about: String!", `ios 2 pending Profile: Cannot query field "bio" on type "Profile".`},
		"argument":         {"  profile(id: ID!): Profile", "  profile(key: ID!): Profile", `ios 1 active Profile: Unknown argument "id" on field "Query.profile".`},
		"type of argument": {"  profile(id: ID!): Profile", "  profile(id: Int!): Profile", `ios 1 active Profile: Variable "$id" of type "ID!" used in position expecting type "Int!".`},
		"type of a field":  {"\n  title: String!\n  \"Plain", "\n  title: Int!\n  \"Plain", "ios 1 active Feed: the field Post.title returns Int!, and returned String!"},
		"null":             {"\n  bio: String!", "\n  bio: String", "ios 2 pending Profile: the field Profile.bio returns String, and returned String!"},
		"enum":             {"\n  TOP\n", "\n  BEST\n", "ios 2 pending Sorted: the value FeedOrder.TOP is gone"},
		"input":            {"\n  since: DateTime\n", "\n  from: DateTime\n", "ios 2 pending Sorted: the input field FeedFilter.since is gone"},
		"required input":   {"input FeedFilter {", "input FeedFilter {\n  who: ID!", "ios 2 pending Sorted: the input field FeedFilter.who is new and required"},
		"stricter input":   {"\n  since: DateTime\n", "\n  since: DateTime!\n", "ios 2 pending Sorted: the input field FeedFilter.since takes DateTime!, and took DateTime"},
	} {
		if c.old != "" && !strings.Contains(r.schema, c.old) {
			t.Fatalf("%s: the schema has no %q", name, c.old)
		}
		next, err := ReadSchema("next", strings.Replace(r.schema, c.old, c.new, 1))
		r.must(err)
		verdict, err := r.Check(t.Context(), served, next)
		r.must(err)
		var got []string
		for _, build := range verdict.Broken {
			for _, op := range build.Operations {
				got = append(got, fmt.Sprintf("%s %s %s %s: %s", build.App, build.Version, build.State, op.Name, strings.Join(op.Reasons, "; ")))
			}
		}
		if text := strings.Join(got, "\n"); (c.want == "") != (text == "") || !strings.Contains(text, strings.TrimSuffix(c.want, ".")) {
			t.Errorf("%s: got %q, want %q", name, text, c.want)
		}
		if verdict.Builds != 2 || verdict.Operations != 5 {
			t.Errorf("%s: got %d builds and %d operations, want 2 and 5", name, verdict.Builds, verdict.Operations)
		}
	}
	bad, err := ReadSchema("bad", r.schema+"\nextend type Config { x: Int @cost(weight: \"many\") }")
	r.must(err)
	if _, err := r.Check(t.Context(), served, bad); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("a schema with a mistake: got %v, want an error", err)
	}
	if _, err := ReadSchema("next.graphqls", "type Query {"); err == nil || !strings.Contains(err.Error(), "next.graphqls") {
		t.Errorf("no schema: got %v, want an error that names the file", err)
	}
}
