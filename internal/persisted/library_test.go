package persisted

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/store"
	"freshet/internal/testenv"
)

func TestByID_NobodyTakesAnothersID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	feedHash := sha256Hex(feed)
	// The name comes first, when nothing tells that it is a hash: then the text that has it.
	r.publish("bad", "1", feedHash, profile, "p", profile, "ios~1~f", profile, "ios/f", profile, "one", devices)
	l := r.library()
	r.want(l, feedHash, "bad", profile) // a mere name, which Entry.SHA256 tells
	if e, _ := l.ByID(feedHash, "bad"); e.SHA256 != sha256Hex(profile) {
		t.Errorf("SHA-256: got %s, want that of the text", e.SHA256)
	}
	r.publish("ios", "1", feedHash, feed, "f", feed, "p", bio, "one", devices)
	r.must(l.Load(t.Context()))
	for _, app := range []string{"bad", "ios", "", "other"} {
		r.want(l, feedHash, app, feed)
		r.want(l, "sha256:"+feedHash, app, feed)
		r.want(l, strings.ToUpper(feedHash), app, feed)
		r.want(l, "ios~1~f", app, feed)
		r.want(l, "ios/f", app, feed)
		r.want(l, "one", app, devices) // all agree
		r.want(l, "bad~1~"+feedHash, app, "")
		r.want(l, "ios~2~f", app, "")
		r.want(l, "nobody/f", app, "")
	}
	// What apps disagree about has to be asked for by app.
	r.want(l, "p", "bad", profile)
	r.want(l, "p", "ios", bio)
	r.want(l, "p", "", "")
	r.want(l, "p", "other", "")
	r.want(l, "ios~1~p", "", bio)
	r.want(l, "bad/p", "ios", profile)
	if got := strings.Count(r.log.String(), "is the SHA-256 of another text"); got != 1 {
		t.Errorf("warnings: got %d, want 1", got)
	}
}

func TestListed_HoweverItIsLaidOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile)
	l := r.library()
	for text, want := range map[string]bool{
		profile: true,
		"query Profile(\n  $id: ID!\n) {\n  profile(id: $id) {\n    id, name # the name\n  }\n}": true,
		bio: false,
	} {
		op, err := compileOne(r.Compiler, text)
		r.must(err)
		if got := l.Listed(op); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// Two instances see a build that was activated, and one that was retired, because the change log tells them.
func TestLibrary_FollowsTheChangeLog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := testenv.SharedRedis(t)
	_, err := r.try("ios", "1", false, "p", profile)
	r.must(err)
	var libraries []*Library
	for range 2 {
		l := New(Options{DB: r.DB, Compiler: r.Compiler, Poll: time.Hour, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
		r.must(l.Load(t.Context()))
		r.run(l, openRedis(t, url), "persisted"+url[strings.LastIndex(url, "/")+1:])
		libraries = append(libraries, l)
	}
	known := func(id string, want bool) {
		t.Helper()
		for i, l := range libraries {
			testenv.Eventually(t, fmt.Sprintf("instance %d: %s known is %v", i, id, want), func() bool {
				_, ok := l.ByID(id, "")
				return ok == want
			})
		}
	}
	known("p", false)
	r.must(r.Activate(t.Context(), "ios", "1"))
	known("p", true)
	_, err = r.try("ios", "1", false, "f", feed) // more for an active build
	r.must(err)
	known("f", true)
	r.exec(r.DB, `DELETE FROM persisted.documents WHERE key = 'f'`) // by whatever hand
	known("f", false)
	r.must(r.Retire(t.Context(), "ios", "1"))
	known("p", false)
}

func TestChanged_WakesForItsTagsOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tags []string
		want bool
	}{
		{nil, false},
		{[]string{"profile:1", "post:2"}, false},
		{[]string{"profile:1", "persisted_builds:7"}, true},
		{[]string{"persisted_operations:*"}, true},
		{[]string{"*"}, true},
	} {
		l := New(Options{})
		for range 3 { // it never blocks
			l.Changed(c.tags)
		}
		if got := len(l.wake) == 1; got != c.want {
			t.Errorf("%v: got woken %v, want %v", c.tags, got, c.want)
		}
	}
}

