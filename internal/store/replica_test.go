package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/devenv"
	"freshet/internal/testenv"
	"freshet/models"
)

// replicated is a rig whose store has a replica.
type replicated struct {
	*rig
	behind *bun.DB // the replica, behind the store's back
	asked  recorder
	logged testenv.Log
}

func newReplicated(t testing.TB, primary, replica string) *replicated {
	t.Helper()
	r := &replicated{behind: openPool(t, replica)}
	r.rig = newRigOn(t, primary, func(*cache.Options) {}, func(o *Options) {
		o.Replica = openPool(t, replica).WithQueryHook(&r.asked)
		o.Log = slog.New(slog.NewTextHandler(&r.logged, nil))
	})
	use := r.Store.replica
	use.prompt, use.catchUp, use.longest, use.rest = waitLong, waitLong, waitLong, 0
	return r
}

// recorder hears of the statements of a database.
type recorder struct {
	mu         sync.Mutex
	statements []string
	then       func() // after each question where it is; nil: nothing
}

func (*recorder) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (r *recorder) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, e.Query)
	if r.then != nil && strings.Contains(e.Query, "pg_last_wal_replay_lsn") {
		r.then()
	}
}

func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.statements, "\n")
	r.statements = nil
	return all
}

func first(ids []models.ID) models.ID { return append(ids, 0)[0] }

// wantStatistics reads them past the cache, and wants to see so many profiles; the replica's part in it is the verdict.
func (r *replicated) wantStatistics(profiles int, v verdict) {
	r.t.Helper()
	before := r.ReplicaReads()
	got, err := r.loadStatistics(r.t.Context(), nil)
	if err != nil || got[Everything{}].Profiles != profiles {
		r.t.Fatalf("statistics: got %+v, %v, want %d profiles", got[Everything{}], err, profiles)
	}
	before[string(v)]++
	if after := r.ReplicaReads(); !maps.Equal(after, before) {
		r.t.Fatalf("reads: got %v, want %v, with one more %s", after, before, v)
	}
}

// profile is a commit of another client, on the primary.
func (r *replicated) profile(id int) {
	r.t.Helper()
	r.exec("INSERT INTO profiles (id, handle, name) VALUES (?, 'h00' || ?, '')", id, id)
}

// replay pauses the replica's replay, or lets it go on.
func (r *replicated) replay(on bool) {
	r.t.Helper()
	statement := "SELECT pg_wal_replay_pause()"
	if on {
		statement = "SELECT pg_wal_replay_resume()"
	}
	_, err := r.behind.ExecContext(r.t.Context(), statement)
	r.noError(err)
	testenv.Eventually(r.t, "replay is as it should be", func() bool {
		var state string
		r.noError(r.behind.NewRaw("SELECT pg_get_wal_replay_pause_state()").Scan(r.t.Context(), &state))
		return (state == "not paused") == on
	})
}

// settled waits until the replica streams and is in use: it may still be connecting.
func (r *replicated) settled() {
	r.t.Helper()
	testenv.Eventually(r.t, "the replica is in use", func() bool {
		before := r.ReplicaReads()["used"]
		_, err := r.loadStatistics(r.t.Context(), nil)
		r.noError(err)
		return r.ReplicaReads()["used"] > before
	})
	r.ran()
	r.asked.take()
	r.logged.Take()
}

// The tests share three servers, of which the first is the primary at first and the others are its replicas: the later tests
// change who is. Each begins without profiles.
func TestReplica(t *testing.T) {
	t.Parallel()
	servers := testenv.Replicated(t, 2)
	for _, c := range []struct {
		name    string
		primary int
		test    func(t *testing.T, servers []*devenv.Postgres)
	}{
		{"AnswersAggregatesAsFreshAsThePrimary", 0, replicaAnswers},
		{"LagsAndComesBack", 0, replicaLags},
		{"EndsAStatementInTheWayOfReplay", 0, replicaConflicts},
		{"CatchesUpWhileItIsAsked", 0, replicaCatchesUp},
		{"IsAskedForNothingElse", 0, replicaIsAskedForNothingElse},
		{"WrongAddress", 0, replicaWrongAddress},
		{"KilledAndBack", 0, replicaKilled},
		{"FollowsTheNewPrimary", 0, replicaFollows},
		{"StaysWithTheOldPrimary", 1, replicaStays},
		{"Promoted", 1, replicaPromoted},
	} {
		t.Run(c.name, func(t *testing.T) {
			const clear = "DELETE FROM profiles; DELETE FROM changelog.outbox"
			if _, err := openPool(t, servers[c.primary].URL).ExecContext(t.Context(), clear); err != nil {
				t.Fatal(err)
			}
			c.test(t, servers)
		})
	}
}

