package command

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

const (
	propertySteps = 40
	remembered    = 8 // operations that may be asked for again, after changes
)

var propertySeed = flag.Uint64("property.seed", 4, "of the property tests; 0 takes another each time, and logs it")

// asker is who sends operations; the token of nobody is empty.
type asker struct{ name, token string }

// asking is one way to have an operation answered.
type asking func(generated, asker) exchange

// property compares servers that keep whole results with one that keeps nothing at all.
type property struct {
	t         *testing.T
	w         *world
	keepers   []*api
	uncached  *api
	gen       *generator
	transport *http.Transport
	// askers are a viewer, another, nobody, and another session of the first, with scopes.
	askers   []asker
	seen     []generated
	phones   map[string]exchange // what each got last by GET
	compared int
	notes    map[string]int // how many answers were of each sort
}

func newProperty(t *testing.T, seed, stream uint64) *property {
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -property.seed=%d", seed)
	w := newWorld(t)
	p := &property{
		t: t, w: w, keepers: []*api{w.start(), w.start()}, uncached: w.startUncached(),
		transport: &http.Transport{DisableCompression: true}, phones: map[string]exchange{}, notes: map[string]int{},
	}
	t.Cleanup(p.transport.CloseIdleConnections)
	p.gen = &generator{
		Rand: rand.New(rand.NewPCG(seed, stream)), schema: p.keepers[0].instance.schema.Schema(), cursors: map[string][]string{},
		profiles: []string{"999"}, handles: []string{"nobody"}, posts: []string{"999"},
	}
	p.populate()
	return p
}

// startUncached starts an instance without memory, change log and Redis: it reads everything from PostgreSQL.
func (w *world) startUncached() *api {
	a := w.startWith(func(o *ServeOptions) { o.Memory, o.ResultMemory = -1, -1 })
	a.instance.stop()
	a.instance.work.Wait()
	if err := a.instance.redis.Close(); err != nil {
		w.t.Fatal(err)
	}
	return a
}

// populate signs four people up, of whom the first two ask.
func (p *property) populate() {
	a := p.keepers[0]
	tokens := map[string]string{}
	for _, handle := range []string{"ann", "bob", "cid", "dot"} {
		token, id := a.person(handle)
		tokens[handle] = token
		p.gen.profiles, p.gen.handles = append(p.gen.profiles, id), append(p.gen.handles, handle)
		for n := range 3 {
			p.gen.posts = append(p.gen.posts, a.publish(token, fmt.Sprintf("%s's %d", handle, n)))
		}
	}
	p.w.exec(`UPDATE accounts SET scopes = '{admin,developer}' WHERE profile_id = ?`, p.gen.profiles[1])
	p.askers = []asker{{"ann", tokens["ann"]}, {"bob", tokens["bob"]}, {"nobody", ""}, {"ann as administrator", a.signIn("ann")}}
	for _, follow := range []struct{ who, whom int }{{0, 2}, {0, 3}, {1, 1}, {1, 4}} {
		a.must(p.askers[follow.who].token, `mutation { follow(input: {profileId: "`+p.gen.profiles[follow.whom]+`"}) { userErrors { code } } }`, nil, nil)
	}
	for _, platform := range []string{"IOS", "ANDROID"} {
		a.must(p.askers[3].token, configOf(platform, 1), nil, nil)
	}
}

func configOf(platform string, n int) string {
	return fmt.Sprintf(`mutation { publishConfig(input: {platform: %s, minimumBuild: "4.%d", features: [{name: "f", enabled: %v}],
		values: [{key: "k", value: "%d"}]}) { userErrors { code } } }`, platform, n, n%2 == 0, n)
}

