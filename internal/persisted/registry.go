package persisted

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"freshet/internal/operation"
)

// State is where a build is in its life. Only the operations of active builds are served.
type State string

// The states: published and not yet served, served, no longer served.
const (
	Pending State = "pending"
	Active  State = "active"
	Retired State = "retired"
)

// Registry is the list of persisted operations in PostgreSQL, as those who publish and operate see it. Instances learn of
// its changes by the change log. It is safe for concurrent use.
type Registry struct {
	DB *bun.DB
	// Compiler validates what is published; it is that of the schema that instances serve. Listing, activating and retiring
	// do without.
	Compiler *operation.Compiler
}

// Build is a release of an app.
type Build struct {
	App         string     `json:"app"`
	Version     string     `json:"build"`
	State       State      `json:"state"`
	PublishedAt time.Time  `json:"publishedAt"`
	ChangedAt   time.Time  `json:"changedAt"`
	Operations  int        `json:"operations"`
	Requests    int64      `json:"requests"`
	LastSeenAt  *time.Time `json:"lastSeenAt"`
}

// Builds lists those of one app, or of all if app is empty, the latest published of each app first. Requests are those
// that named the build.
func (r *Registry) Builds(ctx context.Context, app string) (builds []Build, err error) {
	err = r.DB.NewRaw(`
		SELECT app, version, state, published_at, changed_at,
			(SELECT count(*) FROM persisted.operations WHERE build_id = b.id) AS operations,
			coalesce(c.requests, 0) AS requests, c.last_seen_at
		FROM persisted.builds b LEFT JOIN (
			SELECT build_id, sum(requests) AS requests, max(last_seen_at) AS last_seen_at
			FROM persisted.counts GROUP BY build_id) c ON c.build_id = b.id
		WHERE ? IN ('', app) ORDER BY app, published_at DESC, version DESC`, app).Scan(ctx, &builds)
	if err != nil {
		return nil, fmt.Errorf("persisted: list builds of %q: %w", app, err)
	}
	return builds, nil
}

// Use is an operation of a build, and how often it was asked for.
type Use struct {
	Key        string     `json:"id"`
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Requests   int64      `json:"requests"`
	LastSeenAt *time.Time `json:"lastSeenAt"`
	// Others is how many requests there were beside, from other builds and from clients that name none.
	Others int64 `json:"otherRequests"`
}

// Operations lists those of a build by name.
func (r *Registry) Operations(ctx context.Context, app, version string) (uses []Use, err error) {
	id, _, err := r.find(ctx, r.DB, app, version)
	if err != nil {
		return nil, err
	}
	err = r.DB.NewRaw(`
		SELECT d.key, d.name, d.type, coalesce(c.requests, 0) AS requests, c.last_seen_at,
			(SELECT coalesce(sum(requests), 0) FROM persisted.counts o
				WHERE o.document_id = d.id AND o.build_id IS DISTINCT FROM ?0) AS others
		FROM persisted.operations o JOIN persisted.documents d ON d.id = o.document_id
			LEFT JOIN persisted.counts c ON c.document_id = d.id AND c.build_id = ?0
		WHERE o.build_id = ?0 ORDER BY d.name, d.key`, id).Scan(ctx, &uses)
	if err != nil {
		return nil, fmt.Errorf("persisted: list operations of %s %s: %w", app, version, err)
	}
	return uses, nil
}

// Activate has the build's operations served. They are validated again: the schema may have changed since they were
// published.
func (r *Registry) Activate(ctx context.Context, app, version string) error {
	return r.change(ctx, app, version, Active)
}

// Retire ends the serving of the build's operations, but for those that are also in another active build.
func (r *Registry) Retire(ctx context.Context, app, version string) error {
	return r.change(ctx, app, version, Retired)
}

// Seen tells when last somebody asked for what would be unknown once the build is retired, or asked naming this build.
// It is the zero time if nobody ever did.
func (r *Registry) Seen(ctx context.Context, app, version string) (time.Time, error) {
	id, _, err := r.find(ctx, r.DB, app, version)
	if err != nil {
		return time.Time{}, err
	}
	var at sql.NullTime
	err = r.DB.NewRaw(`
		SELECT max(c.last_seen_at) FROM persisted.operations o JOIN persisted.counts c ON c.document_id = o.document_id
		WHERE o.build_id = ?0 AND (c.build_id = ?0 OR NOT EXISTS (
			SELECT FROM persisted.operations other JOIN persisted.builds b ON b.id = other.build_id
			WHERE other.document_id = o.document_id AND b.id <> ?0 AND b.state = 'active'))`, id).Scan(ctx, &at)
	if err != nil {
		return time.Time{}, fmt.Errorf("persisted: when %s %s was seen: %w", app, version, err)
	}
	return at.Time, nil
}

func (r *Registry) change(ctx context.Context, app, version string, to State) error {
	return r.DB.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		id, state, err := r.find(ctx, tx, app, version)
		if err != nil || state == to {
			return err
		}
		if to == Active {
			if err := r.validate(ctx, tx, id); err != nil {
				return fmt.Errorf("%s %s can't be activated: %w", app, version, err)
			}
		}
		if err := setState(ctx, tx, id, to); err != nil {
			return fmt.Errorf("persisted: make %s %s %s: %w", app, version, to, err)
		}
		return nil
	})
}

func setState(ctx context.Context, db bun.IDB, id int64, to State) error {
	_, err := db.ExecContext(ctx,
		`UPDATE persisted.builds SET state = ?, changed_at = clock_timestamp() WHERE id = ?`, to, id)
	return err
}

// find looks a build up; in a transaction it stays as it is until the end.
func (r *Registry) find(ctx context.Context, db bun.IDB, app, version string) (id int64, state State, err error) {
	q := db.NewSelect().TableExpr("persisted.builds").Column("id", "state").Where("app = ? AND version = ?", app, version)
	if _, inside := db.(bun.Tx); inside {
		q.For("UPDATE")
	}
	err = q.Scan(ctx, &id, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "", fmt.Errorf("there is no build %s of the app %s: freshet persisted list shows all", version, app)
	}
	if err != nil {
		return 0, "", fmt.Errorf("persisted: find %s %s: %w", app, version, err)
	}
	return id, state, nil
}