// What was committed a moment before is in the answer, also behind a pooler in transaction mode.
func replicaAnswers(t *testing.T, servers []*devenv.Postgres) {
	r := newReplicated(t, servers[0].URL, testenv.Pooler(t, servers[1].URL, nil))
	r.people(3)
	r.exec("INSERT INTO posts (id, author_id, title, body, category, language) SELECT n, n, '', '', 'food', 'en' FROM generate_series(1, 3) n")
	r.settled()
	day := TopKey{Period: models.PeriodDay}
	for n := range 20 {
		liked := models.ID(1 + n%3)
		r.exec("DELETE FROM likes")
		r.exec("INSERT INTO likes (post_id, profile_id) VALUES (?, 1)", liked)
		posts, err := r.TopPosts.Load(t.Context(), []TopKey{day})
		r.noError(err)
		profiles, err := r.TopProfiles.Load(t.Context(), []TopKey{day})
		r.noError(err)
		all, err := r.Statistics.Load(t.Context(), []Everything{{}})
		r.noError(err)
		if got, want := fmt.Sprint(first(posts[day]), first(profiles[day]), all[Everything{}].Likes), fmt.Sprintf("%d %[1]d 1", liked); got != want {
			t.Fatalf("most liked, its author and the likes in all: got %s, want %s", got, want)
		}
		if got := strings.Count(r.asked.take(), "post_counts"); got != 3 {
			t.Fatalf("aggregates read from the replica: got %d, want 3", got)
		}
	}
	if ran := strings.Join(r.ran(), "\n"); strings.Count(ran, "pg_current_wal_flush_lsn()::text") != 60 || strings.Contains(ran, "post_counts") {
		t.Errorf("statements on the primary: got\n%s\nwant 60 questions and no aggregate", ran)
	}
}

func replicaLags(t *testing.T, servers []*devenv.Postgres) {
	r := newReplicated(t, servers[0].URL, servers[1].URL)
	r.settled()
	r.Store.replica.catchUp = 0
	r.replay(false)
	for n := 1; n <= 3; n++ {
		r.profile(n)
		r.wantStatistics(n, lagging)
	}
	if got := r.logged.Take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "out of use") || !strings.Contains(got, "reason=lagging") {
		t.Errorf("log of a replica that lags: got %q, want one line", got)
	}
	r.replay(true)
	r.settledAfter(3)
	if got := r.logged.Take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "back in use") {
		t.Errorf("log of a replica that is back: got %q, want one line", got)
	}
}

// configure changes a setting of the replica.
func (r *replicated) configure(change string) {
	r.t.Helper()
	for _, statement := range []string{"ALTER SYSTEM " + change, "SELECT pg_reload_conf()"} {
		_, err := r.behind.ExecContext(r.t.Context(), statement)
		r.noError(err)
	}
}

// Replay that needs what a statement reads ends the statement: the primary answers.
func replicaConflicts(t *testing.T, servers []*devenv.Postgres) {
	r := newReplicated(t, servers[0].URL, servers[1].URL)
	r.exec("CREATE TABLE in_the_way ()")
	r.settled()
	r.configure("SET max_standby_streaming_delay = 0")
	before := r.ReplicaReads()
	once := false
	done := make(chan error, 1)
	go func() {
		done <- r.Store.replica.read(t.Context(), func(ctx context.Context, db bun.IDB) error {
			if once {
				return nil
			}
			once = true
			if _, err := db.ExecContext(ctx, "SELECT FROM in_the_way"); err != nil {
				return err
			}
			_, err := db.ExecContext(ctx, "SELECT pg_sleep(300)")
			return err
		})
	}()
	testenv.Eventually(t, "the statement runs", func() bool { // between two statements replay would end the connection
		var running int
		r.noError(r.behind.NewRaw("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(300)'").
			Scan(t.Context(), &running))
		return running == 1
	})
	r.exec("DROP TABLE in_the_way")
	err := testenv.Receive(t, "the statement has ended", done)
	r.configure("RESET max_standby_streaming_delay")
	before["conflict"]++
	if after := r.ReplicaReads(); err != nil || !once || !maps.Equal(after, before) {
		t.Errorf("a statement in replay's way: got %v, %v, want one conflict more than %v, and no error", err, after, before)
	}
}