// change has one of the askers change something, on one of the keepers. Steady changes move no count.
func (p *property) change(steady bool) {
	g := p.gen
	n := g.IntN(1000)
	profile, post := pick(g, g.profiles...), pick(g, g.posts...)
	who := pick(g, p.askers[0], p.askers[1], p.askers[3])
	mutations := []string{
		fmt.Sprintf(`updateProfile(input: {name: "Name %d", bio: "Bio %d"}) { userErrors { code } }`, n, n),
		fmt.Sprintf(`updateSettings(input: {theme: %s, pushNotifications: %v}) { userErrors { code } }`, pick(g, "DARK", "LIGHT", "SYSTEM"), n%2 == 0),
		fmt.Sprintf(`editPost(input: {postId: "%s", title: "Title %d"}) { userErrors { code } }`, post, n),
		"",
		`follow(input: {profileId: "` + profile + `"}) { userErrors { code } }`,
		`unfollow(input: {profileId: "` + profile + `"}) { userErrors { code } }`,
		`like(input: {postId: "` + post + `"}) { userErrors { code } }`,
		`unlike(input: {postId: "` + post + `"}) { userErrors { code } }`,
		`deletePost(input: {postId: "` + post + `"}) { userErrors { code } }`,
		`publishPost(input: {title: "New", body: "Text.", category: "food", language: "de"}) { post { id } userErrors { code } }`,
	}
	if steady {
		mutations = mutations[:4]
	}
	mutation := "mutation { " + pick(g, mutations...) + " }"
	if g.chance(30) {
		mutation = "mutation { " + mutations[0] + " }" // what many operations show
	}
	if mutation == "mutation {  }" {
		who, mutation = p.askers[3], configOf(pick(g, "IOS", "ANDROID", "WEB"), n)
	}
	var out struct {
		PublishPost struct{ Post struct{ ID string } }
	}
	pick(g, p.keepers...).must(who.token, mutation, nil, &out)
	if id := out.PublishPost.Post.ID; id != "" {
		g.posts = append(g.posts, id)
	}
}

// step asks for a new operation or one that was asked for before, perhaps after a change or with its conditions turned
// round, and returns what differs.
func (p *property) step(ask asking, steady bool) []string {
	again := 40
	if p.gen.chance(30) {
		p.change(steady)
		again = 80
	}
	if len(p.seen) > 0 && p.gen.chance(again) {
		return p.compare(pick(p.gen, p.seen...), ask)
	}
	op := p.gen.operation()
	if len(p.seen) > 0 && p.gen.chance(25) {
		op = pick(p.gen, p.seen...).flip()
	}
	p.seen = append(p.seen, op)
	p.seen = p.seen[max(0, len(p.seen)-remembered):]
	return p.compare(op, ask)
}

// compare has everybody ask twice, in any order, and holds each answer to what the uncached server says.
func (p *property) compare(op generated, ask asking) (differences []string) {
	document, errs := gqlparser.LoadQueryWithRules(p.gen.schema, op.text, rules.NewDefaultRules())
	if len(errs) > 0 {
		p.t.Fatalf("the generator wrote what is not valid: %v\n%s", errs, op.body())
	}
	want := make([]exchange, len(p.askers))
	for i, who := range p.askers {
		want[i] = p.send(p.uncached, "POST", op, who)
		if want[i].status != http.StatusOK {
			p.t.Fatalf("the generator wrote what is refused: %d %s\n%s", want[i].status, want[i].body, op.body())
		}
		p.learn(document, want[i].body)
	}
	order := append(p.gen.Perm(len(p.askers)), p.gen.Perm(len(p.askers))...)
	for n, i := range order {
		got := ask(op, p.askers[i])
		p.compared++
		differ := func(what string, got, want any) {
			differences = append(differences, fmt.Sprintf("%s, ask %d of %s: got %v, want %v", what, n, p.askers[i].name, got, want))
		}
		if g, w := comparable(got.body), comparable(want[i].body); g != w {
			differ("body", g, w)
		}
		if wrong := p.header(got, document, p.askers[i]); wrong != "" {
			differ(wrong, got.header["Cache-Control"], got.body)
		}
	}
	if len(differences) > 0 {
		differences = append(differences, op.body())
	}
	return differences
}

var requestID = regexp.MustCompile(`"requestId":"[^"]*"`)

// comparable is a body without what is each request's own: the id in errors, and the order of those of fields that are
// resolved at the same time.
func comparable(body string) string {
	if !strings.Contains(body, `"errors"`) {
		return body
	}
	var parts struct {
		Data   json.RawMessage
		Errors []json.RawMessage
	}
	if err := json.Unmarshal([]byte(requestID.ReplaceAllString(body, `"requestId":""`)), &parts); err != nil {
		return body
	}
	var all []string
	for _, one := range parts.Errors {
		all = append(all, string(one))
	}
	slices.Sort(all)
	return string(parts.Data) + strings.Join(all, "")
}

