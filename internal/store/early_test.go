package store

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/cache"
	"freshet/internal/testenv"
	"freshet/models"
)

// seen is a clock that the test moves, and what the cache has observed.
type seen struct {
	mu           sync.Mutex
	at           time.Time
	early, stale atomic.Int64
}

func (s *seen) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *seen) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

func (s *seen) Observe(_ context.Context, b cache.Batch) {
	s.early.Add(int64(b.Early))
	s.stale.Add(int64(b.Stale))
}

func (s *seen) Stored(string, int) {}

// topRig has three posts of today, the second the most liked.
func topRig(t *testing.T) (*rig, *seen) {
	t.Helper()
	s := &seen{at: time.Now()}
	r := newRigWith(t, func(o *cache.Options) { o.Now, o.Observer = s.now, s })
	r.TopPosts.LoadTimeout = waitLong // tests hold what it reads
	r.people(4)
	r.exec(`INSERT INTO posts (id, author_id, title, body, category, language, published_at)
		SELECT n, n, '', '', 'food', 'en', now() - interval '1 hour' FROM generate_series(1, 3) n`)
	r.exec(`INSERT INTO likes (post_id, profile_id) VALUES (2, 1), (2, 2), (3, 1)`)
	r.ran()
	return r, s
}

// hold keeps everybody else from a table until release.
func (r *rig) hold(table string) (release func()) {
	r.t.Helper()
	tx, err := r.foreign.BeginTx(r.t.Context(), nil)
	r.noError(err)
	_, err = tx.ExecContext(r.t.Context(), "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE")
	r.noError(err)
	return func() { r.noError(tx.Rollback()) }
}

// waiting is how many statements wait for a lock for at least that long.
func (r *rig) waiting(least time.Duration) int {
	return query[int](r, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
		AND clock_timestamp() - query_start > make_interval(secs => ?)`, least.Seconds())[0]
}

// Who is first waits for the heavy statement, with all who come meanwhile. From then on nobody does: shortly before the
// list's end one refreshes it in the background, and all are answered with the old one at once.
func TestTop_NobodyWaitsForARefresh(t *testing.T) {
	t.Parallel()
	r, s := topRig(t)
	key := TopKey{Period: models.PeriodDay}
	release := r.hold("post_counts")
	var readers sync.WaitGroup
	for range 10 {
		readers.Go(func() {
			if got, _, err := r.TopPosts.One(t.Context(), key); err != nil || !slices.Equal(got, []models.ID{2, 3, 1}) {
				t.Errorf("the first list: got %v, %v, want 2, 3, 1", got, err)
			}
		})
	}
	const slow = 300 * time.Millisecond // what is loaded slowly is refreshed early
	testenv.Eventually(t, "the statement has waited", func() bool { return r.waiting(slow) > 0 })
	release()
	readers.Wait()
	if got := r.ran(); len(got) != 1 {
		t.Errorf("statements for 10 readers: got %d, want 1", len(got))
	}
	r.exec("INSERT INTO likes (post_id, profile_id) VALUES (1, 1), (1, 2), (1, 3)")
	release = r.hold("post_counts")
	const step = 10 * time.Millisecond
	s.pass(r.TopPosts.TTL*9/10 - 10*time.Second) // no list ends before nine tenths have passed
	for passed := time.Duration(0); s.early.Load() == 0; passed += step {
		if passed > r.TopPosts.TTL {
			t.Fatal("to the end of the list: got no refresh")
		}
		if got := read(r, r.TopPosts, key); got[0] != 2 {
			t.Fatalf("before its end: got %v, want the old list", got)
		}
		s.pass(step)
	}
	s.pass(-step)
	for range 100 {
		if got := read(r, r.TopPosts, key); got[0] != 2 {
			t.Fatalf("while it is refreshed: got %v, want the old list", got)
		}
	}
	testenv.Eventually(t, "the refresh waits", func() bool { return r.waiting(0) > 0 })
	if got := r.waiting(0); got != 1 || len(r.ran()) != 0 {
		t.Errorf("statements that wait: got %d, want 1, and none that has ended", got)
	}
	release()
	testenv.Eventually(t, "the new list", func() bool { return read(r, r.TopPosts, key)[0] == 1 })
	if got := r.ran(); len(got) != 1 {
		t.Errorf("statements of the refresh: got %q, want 1", got)
	}
}

// Lists and sums that have expired are served on while they can't be made, for their grace and no longer.
func TestAggregates_OutliveAFailure(t *testing.T) {
	t.Parallel()
	r, s := topRig(t)
	key := TopKey{Period: models.PeriodDay}
	all := func() (posts, profiles []models.ID, likes int, err error) {
		if posts, _, err = r.TopPosts.One(t.Context(), key); err != nil {
			return
		}
		if profiles, _, err = r.TopProfiles.One(t.Context(), key); err != nil {
			return
		}
		sum, _, err := r.Statistics.One(t.Context(), Everything{})
		if err != nil {
			return
		}
		return posts, profiles, sum.Likes, nil
	}
	wantAll := func(when string, first models.ID, wantLikes int) {
		t.Helper()
		posts, profiles, likes, err := all()
		if err != nil || posts[0] != first || profiles[0] != first || likes != wantLikes {
			t.Errorf("%s: got %v, %v, %d likes, %v, want %d first and %d", when, posts, profiles, likes, err, first, wantLikes)
		}
	}
	wantAll("at first", 2, 3)
	r.exec("INSERT INTO likes (post_id, profile_id) VALUES (1, 1), (1, 2), (1, 3)")
	r.exec("ALTER TABLE post_counts RENAME TO away")
	s.pass(r.TopPosts.TTL)
	wantAll("expired, and the source fails", 2, 3)
	if got := s.stale.Load(); got != 3 {
		t.Errorf("marked stale: got %d, want 3", got)
	}
	s.pass(grace - r.TopPosts.TTL/10)
	wantAll("nearly at the end of the grace", 2, 3)
	s.pass(r.TopPosts.TTL / 10)
	if posts, profiles, likes, err := all(); err == nil {
		t.Errorf("after the grace: got %v, %v, %d, want an error", posts, profiles, likes)
	}
	r.exec("ALTER TABLE away RENAME TO post_counts")
	wantAll("the source is back", 1, 6)
}