// settledAfter waits for the replica, while every answer is right.
func (r *replicated) settledAfter(profiles int) {
	r.t.Helper()
	testenv.Eventually(r.t, "the replica is in use again", func() bool {
		before := r.ReplicaReads()["used"]
		got, err := r.loadStatistics(r.t.Context(), nil)
		if err != nil || got[Everything{}].Profiles != profiles {
			r.t.Fatalf("statistics: got %+v, %v, want %d profiles", got[Everything{}], err, profiles)
		}
		return r.ReplicaReads()["used"] > before
	})
}

// The snapshot is younger than the answer that the replica has caught up: it was asked in vain before.
func replicaCatchesUp(t *testing.T, servers []*devenv.Postgres) {
	r := newReplicated(t, servers[0].URL, servers[1].URL)
	r.settled()
	r.replay(false)
	r.profile(1)
	r.asked.then = func() {
		_, err := r.behind.ExecContext(t.Context(), "SELECT pg_wal_replay_resume()")
		r.noError(err)
	}
	r.wantStatistics(1, used)
	if got := strings.Count(r.asked.take(), "pg_last_wal_replay_lsn"); got < 2 {
		t.Errorf("questions until it has caught up: got %d, want 2 at least", got)
	}
}

func replicaKilled(t *testing.T, servers []*devenv.Postgres) {
	r := newReplicated(t, servers[0].URL, servers[1].URL)
	r.settled()
	servers[1].Kill()
	r.profile(1)
	r.wantStatistics(1, fault)
	r.wantStatistics(1, fault)
	if got := r.logged.Take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "reason=fault") {
		t.Errorf("log of a replica that was killed: got %q, want one line", got)
	}
	r.noError(servers[1].Restart(t.Context()))
	r.settledAfter(1)
	// Nobody asks it for a while after a fault.
	r.Store.replica.rest = time.Hour
	servers[1].Kill()
	r.wantStatistics(1, fault)
	r.noError(servers[1].Restart(t.Context()))
	r.asked.take()
	r.wantStatistics(1, fault)
	if got := r.asked.take(); got != "" {
		t.Errorf("a replica at rest was asked %q", got)
	}
}

// A replica that accepts connections and says nothing costs a bounded time.
func TestReplica_Hangs(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := newReplicated(t, testenv.Database(t), "postgres://freshet@"+silent.Addr().String()+"/freshet?sslmode=disable")
	r.profile(1)
	r.Store.replica.prompt = 10 * time.Millisecond
	r.wantStatistics(1, fault)
	if got := newReplica(Options{}).prompt; got != time.Second {
		t.Errorf("time for a replica to answer: got %s, want a second", got)
	}
}

// promote makes a primary of the server that a pool leads to.
func promote(t *testing.T, db *bun.DB) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), "SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
}

// manyProfiles bring a server further than another by number.
const manyProfiles = "INSERT INTO profiles (id, handle, name) SELECT n, 'x00' || n, repeat('x', 50) FROM generate_series(100, 10000) n"

