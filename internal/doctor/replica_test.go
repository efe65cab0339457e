package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"freshet/internal/testenv"
)

// withReplica is what is found, but for the sequencer that no test has.
func withReplica(t *testing.T, primary, replica *bun.DB) []Finding {
	t.Helper()
	return withReplicaBy(t, primary, replica, patient())
}

func withReplicaBy(t *testing.T, primary, replica *bun.DB, by timing) []Finding {
	t.Helper()
	return examine(t.Context(), Deployment{DB: primary, Replica: replica, Redis: openRedis(t, testenv.SharedRedis(t))}, by)
}

func TestExamine_SeesWhatKeepsAReplicaFromReads(t *testing.T) {
	t.Parallel()
	servers := testenv.Replicated(t, 2)
	primary, replica, other := openDatabase(t, servers[0].URL), openDatabase(t, servers[1].URL), openDatabase(t, servers[2].URL)
	testenv.Eventually(t, "the replica streams", func() bool { return len(unwell(withReplica(t, primary, replica))) == 1 })
	found := withReplica(t, primary, replica)
	want(t, found, noSequencer(nil))
	for _, check := range []string{"database", "role", "timeline", "lag", "conflicts"} {
		if !strings.Contains(checks(found), "replica "+check) {
			t.Errorf("a replica that is well: got %s, want %s among them", checks(found), check)
		}
	}
	change := func(commit string, settings ...string) {
		for _, setting := range settings {
			run(t, replica, "ALTER SYSTEM SET "+setting)
		}
		run(t, replica, "SELECT pg_reload_conf()")
		run(t, primary, commit)
	}
	const commit = "SELECT pg_logical_emit_message(true, 'a', 'commit')"
	change(commit, "max_standby_streaming_delay = '1s'")
	conflicts := expected{Warning, "1000 ms", "hot_standby_feedback = on"}
	want(t, withReplica(t, primary, replica), noSequencer(map[string]expected{"replica conflicts": conflicts}))
	change(commit, "hot_standby_feedback = on")
	want(t, withReplica(t, primary, replica), noSequencer(nil))
	change(commit, "recovery_min_apply_delay = '1500ms'")
	late := patient()
	late.late = 100 * time.Millisecond
	testenv.Eventually(t, "the replica is late", func() bool { // it may not know yet
		run(t, primary, commit)
		found = withReplicaBy(t, primary, replica, late)
		return len(unwell(found)) == 2
	})
	want(t, found, noSequencer(map[string]expected{"replica lag": {Warning, "after ", "recovery_min_apply_delay"}}))
	run(t, replica, "SELECT pg_wal_replay_pause()")
	run(t, primary, commit)
	impatient := timing{catchUp: 50 * time.Millisecond, pooler: waitLong}
	want(t, withReplicaBy(t, primary, replica, impatient), noSequencer(map[string]expected{"replica lag": {Mend, "bytes behind for 50ms", "pause_state"}}))
	// The other one is promoted: neither is a replica of it.
	run(t, other, "SELECT pg_promote()")
	want(t, withReplica(t, primary, other), noSequencer(map[string]expected{"replica role": {Mend, "primary", "was promoted"}}))
	want(t, withReplica(t, other, replica), noSequencer(map[string]expected{"replica timeline": {Mend, "1, the primary's is 2", "pg_rewind"}}))
	servers[1].Kill()
	away := withReplica(t, primary, replica)
	want(t, away, noSequencer(map[string]expected{"replica": {Away, "can't be asked", "--replica-url"}}))
	elsewhere := openDatabase(t, testenv.Database(t))
	want(t, withReplica(t, primary, elsewhere), noSequencer(map[string]expected{
		"replica database": {Mend, "another", "--replica-url"}, "replica role": {Mend, "primary", "FRESHET_REPLICA_URL"},
	}))
}

func checks(found []Finding) string {
	var all []string
	for _, f := range found {
		all = append(all, f.Check)
	}
	return strings.Join(all, ", ")
}
