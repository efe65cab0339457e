package changelog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// population is a few rows of every table: bob (2) follows ann (1), whose post 10 he likes.
const population = `
	INSERT INTO profiles (id, handle, name) VALUES (1, 'ann', 'Ann'), (2, 'bob', 'Bob'), (3, 'eve', 'Eve');
	INSERT INTO accounts (profile_id, password_hash) VALUES (1, ''), (2, '');
	INSERT INTO settings (profile_id) VALUES (1), (2);
	INSERT INTO sessions (id, token_hash, profile_id, expires_at)
		VALUES (5, decode(repeat('ab', 32), 'hex'), 2, now() + interval '1 day');
	INSERT INTO posts (id, author_id, title, body, category, language) VALUES (10, 1, 't', 'b', 'food', 'en');
	INSERT INTO follows (follower_id, followee_id) VALUES (2, 1);
	INSERT INTO likes (post_id, profile_id) VALUES (10, 2);
	INSERT INTO configs (platform, version, minimum_build, features, values) VALUES ('IOS', 1, '1', '{}', '{}');
`

func populated(t testing.TB) *sql.DB {
	t.Helper()
	db := openDatabase(t)
	mustExec(t, db, population)
	mustExec(t, db, "DELETE FROM changelog.outbox")
	return db
}

// noted takes the tags in the outbox, sorted.
func noted(t testing.TB, db *sql.DB) string {
	t.Helper()
	return queryValue[string](t, db, `WITH taken AS (DELETE FROM changelog.outbox RETURNING tag)
		SELECT coalesce(string_agg(tag, ' ' ORDER BY tag), '') FROM (SELECT DISTINCT tag COLLATE "C" AS tag FROM taken) t`)
}

func identityOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestTriggers_TagsOfEachChange(t *testing.T) {
	t.Parallel()
	db := populated(t)
	session := "session:" + strings.Repeat("ab", 32)
	for _, c := range []struct{ statement, want string }{
		{"UPDATE profiles SET name = 'B' WHERE id = 2", "profile:2"},
		{"UPDATE profiles SET handle = 'rob' WHERE id = 2", "handle:bob handle:rob profile:2"},
		{"UPDATE profiles SET id = 77 WHERE id = 3", "handle:eve profile:3 profile:77"},
		{"UPDATE profiles SET id = 3 WHERE id = 77", "handle:eve profile:3 profile:77"},
		{"INSERT INTO profiles (id, handle, name) VALUES (4, 'dan', 'D')", "handle:dan profile:4"},
		{"DELETE FROM profiles WHERE id = 4", "handle:dan profile:4"},
		{"UPDATE profiles SET name = 'B' WHERE id = 99", ""},
		{"UPDATE accounts SET scopes = '{admin}' WHERE profile_id = 1", "account:1"},
		{"UPDATE settings SET theme = 'DARK' WHERE profile_id = 2", "settings:2"},
		{"UPDATE sessions SET last_seen_at = now() WHERE id = 5", session + " sessions:2"},
		{"DELETE FROM sessions WHERE id = 5", session + " sessions:2"},
		{
			"INSERT INTO posts (id, author_id, title, body, category, language) VALUES (11, 1, '', '', 'food', 'en')",
			"feed:1 post:11 posts:1",
		},
		{"UPDATE posts SET title = 'new' WHERE id = 10", "post:10"},
		{"UPDATE posts SET language = 'de' WHERE id = 10", "feed:1 post:10 posts:1"},
		{"UPDATE posts SET author_id = 3 WHERE id = 11", "feed:1 feed:3 post:11 posts:1 posts:3"},
		{"DELETE FROM posts WHERE id = 11", "feed:3 post:11 posts:3"},
		{"DELETE FROM follows", "followers:1 follows:2"},
		{"INSERT INTO follows (follower_id, followee_id) VALUES (2, 1)", "followers:1 follows:2"},
		{"DELETE FROM likes", "liked:2:10"},
		{
			"INSERT INTO configs (platform, version, minimum_build, features, values) VALUES ('IOS', 2, '1', '{}', '{}')",
			"config:ios",
		},
		{
			"INSERT INTO identities (issuer, subject, profile_id) VALUES ('https://id.example', 'é-1', 3)",
			"identity:" + identityOf("https://id.example\né-1"),
		},
		{"UPDATE identities SET blocked = true", "identity:" + identityOf("https://id.example\né-1")},
		{"DELETE FROM identities", "identity:" + identityOf("https://id.example\né-1")},
		{"UPDATE languages SET name = 'Deutsch' WHERE code = 'de'", "dictionary:languages language:de"},
		{"UPDATE categories SET name = 'Meals' WHERE slug = 'food'", "category:food dictionary:post_categories"},
		{"UPDATE categories SET name = name", "category:business category:culture category:food category:health category:science " +
			"category:sport category:technology category:travel"},
		{"UPDATE countries SET name = 'Oz' WHERE code = 'AU'", "dictionary:countries"},
		{"DELETE FROM product_categories WHERE slug = 'garden'", "dictionary:product_categories"},
		{"INSERT INTO products (id, name, category, price, currency) VALUES (1, 'n', 'toys', 1, 'EUR')", "product:1 products:- products:toys"},
		{"UPDATE products SET price = 2", "product:1"},
		{"UPDATE products SET category = 'books'", "product:1 products:- products:books products:toys"},
		{"UPDATE products SET name = 'm'", "product:1 products:- products:books"},
		{"INSERT INTO wallets (profile_id, balance) VALUES (1, 5)", ""},
		{"UPDATE wallets SET balance = 4", ""},
		{"DELETE FROM products", "product:1 products:- products:books"},
		{
			"DELETE FROM profiles WHERE id = 1",
			"account:1 feed:1 followers:1 follows:2 handle:ann post:10 posts:1 profile:1 settings:1",
		},
		{"TRUNCATE likes", "liked:*"},
		{"TRUNCATE profiles CASCADE", "account:* config:* feed:* followers:* follows:* handle:* identity:* liked:* post:* " +
			"posts:* profile:* session:* sessions:* settings:*"},
		{"ALTER TABLE profiles ALTER COLUMN bio SET DEFAULT '-'", "*"},
		{"CREATE TABLE unrelated (id int); ALTER TABLE unrelated ADD COLUMN name text", ""},
	} {
		mustExec(t, db, c.statement)
		if got := noted(t, db); got != c.want {
			t.Errorf("%s: got tags %q, want %q", c.statement, got, c.want)
		}
	}
}

func TestTriggers_PopularAuthorsSpareTheirFollowersPages(t *testing.T) {
	t.Parallel()
	db := populated(t)
	db.SetMaxOpenConns(1)
	mustExec(t, db, "SET changelog.popular = 0")
	for _, c := range []struct{ statement, want string }{
		{"UPDATE posts SET language = 'de' WHERE id = 10", "post:10 posts:1"},
		{
			"INSERT INTO posts (id, author_id, title, body, category, language) VALUES (12, 3, '', '', 'food', 'en')",
			"feed:3 post:12 posts:3",
		},
	} {
		mustExec(t, db, c.statement)
		if got := noted(t, db); got != c.want {
			t.Errorf("%s: got tags %q, want %q", c.statement, got, c.want)
		}
	}
}

