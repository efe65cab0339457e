package migrations_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"freshet/internal/testenv"
)

// miscounted lists what is kept beside what COUNT says, wherever the two differ.
const miscounted = `
	SELECT 'profile ' || p.id || ': ' || coalesce(c.followers, 0) || ' followers, ' || coalesce(c.following, 0) ||
		' following, ' || coalesce(c.posts, 0) || ' posts, want ' || f.followers || ', ' || f.following || ', ' || f.posts
	FROM profiles p LEFT JOIN profile_counts c ON c.profile_id = p.id, LATERAL (SELECT
		(SELECT count(*) FROM follows WHERE followee_id = p.id) AS followers,
		(SELECT count(*) FROM follows WHERE follower_id = p.id) AS following,
		(SELECT count(*) FROM posts WHERE author_id = p.id) AS posts) f
	WHERE (coalesce(c.followers, 0), coalesce(c.following, 0), coalesce(c.posts, 0)) <> (f.followers, f.following, f.posts)
	UNION ALL
	SELECT 'post ' || p.id || ': ' || coalesce(c.likes, 0) || ' likes, want ' || l.n
	FROM posts p LEFT JOIN post_counts c ON c.post_id = p.id,
		LATERAL (SELECT count(*) AS n FROM likes WHERE post_id = p.id) l
	WHERE coalesce(c.likes, 0) <> l.n`

func wantCounted(t *testing.T, db *bun.DB, after string) {
	t.Helper()
	var wrong []string
	if err := db.NewRaw(miscounted).Scan(t.Context(), &wrong); err != nil {
		t.Fatal(err)
	}
	if len(wrong) > 0 {
		t.Errorf("after %s: got counts %q, want those of the rows", after, wrong)
	}
}

// What follows keeps ids small, so that statements meet rows of each other.
const (
	addProfiles = `INSERT INTO profiles (id, handle, name) SELECT n, 'profile' || n, '' FROM generate_series(1, 12) n
		ON CONFLICT DO NOTHING`
	addPosts = `INSERT INTO posts (id, author_id, title, body, category, language)
		SELECT n, 1 + (n * 7 + $n) % 12, '', '', 'food', 'en' FROM generate_series($n, $n + $m) n
		WHERE EXISTS (SELECT FROM profiles WHERE id = 1 + (n * 7 + $n) % 12) ON CONFLICT DO NOTHING`
	addFollows = `INSERT INTO follows (follower_id, followee_id)
		SELECT a.id, b.id FROM profiles a, profiles b WHERE a.id <> b.id AND (a.id * 5 + b.id) % $m = $n % $m
		ON CONFLICT DO NOTHING`
	addLikes = `INSERT INTO likes (post_id, profile_id)
		SELECT o.id, p.id FROM posts o, profiles p WHERE (o.id * 3 + p.id) % $m = $n % $m ON CONFLICT DO NOTHING`
)

// statements change what is counted, in every way there is: $n and $m are random numbers.
var statements = []string{
	addProfiles, addPosts, addPosts, addPosts, addFollows, addFollows, addFollows, addLikes, addLikes, addLikes,
	"DELETE FROM likes WHERE (post_id + profile_id) % $m = 0",
	"DELETE FROM likes WHERE profile_id = 1 + $n % 12",
	"DELETE FROM follows WHERE (follower_id + followee_id) % $m = 0",
	"DELETE FROM posts WHERE id % $m = 0",
	"DELETE FROM posts",
	"DELETE FROM profiles WHERE id = 1 + $n % 12",
	"DELETE FROM profiles WHERE id % 4 = $n % 4",
	"UPDATE posts SET title = 'edited'",
	"UPDATE posts SET author_id = (SELECT min(id) FROM profiles) WHERE id % $m = 0",
	"UPDATE likes SET liked_at = now()",
	`UPDATE likes SET profile_id = 1 + $n % 12 WHERE profile_id = (SELECT max(profile_id) FROM likes)
		AND EXISTS (SELECT FROM profiles WHERE id = 1 + $n % 12)
		AND post_id NOT IN (SELECT post_id FROM likes WHERE profile_id = 1 + $n % 12)`,
	`UPDATE likes l SET post_id = o.id FROM (SELECT max(id) AS id FROM posts) o WHERE l.post_id = $n AND o.id IS NOT NULL
		AND profile_id NOT IN (SELECT profile_id FROM likes WHERE post_id = o.id)`,
	`UPDATE follows f SET followee_id = p.id FROM (SELECT min(id) AS id FROM profiles) p
		WHERE follower_id % $m = 0 AND follower_id <> p.id AND followee_id = (SELECT max(followee_id) FROM follows)
		AND follower_id NOT IN (SELECT follower_id FROM follows WHERE followee_id = p.id)`,
	"TRUNCATE likes", "TRUNCATE follows", "TRUNCATE posts CASCADE", "TRUNCATE profiles CASCADE",
	"WITH gone AS (DELETE FROM likes WHERE post_id % 2 = 0) DELETE FROM follows WHERE follower_id % 2 = 0",
	"BEGIN; DELETE FROM follows; TRUNCATE likes; ROLLBACK",
}

func with(statement string, n, m int) string {
	return strings.NewReplacer("$n", strconv.Itoa(n), "$m", strconv.Itoa(m)).Replace(statement)
}

func TestCounts_FollowTheirRows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			db := open(t, testenv.Database(t))
			db.SetMaxOpenConns(1)
			random := rand.New(rand.NewPCG(seed, 0))
			for n := range 150 {
				statement := with(statements[random.IntN(len(statements))], 1+random.IntN(60), 1+random.IntN(8))
				exec(t, db, statement)
				wantCounted(t, db, fmt.Sprintf("statement %d, %s", n, statement))
				if t.Failed() {
					return
				}
			}
		})
	}
}

// Each worker has rows of its own, in counts that all share.
func TestCounts_ConcurrentStatementsNeitherDeadlockNorMiscount(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t))
	exec(t, db, addProfiles)
	exec(t, db, with(addPosts, 1, 40))
	var work sync.WaitGroup
	for worker := 1; worker <= 6; worker++ {
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 0))
			for range 25 {
				from, step := random.IntN(12), 1+random.IntN(3)
				for _, statement := range []string{
					`INSERT INTO likes (post_id, profile_id) SELECT id, ?0 FROM posts WHERE id % ?1 = 0 ORDER BY random() ON CONFLICT DO NOTHING`,
					`INSERT INTO follows (follower_id, followee_id) SELECT ?0, id FROM profiles WHERE id <> ?0 AND id > ?2
						ORDER BY random() ON CONFLICT DO NOTHING`,
					`DELETE FROM likes WHERE profile_id = ?0 AND post_id % 3 = ?2 % 3`,
					`DELETE FROM follows WHERE follower_id = ?0 AND followee_id % ?1 = 0`,
					`UPDATE posts SET title = ?0::text WHERE id = ?0`,
				} {
					if _, err := db.ExecContext(t.Context(), statement, worker, step, from); err != nil {
						t.Errorf("worker %d, %s: got %v, want no error", worker, statement, err)
						return
					}
				}
			}
		})
	}
	work.Wait()
	wantCounted(t, db, "concurrent statements")
}
