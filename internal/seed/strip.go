package seed

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// What slows a load down: foreign keys, indexes, triggers. Each query returns, for each of them, the statement that takes
// it away and the one that puts it back as the catalog described it. References from other tables count too: they stand between a primary key and its removal.
const foreignKeys = `
	SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
		format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
	FROM pg_constraint
	WHERE contype = 'f' AND (conrelid = ANY (string_to_array($1, ', ')::regclass[]) OR confrelid = ANY (string_to_array($1, ', ')::regclass[]))
	ORDER BY conrelid, conname`

const indexes = `
	SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
	FROM pg_index WHERE indrelid = ANY (string_to_array($1, ', ')::regclass[])
		AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid)
	UNION ALL
	SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
		format('%s; ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s', pg_get_indexdef(conindid),
			conrelid::regclass, conname, CASE contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, conname,
			CASE WHEN condeferred THEN ' INITIALLY DEFERRED' WHEN condeferrable THEN ' DEFERRABLE' END)
	FROM pg_constraint WHERE contype IN ('p', 'u') AND conrelid = ANY (string_to_array($1, ', ')::regclass[])
	ORDER BY 2`

const triggers = `
	SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname),
		format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass,
			CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END, tgname)
	FROM pg_trigger
	WHERE tgrelid = ANY (string_to_array($1, ', ')::regclass[]) AND NOT tgisinternal AND tgenabled <> 'D'
	ORDER BY tgrelid, tgname`

// stripped is what strip took away, as the statements that put it back: first the indexes, then what needs them.
type stripped struct{ indexes, rest []string }

// strip makes the bulk tables bare. On the way it truncates the empty tables with their triggers still on: for caches,
// that is the notice that all of their rows may change.
func strip(ctx context.Context, tx pgx.Tx) (s stripped, err error) {
	keys, err := remove(ctx, tx, foreignKeys)
	if err != nil {
		return s, err
	}
	if _, err := tx.Exec(ctx, "TRUNCATE "+bulk); err != nil {
		return s, fmt.Errorf("truncate: %w", err)
	}
	if s.indexes, err = remove(ctx, tx, indexes); err != nil {
		return s, err
	}
	s.rest, err = remove(ctx, tx, triggers)
	s.rest = append(s.rest, keys...)
	return s, err
}

// remove takes away what the query finds, and returns the statements that put it back.
func remove(ctx context.Context, tx pgx.Tx, query string) (restore []string, err error) {
	rows, err := tx.Query(ctx, query, bulk)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	var away, back string
	var all []string
	_, err = pgx.ForEachRow(rows, []any{&away, &back}, func() error {
		all, restore = append(all, away), append(restore, back)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	for _, statement := range all {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	return restore, nil
}