// header tells what is wrong with an answer's promises; empty if nothing is.
func (p *property) header(x exchange, document *ast.QueryDocument, who asker) string {
	control := x.header.Get("Cache-Control")
	var body struct {
		Data   any
		Errors []any
	}
	if err := json.Unmarshal([]byte(x.body), &body); err != nil {
		return "no JSON"
	}
	sort, _, _ := strings.Cut(control, ",")
	p.notes[sort]++
	found := false
	walk(document.Operations[0].SelectionSet, body.Data, "", func(f *ast.Field, _ string, _ any) {
		found = found || ownOnly(p.gen.schema, f.Definition)
	})
	switch {
	case len(body.Errors) > 0 && control != "no-store":
		return "errors that may be kept"
	case control == "no-store" && x.header.Get("Etag") != "":
		return "ETag of what may not be kept"
	case control != "no-store" && x.header.Get("Etag") == "":
		return "no ETag"
	case sort == "public" && found:
		return "public with a private field"
	case sort == "private" && who.token == "":
		return "private, of nobody"
	case sort != "public" && sort != "private" && sort != "no-store":
		return "neither public nor private nor no-store"
	}
	return ""
}

// learn remembers the cursors of an answer.
func (p *property) learn(document *ast.QueryDocument, text string) {
	var body struct{ Data any }
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		p.t.Fatalf("answer: %v\n%s", err, text)
	}
	walk(document.Operations[0].SelectionSet, body.Data, "", func(f *ast.Field, list string, value any) {
		cursor, ok := value.(string)
		if known := p.gen.cursors[list]; ok && strings.HasSuffix(strings.ToLower(f.Name), "cursor") && !slices.Contains(known, cursor) {
			p.gen.cursors[list] = append(known, cursor)
		}
	})
}

// walk visits the fields that are in an answer, with the coordinate of the list that they are in. What @skip and @include
// leave out needs no thought: it is not there.
func walk(set ast.SelectionSet, data any, list string, visit func(*ast.Field, string, any)) {
	if entries, ok := data.([]any); ok {
		for _, entry := range entries {
			walk(set, entry, list, visit)
		}
	}
	object, _ := data.(map[string]any)
	for _, selection := range set {
		switch selection := selection.(type) {
		case *ast.InlineFragment:
			walk(selection.SelectionSet, data, list, visit)
		case *ast.FragmentSpread:
			walk(selection.Definition.SelectionSet, data, list, visit)
		case *ast.Field:
			value, ok := object[selection.Alias]
			if !ok || selection.Name == "__typename" {
				continue
			}
			visit(selection, list, value)
			below := list
			if strings.HasSuffix(selection.Definition.Type.Name(), "Connection") {
				below = selection.ObjectDefinition.Name + "." + selection.Name
			}
			walk(selection.SelectionSet, value, below, visit)
		}
	}
}

// anyKeeper asks one of the keepers, as a phone would that sends the ETag of what it has, or by POST.
func (p *property) anyKeeper(op generated, who asker) exchange {
	a := pick(p.gen, p.keepers...)
	if p.gen.chance(50) {
		return p.send(a, "POST", op, who)
	}
	name := who.name + op.body()
	had := p.phones[name]
	x := p.send(a, "GET", op, who, "If-None-Match: "+had.header.Get("Etag"))
	if x.status == http.StatusNotModified {
		p.notes["not modified"]++
		x.body = had.body
	}
	p.phones[name] = x
	return x
}

// send accepts gzip half of the time.
func (p *property) send(a *api, method string, op generated, who asker, lines ...string) exchange {
	p.t.Helper()
	address, body := a.url, op.body()
	if method == "GET" {
		variables, err := json.Marshal(op.given)
		if err != nil {
			p.t.Fatal(err)
		}
		address += "?" + url.Values{"query": {op.text}, "variables": {string(variables)}}.Encode()
		body = ""
	} else {
		lines = append(lines, "Content-Type: application/json")
	}
	if who.token != "" {
		lines = append(lines, bearer(who.token))
	}
	if p.gen.chance(50) {
		lines = append(lines, "Accept-Encoding: gzip")
	}
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, line := range lines {
		if name, value, _ := strings.Cut(line, ": "); value != "" {
			req.Header.Set(name, value)
		}
	}
	return roundTrip(p.t, p.transport, req)
}