func TestTriggers_ManyTagsMakeOneForTheType(t *testing.T) {
	t.Parallel()
	db := populated(t)
	db.SetMaxOpenConns(1)
	mustExec(t, db, "SET changelog.many = 20")
	const insert = "INSERT INTO profiles (id, handle, name) SELECT n, 'p' || n, '' FROM generate_series("
	for _, c := range []struct {
		statement string
		many      bool
	}{
		{insert + "101, 110) n", false},
		{insert + "201, 211) n", true},
		{"UPDATE profiles SET name = 'x' WHERE id BETWEEN 101 AND 204", false},
		{"UPDATE profiles SET name = 'x'", true},
		{"UPDATE profiles SET handle = 'q' || id WHERE id BETWEEN 101 AND 105", false},
		{"UPDATE profiles SET handle = 'q' || id WHERE id BETWEEN 201 AND 206", true},
		{"DELETE FROM profiles WHERE id BETWEEN 101 AND 110", false},
		{"DELETE FROM profiles WHERE id > 3", true},
	} {
		mustExec(t, db, c.statement)
		rows := queryValue[int](t, db, "SELECT count(*) FROM changelog.outbox")
		tags := " " + noted(t, db) + " "
		if many := strings.Contains(tags, " handle:* ") && strings.Contains(tags, " profile:* "); many != c.many {
			t.Errorf("%s: got tags %q, want wildcards %v", c.statement, tags, c.many)
		}
		if rows > 2+2*(20+1)+2 { // a look, those of unchanged keys, those of changed ones, the wildcards
			t.Errorf("%s: got %d rows in the outbox, want at most 46", c.statement, rows)
		}
	}
}

func TestTriggers_CopyInsideATransactionThatRollsBack(t *testing.T) {
	t.Parallel()
	db := populated(t)
	rows := [][]any{{int64(501), "cop", "C"}, {int64(502), "cup", "C"}}
	for _, c := range []struct{ end, want string }{
		{"ROLLBACK", ""},
		{"COMMIT", "handle:cop handle:cup profile:501 profile:502"},
	} {
		onConnection(t, db, func(ctx context.Context, conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
				return err
			}
			table, columns := pgx.Identifier{"profiles"}, []string{"id", "handle", "name"}
			if _, err := conn.CopyFrom(ctx, table, columns, pgx.CopyFromRows(rows)); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, c.end)
			return err
		})
		if got := noted(t, db); got != c.want {
			t.Errorf("COPY and %s: got tags %q, want %q", c.end, got, c.want)
		}
	}
}

// Whoever may write a table invalidates, without any right on the log, whatever search_path they set and also in a
// session that applies a replica's changes.
func TestTriggers_ForeignWriter(t *testing.T) {
	t.Parallel()
	db := populated(t)
	role := "writer_" + queryValue[string](t, db, "SELECT current_database()")
	mustExec(t, db, "CREATE ROLE "+role+"; GRANT SELECT, UPDATE ON profiles TO "+role)
	t.Cleanup(func() { db.Exec("REVOKE ALL ON profiles FROM " + role + "; DROP ROLE " + role) })
	for _, setting := range []string{
		"SET session_replication_role = replica",
		"SET ROLE " + role + "; CREATE TEMP TABLE settings (many int); SET search_path = pg_temp, public",
	} {
		onConnection(t, db, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, setting+"; UPDATE public.profiles SET name = 'x' WHERE id = 2; RESET ALL; RESET ROLE")
			return err
		})
		if got, want := noted(t, db), "profile:2"; got != want {
			t.Errorf("after %s: got tags %q, want %q", setting, got, want)
		}
	}
}

// hijack shadows what the triggers use, for those who look there first.
const hijack = `
	CREATE SCHEMA evil;
	CREATE FUNCTION evil.cmp(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.add(integer, integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.cmp(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.cmp(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE OPERATOR evil.= (FUNCTION = evil.cmp, LEFTARG = integer, RIGHTARG = integer);
	CREATE OPERATOR evil.<= (FUNCTION = evil.cmp, LEFTARG = integer, RIGHTARG = integer);
	CREATE OPERATOR evil.> (FUNCTION = evil.cmp, LEFTARG = integer, RIGHTARG = integer);
	CREATE OPERATOR evil.+ (FUNCTION = evil.add, LEFTARG = integer, RIGHTARG = integer);
	CREATE OPERATOR evil.= (FUNCTION = evil.cmp, LEFTARG = bigint, RIGHTARG = bigint);
	CREATE OPERATOR evil.= (FUNCTION = evil.cmp, LEFTARG = text, RIGHTARG = text);
	CREATE FUNCTION evil.concat(text, bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.concat(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.encode(bytea, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
	CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
	CREATE TABLE evil.outbox (tag pg_catalog.text);
	CREATE TABLE evil.added (id bigint);
	CREATE TABLE evil.removed (id bigint);
`

