package changelog

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
)

// nameable are the tags that can be nameable by hand: one thing, all of a type, or everything.
var nameable = regexp.MustCompile(`^(\*|[a-z-]{1,40}:(\*|[^\s*]{1,200}))$`)

// IsTag tells whether a tag can be noted: it is like post:17, post:* or *.
func IsTag(tag string) bool { return nameable.MatchString(tag) }

// Note enters a tag into the change log, as if what it names had changed: every entry that has it becomes stale, on every
// instance. It is on its way when Note returns; Committed waits for it.
func Note(ctx context.Context, db *sql.DB, tag string) error {
	if !IsTag(tag) {
		return fmt.Errorf("changelog: %q is no tag: one is like post:17, post:* or *", tag)
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO changelog.outbox (tag) VALUES ($1)", tag); err != nil {
		return fmt.Errorf("changelog: note %q: %w", tag, err)
	}
	return nil
}