// A replica that follows the new primary is in use again, and then as fresh as that. The old primary becomes its replica too.
func replicaFollows(t *testing.T, servers []*devenv.Postgres) {
	before := newReplicated(t, servers[0].URL, servers[2].URL)
	before.profile(1)
	before.settled()
	follow := "SET primary_conninfo = '" + servers[1].URL + "'"
	_, err := before.foreign.ExecContext(t.Context(), "ALTER SYSTEM "+follow)
	r := newReplicated(t, servers[1].URL, servers[2].URL)
	r.noError(errors.Join(err, servers[0].Stop(t.Context()))) // once both have all of it
	promote(t, r.foreign)
	r.profile(2)
	r.wantStatistics(2, timeline)
	r.configure(follow)
	r.settledAfter(2)
	r.Store.replica.catchUp = 0
	r.replay(false)
	r.profile(3)
	r.wantStatistics(3, lagging)
	r.replay(true)
	r.noError(errors.Join(os.WriteFile(filepath.Join(servers[0].Dir, "data", "standby.signal"), nil, 0o644), servers[0].Restart(t.Context())))
	newReplicated(t, servers[1].URL, servers[0].URL).settledAfter(3)
}

// A replica that has stayed with the old primary is further than the new primary by number, and yet lacks what that has.
func replicaStays(t *testing.T, servers []*devenv.Postgres) {
	before := newReplicated(t, servers[1].URL, servers[2].URL)
	r := newReplicated(t, servers[0].URL, servers[2].URL)
	newReplicated(t, servers[1].URL, servers[0].URL).settledAfter(0)
	promote(t, r.foreign)
	before.exec(manyProfiles)
	before.settledAfter(9901)
	r.profile(1)
	r.wantStatistics(1, timeline)
}

func replicaPromoted(t *testing.T, servers []*devenv.Postgres) {
	r := newReplicated(t, servers[1].URL, servers[2].URL)
	r.settledAfter(0)
	promote(t, r.behind)
	_, err := r.behind.ExecContext(t.Context(), manyProfiles)
	r.noError(err)
	r.profile(1)
	r.wantStatistics(1, promoted)
}

// Another cluster, another database of the same one, and the primary itself.
func replicaWrongAddress(t *testing.T, servers []*devenv.Postgres) {
	primary := testenv.Database(t)
	for address, v := range map[string]verdict{primary: promoted, testenv.Database(t): foreign, servers[0].URL: foreign} {
		newReplicated(t, primary, address).wantStatistics(0, v)
	}
}

// Whatever promises to be fresh, or shows a change to its author, is read from the primary. The rights of a user who may read
// the tables are enough.
func replicaIsAskedForNothingElse(t *testing.T, servers []*devenv.Postgres) {
	reader := strings.Replace(servers[1].URL, "freshet:", "reader:", 1)
	r := newReplicated(t, servers[0].URL, reader)
	password := reader[len("postgres://reader:"):strings.Index(reader, "@")]
	r.exec("CREATE ROLE reader LOGIN PASSWORD '" + password + "'")
	r.exec("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
	r.people(2)
	r.settled()
	ctx := t.Context()
	_, err := r.Profiles.Many(ctx, []models.ID{1, 2})
	r.noError(err)
	_, err = r.ProfileCounts.Many(ctx, []models.ID{1, 2})
	r.noError(err)
	_, err = r.PostCounts.Many(ctx, []models.ID{1, 2})
	r.noError(err)
	_, err = r.Follows.Many(ctx, []Pair{{1, 2}})
	r.noError(err)
	if ran, asked := r.ran(), r.asked.take(); len(ran) < 4 || asked != "" {
		t.Errorf("statements: got %q on the primary and %q on the replica, want all on the primary", ran, asked)
	}
	read(r.rig, r.Statistics, Everything{})
	if got := r.asked.take(); !strings.Contains(got, "SELECT count(*) FROM profiles") {
		t.Errorf("statistics: got %q on the replica, want them there", got)
	}
	var at position
	onPrimary := openPool(t, strings.Replace(servers[0].URL, "freshet:", "reader:", 1))
	r.noError(onPrimary.QueryRowContext(ctx, askPrimary).Scan(&at.lsn, &at.timeline, &at.system, &at.database))
	if at.timeline != 1 {
		t.Errorf("timeline of a new primary: got %d, want 1", at.timeline)
	}
}

// Without a replica nobody is asked for positions.
func TestReplica_NoneCostsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	read(r, r.Statistics, Everything{})
	if got := r.ran(); len(got) != 1 {
		t.Errorf("statements: got %q, want one", got)
	}
}
