package command

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"freshet/internal/testenv"
)

// top asks for a list that nobody has asked for before, and so for a load.
func (a *api) top(number int) string {
	a.t.Helper()
	return a.send("", fmt.Sprintf(`{"query": "{ topPosts(period: DAY, categories: [\"science\", \"never%d\"]) { title } }"}`, number)).body
}

// A replica has the lists while it is there, and the primary after that. What was published is in all of them.
func TestReplica_ServesTopLists(t *testing.T) {
	t.Parallel()
	servers := testenv.Replicated(t, 1)
	w := newWorldOn(t, servers[0].URL)
	a := w.startWith(func(o *ServeOptions) { o.ReplicaURL = servers[1].URL })
	ann, _ := a.person("ann")
	var titles []string
	publish := func() {
		t.Helper()
		title := fmt.Sprintf("Post %d", len(titles))
		a.publish(ann, title)
		const most = 20 // of a list
		titles = slices.Insert(titles, 0, fmt.Sprintf(`{"title":%q}`, title))
		if got, want := a.top(len(titles)), `{"data":{"topPosts":[`+strings.Join(titles[:min(most, len(titles))], ",")+`]}}`; got != want {
			t.Fatalf("the list: got %s, want %s", got, want)
		}
	}
	// wait goes on until two more lists than before have been read for the reason, by whom it tells.
	wait := func(by, reason string) {
		t.Helper()
		count := func() float64 { return a.sum("freshet_replica_reads_total", "reason", reason) }
		before := count()
		testenv.Eventually(t, "two lists are read by the "+by+" as "+reason, func() bool {
			publish()
			return count() >= before+2
		})
		if line := fmt.Sprintf(`freshet_replica_reads_total{by=%q,reason=%q} `, by, reason); !strings.Contains(a.metrics(), line) {
			t.Errorf("metrics: got no %s", line)
		}
	}
	examine := func(wantCode int, want string) {
		t.Helper()
		code, text := w.examine(func(o *DoctorOptions) { o.ReplicaURL = servers[1].URL })
		if code != wantCode || !strings.Contains(text, want) {
			t.Errorf("doctor: got the exit code %d, want %d and %q:\n%s", code, wantCode, want, text)
		}
	}
	newWorld(t).wantReplicaRefused(servers[0].URL, "--replica-url leads to another database") // of another cluster
	wait("replica", "used")
	examine(0, "fine     replica lag: up with the primary")
	servers[1].Kill()
	wait("primary", "fault")
	examine(2, "away     replica: can't be asked")
}

func TestReplica_WrongAddressIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wantReplicaRefused(testenv.Database(t), "--replica-url leads to another database")
	w.wantReplicaRefused("postgres://u:hunter2@[", "--replica-url: store: the database URL can't be read")
}

func (w *world) wantReplicaRefused(address, want string) {
	w.t.Helper()
	o := w.options()
	o.ReplicaURL = address
	i, err := newInstance(w.t.Context(), o)
	if err == nil {
		i.close()
	}
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
		w.t.Errorf("got %v, want %q", err, want)
	}
}

// A replica that was promoted must not keep instances from starting.
func TestReplica_PromotedBeforeTheStart(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	w := newWorld(t)
	a := w.startWith(func(o *ServeOptions) {
		o.ReplicaURL = w.database
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	if got := log.String(); !strings.Contains(got, "--replica-url leads to a primary") {
		t.Errorf("log: got %q, want a line about the primary", got)
	}
	ann, _ := a.person("ann")
	a.publish(ann, "One")
	if got, want := a.top(1), `{"data":{"topPosts":[{"title":"One"}]}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	lists := 1
	testenv.Eventually(t, "a read goes to the primary because the replica is one", func() bool {
		lists++
		a.top(lists)
		return a.sum("freshet_replica_reads_total", "reason", "promoted") > 0
	})
}

// Without its replica an instance starts, says so, and serves.
func TestReplica_AwayAtTheStart(t *testing.T) {
	t.Parallel()
	var log testenv.Log
	w := newWorld(t)
	a := w.startWith(func(o *ServeOptions) {
		o.ReplicaURL = "postgres://nobody:hunter2@127.0.0.1:1/none?sslmode=disable"
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	if got := log.String(); !strings.Contains(got, "the replica can't be used yet") || strings.Contains(got, "hunter2") {
		t.Errorf("log: got %q, want a line about the replica, without its password", got)
	}
	ann, _ := a.person("ann")
	a.publish(ann, "One")
	if got, want := a.top(1), `{"data":{"topPosts":[{"title":"One"}]}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
