package inspect

import "testing"

func TestTemplate_HasNoValues(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		`SELECT "p"."id" FROM "posts" AS "p" WHERE "id" IN (1, 22, 333) LIMIT 5`: `SELECT "p"."id" FROM "posts" AS "p" WHERE "id" IN (?, …) LIMIT ?`,
		`SELECT * FROM t1 WHERE a = 'it''s' AND b = 'x\' AND c = 'y'`:            `SELECT * FROM t1 WHERE a = ? AND b = ? AND c = ?`,
		`UPDATE t SET a = E'it\'s' , b = 1.5, c = '\x00ff'`:                      `UPDATE t SET a = ? , b = ?, c = ?`,
		`(c.platform, c.version) IN (('IOS', 3), ('WEB', 4))`:                    `(c.platform, c.version) IN ((?, …), …)`,
	} {
		if got := Template(sql); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
}
