package command

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/internal/inspect"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	ann, id := a.person("ann")
	file := filepath.Join(t.TempDir(), "profile.graphql")
	const query = `query P($id: ID!) { profile(id: $id) { name viewerFollows } } query Q { viewer { scopes } } mutation M { signOut { __typename } }`
	if err := os.WriteFile(file, []byte(query), 0o600); err != nil {
		t.Fatal(err)
	}
	explain := func(change func(*ExplainOptions), what string) (string, error) {
		var out bytes.Buffer
		o := ExplainOptions{
			Serve:     w.options(),
			Operation: "P", As: "Ann", Variables: `{"id": "` + id + `"}`, In: strings.NewReader(query), Out: &out,
		}
		change(&o)
		err := Explain(t.Context(), o, what)
		return out.String(), err
	}
	for _, c := range []struct {
		what   string
		change func(*ExplainOptions)
		source string
		want   []string
	}{
		{"cold", func(*ExplainOptions) {}, file, []string{"query P: miss: absent; kept", "PRIVATE by profile.viewerFollows", "profile", "SELECT"}},
		{"warm", func(*ExplainOptions) {}, "-", []string{"query P: hit in redis", "reads    none"}},
		{"from the source", func(o *ExplainOptions) { o.Source = true }, file, []string{"query P: bypassed", "source"}},
		{"of nobody", func(o *ExplainOptions) { o.As = "" }, file, []string{"uncacheable: PRIVATE by profile.viewerFollows, and nobody is signed in"}},
		{"with an error", func(o *ExplainOptions) { o.As, o.Operation, o.Variables = "", "Q", "" }, file, []string{"error at [viewer]", "uncacheable"}},
	} {
		got, err := explain(c.change, c.source)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got no %q in\n%s", c.what, want, got)
			}
		}
	}
	// The profile's own name is in the answer, and not in what is told of it.
	a.must(ann, `mutation { updateProfile(input: {name: "Annabel"}) { userErrors { code } } }`, nil, nil)
	got, err := explain(func(o *ExplainOptions) { o.JSON = true }, file)
	var report inspect.Report
	if err != nil || json.Unmarshal([]byte(got), &report) != nil || report.Operation.Reason != "stale_tag" ||
		report.Operation.StaleBy.Tag != "profile:"+id || strings.Contains(got, "Annabel") {
		t.Errorf("as JSON: got %s, %v, want it stale by the profile's tag", got, err)
	}
	for _, c := range []struct {
		change func(*ExplainOptions)
		source string
		want   string
	}{
		{func(o *ExplainOptions) { o.Operation = "M" }, file, "only queries"},
		{func(o *ExplainOptions) { o.Operation = "None" }, file, "no operation None"},
		{func(o *ExplainOptions) { o.As = "nobody" }, file, `nobody has the handle "nobody"`},
		{func(o *ExplainOptions) { o.Variables = "{" }, file, "not JSON"},
		{func(o *ExplainOptions) { o.Variables = "{}" }, file, "id"},
		{func(*ExplainOptions) {}, "0123abc", "no operation of an active build"},
		{func(*ExplainOptions) {}, "missing.graphql", "missing.graphql"},
		{func(o *ExplainOptions) { o.Serve.DatabaseURL, o.Dir = "", t.TempDir() }, file, "no server runs"},
	} {
		if got, err := explain(c.change, c.source); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %s, %v, want an error with %q", got, err, c.want)
		}
	}
}
