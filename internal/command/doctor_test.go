package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"freshet/internal/doctor"
	"freshet/internal/testenv"
)

// examine runs the command, and returns its exit code and what it has printed.
func (w *world) examine(change func(*DoctorOptions)) (code int, text string) {
	w.t.Helper()
	var out bytes.Buffer
	o := DoctorOptions{DatabaseURL: w.database, RedisURL: w.redis, Out: &out}
	change(&o)
	err := Doctor(w.t.Context(), o)
	var its DoctorCode
	if err != nil && !errors.As(err, &its) {
		w.t.Fatalf("doctor: got %v, want an exit code", err)
	}
	return its.ExitCode(), out.String()
}

// A running deployment is well, also behind a pooler if the change log goes past it.
func TestDoctor_ExitCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	_, id := a.person("ann") // the sequencer is in office by now
	pooler := testenv.Pooler(t, w.database, nil)
	wantCode := func(what string, want int, lines []string, change func(*DoctorOptions)) {
		t.Helper()
		code, text := w.examine(change)
		if code != want {
			t.Errorf("%s: got the exit code %d, want %d:\n%s", what, code, want, text)
		}
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("%s: got\n%s\nwant %q", what, text, line)
			}
		}
	}
	noRedis := func(o *DoctorOptions) { o.RedisURL = strings.Replace(w.redis, "@", "wrong@", 1) }
	wantCode("all is well", 0, []string{"fine     sequencer: 1 in office\n", "fine     triggers: 64 in place\n"}, func(*DoctorOptions) {})
	wantCode("a pooler", 1, []string{"mend     session: shared", "\n         let --log-database-url"}, func(o *DoctorOptions) { o.DatabaseURL = pooler })
	wantCode("a pooler, and a way past it", 0, nil, func(o *DoctorOptions) { o.DatabaseURL, o.LogDatabaseURL = pooler, w.database })
	wantCode("Redis that lets nobody in", 2, []string{"away     redis: can't be asked"}, noRedis)
	wantCode("PostgreSQL away", 2, []string{"away     postgresql: can't be asked"}, func(o *DoctorOptions) {
		o.DatabaseURL = "postgres://nobody@127.0.0.1:1/none?sslmode=disable&connect_timeout=1"
	})
	persistent := testenv.Redis(t, map[string]string{"save": "3600 1"})
	wantCode("a warning", 0, []string{"warning  redis 1 persistence: on\n         set save"}, func(o *DoctorOptions) { o.RedisURL = persistent.URL })
	w.exec(`ALTER TABLE posts DISABLE TRIGGER changelog_update`)
	wantCode("a trigger that is off", 1, []string{"mend     triggers: public.posts.changelog_update is not enabled always"}, func(*DoctorOptions) {})
	wantCode("that, and Redis away", 2, []string{"mend     triggers", "away     redis"}, noRedis)
	w.exec(`ALTER TABLE posts ENABLE ALWAYS TRIGGER changelog_update`)
	a.wantAt("", "profile.handle", "ann", `query($id: ID!) { profile(id: $id) { handle } }`, map[string]any{"id": id})
}

func TestDoctor_JSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, text := w.examine(func(o *DoctorOptions) { o.JSON = true })
	var got struct{ Findings []doctor.Finding }
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != 1 || len(got.Findings) < 15 {
		t.Fatalf("got the exit code %d, %v and %d findings, want 1 for the sequencer that is not there, in one document:\n%s", code, err, len(got.Findings), text)
	}
	for _, f := range got.Findings {
		if (f.Level == doctor.Fine) != (f.Advice == "") {
			t.Errorf("%+v: want advice where something is not fine, and only there", f)
		}
	}
}