// Without a word from the change log, a look at PostgreSQL finds what changed, and nothing is loaded where nothing did.
func TestLook_FindsWhatNoNoticeTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile)
	l := r.library()
	before := l.shelf.Load()
	r.must(l.look(t.Context()))
	if l.shelf.Load() != before {
		t.Error("nothing changed: got loaded again, want it left")
	}
	first, _ := l.ByID("p", "")
	r.publish("ios", "2", "f", feed)
	r.must(l.look(t.Context()))
	r.want(l, "f", "", feed)
	if again, _ := l.ByID("p", ""); again.Operation != first.Operation {
		t.Error("an operation that stayed: got compiled again, want it kept")
	}
}

func TestLoad_KeepsWhatItHasWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	db, err := store.Open(testenv.EmptyDatabase(t), 2)
	r.must(err)
	defer db.Close()
	l := New(Options{DB: db, Compiler: r.Compiler})
	if err := l.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "persisted: load") {
		t.Errorf("load from a database without the tables: got %v, want an error", err)
	}
	r.publish("ios", "1", "p", profile, "f", feed)
	l = r.library()
	e, _ := l.ByID("p", "")
	e.Used("ios", "1")
	ended, end := context.WithCancel(t.Context())
	end()
	if err := l.Load(ended); err == nil {
		t.Error("load that was given up: got no error, want one")
	}
	r.exec(r.DB, `DELETE FROM persisted.documents WHERE key = 'f'`) // no build tells of it
	r.must(l.look(t.Context()))
	r.want(l, "f", "", "")
	if err := l.flush(ended); err == nil {
		t.Error("flush that was given up: got no error, want one")
	}
	r.want(l, "p", "", profile)
	r.must(l.flush(t.Context()))
	if uses, err := r.Operations(t.Context(), "ios", "1"); err != nil || uses[0].Requests != 1 {
		t.Errorf("counts after a failed write: got %+v, %v, want 1 kept", uses, err)
	}
}

// After the schema has changed, what is not valid any more is unknown, the rest is served, and the log tells once.
func TestLoad_WhatIsNotValidAnyMore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile, "b", bio)
	r.Compiler = r.compiler(strings.Replace(r.schema, "\n  bio: String!", "\n  about: String!", 1))
	l := r.library()
	r.want(l, "p", "", profile)
	r.want(l, "b", "", "")
	r.must(l.Load(t.Context()))
	if got := strings.Count(r.log.String(), "not valid any more"); got != 1 {
		t.Errorf("errors in the log: got %d, want 1", got)
	}
}

func TestUsed_CountsByBuildAndSurvives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile, "f", feed)
	r.publish("ios", "2", "p", profile)
	l := r.library()
	count := func(id, app, build string, n int) {
		t.Helper()
		e, ok := l.ByID(id, app)
		if !ok {
			t.Fatalf("%s: unknown", id)
		}
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for range n / 4 {
					e.Used(app, build)
				}
			})
		}
		work.Wait()
	}
	count("p", "ios", "1", 40)
	count("p", "ios", "2", 20)
	old, _ := l.ByID("p", "")
	r.must(l.Load(t.Context())) // counts outlive a load, and so do those who began before it
	old.Used("ios", "1")
	count("p", "ios", "9", 4)     // no such build
	count("p", "android", "1", 4) // no such app
	count("f", "ios", "2", 4)     // a build without it
	want := func(version string, requests int64, operations ...string) {
		t.Helper()
		uses, err := r.Operations(t.Context(), "ios", version)
		r.must(err)
		var got []string
		for _, u := range uses {
			got = append(got, fmt.Sprint(u.Key, " ", u.Requests, " ", u.Others, " ", u.LastSeenAt != nil && u.LastSeenAt.Equal(r.now())))
		}
		if strings.Join(got, ", ") != strings.Join(operations, ", ") {
			t.Errorf("operations of %s: got %q, want %q", version, got, operations)
		}
		builds, err := r.Builds(t.Context(), "")
		r.must(err)
		for _, b := range builds {
			if b.Version == version && b.Requests != requests {
				t.Errorf("requests of %s: got %d, want %d", version, b.Requests, requests)
			}
		}
	}
	r.must(l.flush(t.Context()))
	want("1", 41, "f 0 4 false", "p 41 28 true")
	want("2", 20, "p 20 49 true")
	// Run writes what is left when it ends; another instance adds to it.
	other := r.library()
	r.wait(time.Minute)
	for _, l := range []*Library{l, other} {
		e, _ := l.ByID("p", "")
		e.Used("ios", "2")
		ended, end := context.WithCancel(t.Context())
		end()
		l.Run(ended)
	}
	want("2", 22, "p 22 49 true")
	// What is deleted in the meantime is left out.
	for _, id := range []string{"p", "f"} {
		e, _ := l.ByID(id, "")
		e.Used("ios", "1")
	}
	r.exec(r.DB, `DELETE FROM persisted.builds WHERE version = '1'; DELETE FROM persisted.documents WHERE key = 'f'`)
	r.must(l.flush(t.Context()))
	want("2", 22, "p 22 9 true")
	r.must(l.Load(t.Context()))
	if len(l.counters) != 2 {
		t.Errorf("counters: got %v, want p in build 2 and p alone", l.counters)
	}
}