// The triggers run with their owner's rights in the writer's session, so that nothing that the writer defines may come
// between: all is the same as without, and nothing of it was called.
func TestTriggers_WriterShadowsNames(t *testing.T) {
	t.Parallel()
	db := populated(t)
	mustExec(t, db, hijack)
	// Counting runs with the writer's own rights, and may be led astray.
	mustExec(t, db, `ALTER TABLE posts DISABLE TRIGGER posts_count_update; ALTER TABLE likes DISABLE TRIGGER likes_count_truncate;
		DELETE FROM changelog.outbox`)
	const ids = "(VALUES (2), (3)) v (n)"
	for _, c := range []struct{ statement, want string }{
		{"UPDATE public.profiles SET name = 'B' WHERE id IN (SELECT 2)", "profile:2"},
		{"UPDATE public.profiles SET handle = 'rob' WHERE handle LIKE 'bob'", "handle:bob handle:rob profile:2"},
		{"UPDATE public.profiles SET name = 'B' FROM " + ids + " WHERE id >= n AND id <= n", "profile:2 profile:3"},
		{"INSERT INTO public.profiles (id, handle, name) VALUES (4, 'dan', 'D')", "handle:dan profile:4"},
		{"UPDATE public.configs SET minimum_build = '9'", "config:ios"},
		{"UPDATE public.sessions SET device = 'd'", "session:" + strings.Repeat("ab", 32) + " sessions:2"},
		{"UPDATE public.posts SET language = 'de'", "feed:1 post:10 posts:1"},
		{"DELETE FROM public.sessions", "session:" + strings.Repeat("ab", 32) + " sessions:2"},
		{"SET changelog.many = 0; UPDATE public.profiles SET name = 'B' WHERE id >= 3", "handle:* profile:* profile:3 profile:4"},
		{"TRUNCATE public.likes", "liked:*"},
	} {
		onConnection(t, db, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SET search_path = evil, pg_catalog, public; "+c.statement+"; RESET ALL")
			var refused *pgconn.PgError
			if errors.As(err, &refused) {
				return fmt.Errorf("%s: %w: %s", c.statement, err, refused.Where)
			}
			return err
		})
		if got := noted(t, db); got != c.want {
			t.Errorf("%s: got tags %q, want %q", c.statement, got, c.want)
		}
	}
}

func TestTriggers_OnEveryTableOfTheDomain(t *testing.T) {
	t.Parallel()
	db := openDatabase(t)
	// Counts follow their TTL. A migration's own table says nothing that is cached, and money never is. Of countries and
	// categories of products only the dictionaries are cached that their triggers make.
	exempt := []string{
		"bun_migration_locks", "bun_migrations", "post_counts", "profile_counts", "wallets", "orders", "order_lines",
		"countries", "product_categories",
	}
	rows, err := db.Query(`SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
		AND 4 > (SELECT count(*) FROM pg_trigger t WHERE tgrelid = c.oid AND tgname LIKE 'changelog\_%' AND tgenabled = 'A')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(exempt, table) {
			t.Errorf("table %s: got fewer than 4 triggers that are always on, want insert, update, delete and truncate", table)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func onConnection(t testing.TB, db *sql.DB, do func(context.Context, *pgx.Conn) error) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(driver any) error { return do(t.Context(), driver.(*stdlib.Conn).Conn()) })
	if err != nil {
		t.Fatal(err)
	}
}