// wantNoDifference has operations asked for in many steps, and wants the keepers to say what the uncached server says.
func (p *property) wantNoDifference(steps int, steady bool) {
	p.t.Helper()
	for range steps {
		if differences := p.step(p.anyKeeper, steady); differences != nil {
			p.t.Fatal(strings.Join(differences, "\n"))
		}
	}
	p.wantShares()
}

// wantShares wants enough of each sort of answers, and of kept ones: otherwise nothing was shown.
func (p *property) wantShares() {
	p.t.Helper()
	kept := 0.0
	for _, a := range p.keepers {
		kept += a.results()
	}
	p.t.Logf("%d answers compared, %v of them from kept results; %v", p.compared, kept, p.notes)
	if kept < 0.3*float64(p.compared) {
		p.t.Errorf("answers from kept results: got %v of %d, want 30 %%", kept, p.compared)
	}
	for _, sort := range []string{"public", "private", "no-store"} {
		if p.notes[sort]*40 < p.compared {
			p.t.Errorf("answers with Cache-Control: %s: got %d of %d, want a fortieth", sort, p.notes[sort], p.compared)
		}
	}
	if p.notes["not modified"] == 0 {
		p.t.Error("answers 304: got none")
	}
	if got := p.uncached.sum("freshet_cache_hits_total", "kind", ""); got != 0 {
		p.t.Errorf("hits of the uncached server: got %v, want 0", got)
	}
}

// Aliases, fragments, conditions and variables do not fool the cache of whole results: whoever asks gets, from every
// instance and however often, what a server without any cache says.
func TestProperty_KeptResultsEqualUncached(t *testing.T) {
	t.Parallel()
	newProperty(t, *propertySeed, 1).wantNoDifference(propertySteps, false)
}

// What promises no more than its TTL is kept in the same way: while no count moves, it is the same too.
func TestProperty_CountsEqualWhileNoneMoves(t *testing.T) {
	t.Parallel()
	p := newProperty(t, *propertySeed, 2)
	p.gen.byTTL = true
	p.wantNoDifference(propertySteps/2, true)
}

// The comparison finds each way to keep results wrongly.
func TestProperty_FindsWrongKeys(t *testing.T) {
	t.Parallel()
	p := newProperty(t, *propertySeed, 3)
	for _, wrong := range []struct {
		what string
		key  func(generated, asker) string
	}{
		{"for all viewers", func(op generated, _ asker) string { return op.body() }},
		{"for all sessions of a viewer", func(op generated, who asker) string { return op.body() + who.name[:3] }},
		{"for all variables", func(op generated, who asker) string { return op.text + who.token }},
		{"for ever", func(op generated, who asker) string { return op.body() + who.token }},
	} {
		p.seen = nil
		kept := map[string]exchange{}
		p.wantDifference(wrong.what, func(op generated, who asker) exchange {
			key := wrong.key(op, who)
			if _, ok := kept[key]; !ok {
				kept[key] = p.send(p.uncached, "POST", op, who)
			}
			return kept[key]
		})
	}
}

func (p *property) wantDifference(what string, ask asking) {
	p.t.Helper()
	const enough = 1200 // most need a few; none may be missed by chance
	for n := range enough {
		if p.step(ask, false) != nil {
			p.t.Logf("results kept %s: found in step %d", what, n+1)
			return
		}
	}
	p.t.Errorf("results kept %s: found no difference in %d steps", what, enough)
}

// A change that the log does not tell of makes kept results wrong, and the comparison says so.
func TestProperty_FindsASilentChange(t *testing.T) {
	t.Parallel()
	p := newProperty(t, *propertySeed, 4)
	op := generated{text: `{ profileByHandle(handle: "ann") { name } }`}
	if differences := p.compare(op, p.anyKeeper); differences != nil {
		t.Fatal(strings.Join(differences, "\n"))
	}
	p.w.exec(`ALTER EVENT TRIGGER changelog_definition DISABLE`)
	p.w.exec(`ALTER TABLE profiles DISABLE TRIGGER ALL`)
	p.w.exec(`UPDATE profiles SET name = 'Silent' WHERE handle = 'ann'`)
	if p.compare(op, p.anyKeeper) == nil {
		t.Error("after a silent change: got no difference, want some")
	}
}