func TestHottest_EachOperationOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish("ios", "1", "p", profile, "f", feed, "b", bio)
	r.publish("web", "1", "feed", feed+" # the same")
	l := r.library()
	use := func(id, app string, n int) {
		for range n {
			e, _ := l.ByID(id, app)
			e.Used(app, "1")
		}
	}
	use("p", "ios", 5)
	use("f", "ios", 3)
	use("feed", "web", 4)
	names := func(n int) (text string) {
		for _, e := range l.Hottest(n) {
			text += e.App + "/" + e.ID + " "
		}
		return text
	}
	if got, want := names(9), "ios/f ios/p ios/b "; got != want {
		t.Errorf("hottest: got %s, want %s", got, want)
	}
	r.must(l.flush(t.Context()))
	l = r.library() // another instance knows it from PostgreSQL
	if got, want := names(2), "ios/f ios/p "; got != want {
		t.Errorf("hottest 2 at another instance: got %s, want %s", got, want)
	}
}

// What each request does costs no allocation.
func TestLibrary_AllocatesNothing(t *testing.T) {
	r := newRig(t)
	hash := sha256Hex(profile)
	r.publish("ios", "1", hash, profile, "f", feed)
	l := r.library()
	op, err := compileOne(r.Compiler, profile)
	r.must(err)
	for _, id := range []string{hash, "sha256:" + hash, "f", "ios~1~" + hash, "ios/f", "unknown"} {
		if got := testing.AllocsPerRun(100, func() {
			if e, ok := l.ByID(id, "ios"); ok {
				e.Used("ios", "1")
				e.Used("ios", "7")
			}
			l.Listed(op)
		}); got != 0 {
			t.Errorf("%s: got %v allocations, want none", id, got)
		}
	}
}

func BenchmarkByIDAndUsed(b *testing.B) {
	r := newRig(b)
	hash := sha256Hex(profile)
	r.publish("ios", "1", hash, profile)
	l, id := r.library(), "sha256:"+hash
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if e, ok := l.ByID(id, "ios"); ok {
				e.Used("ios", "1")
			}
		}
	})
}

func TestUnlisted_LogsEachOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	u := &Unlisted{Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	for i := range mostUnlisted + 5 {
		op, err := compileOne(r.Compiler, fmt.Sprintf(`mutation Try%d { signIn(input: {handle: "ann", password: "secret"}) { token } }`, i))
		r.must(err)
		for range 3 {
			u.Saw(t.Context(), op, strings.Repeat("x", 500), "1")
		}
	}
	if requests, operations := u.Counts(); requests != 3*(mostUnlisted+5) || operations != mostUnlisted {
		t.Errorf("counts: got %d, %d, want %d, %d", requests, operations, 3*(mostUnlisted+5), mostUnlisted)
	}
	for text, want := range map[string]int{
		"is not in any active build": mostUnlisted, "operation=Try7 ": 1, "no more unlisted operations": 1,
		"secret": 0, strings.Repeat("x", longestInTheLog+1): 0,
	} {
		if got := strings.Count(r.log.String(), text); got != want {
			t.Errorf("%q in the log: got %d times, want %d", text, got, want)
		}
	}
}
