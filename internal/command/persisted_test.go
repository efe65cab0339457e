package command

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/internal/persisted"
)

// persistedRig runs the commands against a database.
type persistedRig struct {
	*world
	o   PersistedOptions
	out bytes.Buffer
}

func newPersistedRig(t *testing.T) *persistedRig {
	r := &persistedRig{world: newWorld(t)}
	r.o = PersistedOptions{DatabaseURL: r.database, App: "ios", Build: "4.2.0", In: strings.NewReader(""), Out: &r.out}
	return r
}

// wantOutput wants no error and the texts in what was written since the last time.
func (r *persistedRig) wantOutput(err error, texts ...string) {
	r.t.Helper()
	got := r.out.String()
	r.out.Reset()
	if err != nil {
		r.t.Errorf("got %v, want no error", err)
	}
	for _, text := range texts {
		if !strings.Contains(got, text) {
			r.t.Errorf("output: got no %q in:\n%s", text, got)
		}
	}
}

func (r *persistedRig) wantError(err error, text string) {
	r.t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		r.t.Errorf("got %v, want an error with %q", err, text)
	}
}

func (r *persistedRig) file(text string) string {
	r.t.Helper()
	name := filepath.Join(r.t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return name
}

const apolloManifest = "../manifest/testdata/apollo.json"

func TestPersisted_LifeOfABuild(t *testing.T) {
	t.Parallel()
	r := newPersistedRig(t)
	ctx := t.Context()
	r.wantOutput(PublishPersisted(ctx, r.o, apolloManifest, false),
		"ios 4.2.0 is pending: 4 operations published from Apollo's manifest, 4 new to the build.",
		"e8c9a098fd0e…", "Configuration", "1 h", "PUBLIC", "viewer.sessions.current (Session.current)",
		"freshet persisted activate --app ios --build 4.2.0")
	r.wantOutput(ActivatePersisted(ctx, r.o), "ios 4.2.0 is active")
	r.wantOutput(ListPersisted(ctx, PersistedOptions{DatabaseURL: r.database, Out: &r.out}), "ios  4.2.0  active  4           0         never")
	r.exec(`INSERT INTO persisted.counts SELECT document_id, build_id, 7, now() FROM persisted.operations`)
	r.wantOutput(ListPersisted(ctx, PersistedOptions{DatabaseURL: r.database, Out: &r.out}), "ios  4.2.0  active  4           28        20")
	r.wantOutput(ShowPersisted(ctx, r.o), "784ad0a84d53c0fb97f383564161831678b9042b471f6c2447cd0335317dfe0d  Sessions       query     7         20")
	unknown := r.o
	unknown.Build = "9"
	r.wantError(ShowPersisted(ctx, unknown), "there is no build 9 of the app ios")

	// It was in use: a person is asked, a script has to be sure.
	r.wantError(RetirePersisted(ctx, r.o, false, false), "add --yes")
	for _, answer := range []string{"", "n\n", "\n", "maybe\n"} {
		r.o.In = strings.NewReader(answer)
		r.wantError(RetirePersisted(ctx, r.o, true, false), "not retired")
		r.wantOutput(nil, "operations of ios 4.2.0 were last asked for at 20", "Retire it? [y/N]")
	}
	r.wantOutput(ListPersisted(ctx, r.o), "active")
	r.o.In = strings.NewReader("y\n")
	r.wantOutput(RetirePersisted(ctx, r.o, true, false), "ios 4.2.0 is retired")
	r.wantOutput(ListPersisted(ctx, r.o), "retired")
	r.wantOutput(ActivatePersisted(ctx, r.o), "active")
	r.wantOutput(RetirePersisted(ctx, r.o, false, true), "ios 4.2.0 is retired")
	r.wantOutput(ActivatePersisted(ctx, r.o), "active")
	r.exec(`UPDATE persisted.counts SET last_seen_at = now() - interval '8 days'`)
	r.wantOutput(RetirePersisted(ctx, r.o, false, false), "ios 4.2.0 is retired")
}

func TestPersisted_RefusalNamesTheFile(t *testing.T) {
	t.Parallel()
	r := newPersistedRig(t)
	r.wantError(PublishPersisted(t.Context(), r.o, "nowhere.json", false), "nowhere.json")
	r.o.In = strings.NewReader(`{"a": 1}`)
	r.wantError(PublishPersisted(t.Context(), r.o, "-", false), `standard input: line 1: "a": got a number`)
	file := r.file("{\"a\": \"query A { feed { nodes { id } } }\",\n\"b\": \"query B { secret }\"}")
	r.wantError(PublishPersisted(t.Context(), r.o, file, true), file+`: nothing was changed:`+"\n  line 2: b: Cannot query field \"secret\" on type \"Query\". (1:11)")
	r.o.App = ""
	r.wantOutput(ListPersisted(t.Context(), r.o), "APP")
	if got := r.out.String(); strings.Contains(got, "ios") {
		t.Errorf("list: got %s, want no build", got)
	}
}

func TestPersisted_JSON(t *testing.T) {
	t.Parallel()
	r := newPersistedRig(t)
	r.o.JSON = true
	read := func(err error, into any) {
		t.Helper()
		if err == nil {
			err = json.Unmarshal(r.out.Bytes(), into)
		}
		if err != nil {
			t.Errorf("got %v in %s, want one JSON document", err, r.out.String())
		}
		r.out.Reset()
	}
	var report persisted.Report
	read(PublishPersisted(t.Context(), r.o, apolloManifest, true), &report)
	if report.State != persisted.Active || len(report.Operations) != 4 || report.Operations[3].Uncacheable != "viewer.sessions.current" {
		t.Errorf("report: got %+v", report)
	}
	var list struct{ Builds []persisted.Build }
	read(ListPersisted(t.Context(), r.o), &list)
	if len(list.Builds) != 1 || list.Builds[0].Operations != 4 || list.Builds[0].LastSeenAt != nil {
		t.Errorf("list: got %+v", list)
	}
	var show struct{ Operations []persisted.Use }
	read(ShowPersisted(t.Context(), r.o), &show)
	if len(show.Operations) != 4 || show.Operations[0].Name != "Configuration" {
		t.Errorf("show: got %+v", show)
	}
	var verdict persisted.Verdict
	read(CheckPersisted(t.Context(), r.o, "../../schema.graphqls"), &verdict)
	if verdict.Builds != 1 || verdict.Operations != 4 || verdict.Broken == nil || len(verdict.Broken) != 0 {
		t.Errorf("check: got %+v", verdict)
	}
}

func TestPersisted_CheckNamesTheField(t *testing.T) {
	t.Parallel()
	r := newPersistedRig(t)
	r.wantOutput(PublishPersisted(t.Context(), r.o, apolloManifest, true))
	text, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	r.wantOutput(CheckPersisted(t.Context(), r.o, "../../schema.graphqls"), "4 operations of 1 active or pending build checked: none would break.")
	file := r.file(strings.Replace(string(text), "\n  minimumBuild: String!", "\n  oldestBuild: String!", 1))
	err = CheckPersisted(t.Context(), r.o, file)
	r.wantOutput(nil, "ios 4.2.0 (active)\n  Configuration (e8c9a098fd0e…)\n    Cannot query field \"minimumBuild\" on type \"Config\".")
	r.wantError(err, "would break operations of 1 build")
	r.wantError(CheckPersisted(t.Context(), r.o, "nowhere.graphqls"), "nowhere.graphqls")
}

func TestSeed_PublishesTheDemo(t *testing.T) {
	t.Parallel()
	r := newPersistedRig(t)
	r.wantOutput(publishDemo(t.Context(), r.database))
	r.o.App = "demo"
	r.wantOutput(ListPersisted(t.Context(), r.o), "demo  1.0.0  active  3 ")
	r.o.Build = "1.0.0"
	r.wantOutput(RetirePersisted(t.Context(), r.o, false, false), "demo 1.0.0 is retired") // nobody uses it
}
