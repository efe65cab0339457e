package changelog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"freshet/cache"
)

// officeKey is the advisory lock of the sequencer's office; any constant that nothing else uses will do.
const officeKey = 0x6672_6573_6865_7401

// term is the right to move the log on, as a sequencer has taken it. Once another has taken office, or a PostgreSQL with
// other positions is there, every move under it fails.
type term struct {
	conn *sql.Conn // the session that holds the lock
	move *sql.Stmt

	number   uint64
	epoch    uint64
	newEpoch bool   // this term has begun it
	low      string // transaction ids below are done with: whatever they wrote has been moved
}

var errDeposed = errors.New("changelog: another sequencer has taken office")

// session prepares a connection for the office. Sequential scans are off because the outbox is nearly always empty, and
// statistics that say so let the planner read through all the dead rows of a busy one.
const session = `SELECT set_config('application_name', $1, false), set_config('statement_timeout', '5s', false),
	set_config('synchronous_commit', 'on', false), set_config('default_transaction_isolation', 'read committed', false),
	set_config('enable_seqscan', 'off', false), set_config('tcp_user_timeout', '5s', false)`

// takeOffice makes every move under an earlier term fail. The epoch changes if PostgreSQL is not the one that it belongs
// to: positions could repeat.
const takeOffice = `UPDATE changelog.log_head SET term = term + 1, sequencer = $1 WHERE one
	RETURNING term, epoch, position, cluster, (SELECT system_identifier FROM pg_control_system()) || '/' ||
		substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' ||
		(SELECT oid FROM pg_database WHERE datname = current_database())`

const setEpoch = `UPDATE changelog.log_head SET epoch = $1, cluster = $2 WHERE one AND term = $3`

// endEpoch makes the next sequencer begin another epoch, as it would with another cluster, and ends the term of whoever
// has taken office in this epoch meanwhile.
const endEpoch = `UPDATE changelog.log_head SET cluster = '', term = term + 1 WHERE one AND epoch = $1`

// moveOutbox is one round. It deletes up to $4 rows of the outbox and enters their tags into the log behind the head that
// it moves on. If the head is not this term's, before is NULL: then no position can be given, and the whole statement
// fails and leaves the outbox as it was.
const moveOutbox = `
WITH moved AS (
	DELETE FROM changelog.outbox WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM changelog.outbox WHERE xid >= $3::text::xid8 ORDER BY xid LIMIT $4))
	RETURNING tag
), batch AS (
	SELECT array_agg(tag) AS tags, count(*) AS size FROM (SELECT DISTINCT tag FROM moved) d
), head AS (
	UPDATE changelog.log_head SET position = position + size FROM batch
	WHERE one AND epoch = $1 AND term = $2 AND size > 0
	RETURNING position - size AS before
), entered AS (
	INSERT INTO changelog.log (epoch, after, tags) SELECT $1, (SELECT before FROM head), tags FROM batch WHERE size > 0
)
SELECT (SELECT count(*) FROM moved), pg_snapshot_xmin(pg_current_snapshot())::text,
	coalesce((SELECT before FROM head),
		(SELECT position FROM changelog.log_head WHERE one AND epoch = $1 AND term = $2)),
	to_json(coalesce(tags, '{}')) FROM batch`

// take claims the office if its lock is free; nil if another holds it.
func take(ctx context.Context, conn *sql.Conn, name string) (*term, cache.Position, error) {
	var head cache.Position
	var locked bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", int64(officeKey)).Scan(&locked); err != nil || !locked {
		return nil, head, err
	}
	t := &term{conn: conn, low: "0"}
	var was, is string
	err := conn.QueryRowContext(ctx, takeOffice, name).Scan(&t.number, &t.epoch, &head.At, &was, &is)
	if err == nil && was != is {
		t.newEpoch = true
		err = t.changeEpoch(ctx, is)
	}
	if err == nil {
		t.move, err = conn.PrepareContext(ctx, moveOutbox)
	}
	head.Epoch = t.epoch
	return t, head, err
}

// changeEpoch takes one that no other database can have taken.
func (t *term) changeEpoch(ctx context.Context, cluster string) error {
	var random [8]byte
	rand.Read(random[:])
	epoch := binary.BigEndian.Uint64(random[:])>>1 | 1
	result, err := t.conn.ExecContext(ctx, setEpoch, int64(epoch), cluster, int64(t.number))
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errDeposed, err)
	}
	t.epoch = epoch
	return nil
}

// part is a stretch of the log.
type part struct {
	after cache.Position
	tags  []string
}

// round moves up to limit outbox rows into the log. Drained means that it left none: all that had been committed before
// it began is in the log.
func (t *term) round(ctx context.Context, limit int) (p part, drained bool, err error) {
	var moved int
	var low string
	var before sql.NullInt64
	var tags []byte
	err = t.move.QueryRowContext(ctx, int64(t.epoch), int64(t.number), t.low, limit).Scan(&moved, &low, &before, &tags)
	if err != nil {
		return p, false, fmt.Errorf("move outbox: %w", err)
	}
	if !before.Valid {
		return p, false, errDeposed
	}
	if err := json.Unmarshal(tags, &p.tags); err != nil {
		return p, false, fmt.Errorf("move outbox: tags: %w", err)
	}
	if drained = moved < limit; drained {
		t.low = low
	}
	p.after = cache.Position{Epoch: t.epoch, At: uint64(before.Int64)}
	return p, drained, nil
}

// register makes an instance known to later sequencers, before it can have a grant from this one.
func (t *term) register(ctx context.Context, id string) error {
	_, err := t.conn.ExecContext(ctx, "INSERT INTO changelog.instances (id) VALUES ($1) ON CONFLICT DO NOTHING", id)
	if err != nil {
		return fmt.Errorf("register instance %s: %w", id, err)
	}
	return nil
}

// unregister forgets an instance that has no grant any more.
func (t *term) unregister(ctx context.Context, id string) error {
	_, err := t.conn.ExecContext(ctx, "DELETE FROM changelog.instances WHERE id = $1", id)
	if err != nil {
		return fmt.Errorf("unregister instance %s: %w", id, err)
	}
	return nil
}

// registered lists the instances that earlier sequencers may have granted.
func (t *term) registered(ctx context.Context) (ids []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patienceWithPostgres)
	defer cancel()
	var list []byte
	err = t.conn.QueryRowContext(ctx, "SELECT coalesce(json_agg(id), '[]') FROM changelog.instances").Scan(&list)
	if err == nil {
		err = json.Unmarshal(list, &ids)
	}
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	return ids, nil
}

// readLog calls apply for each batch of the log that follows at, in order. If the epoch is another, or the log no longer
// goes back that far, it begins with the first batch that there is; without any, apply gets the head and no tags.
func readLog(ctx context.Context, db *sql.DB, at cache.Position, apply func(part)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read the log after %d: %w", at.At, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // a whole window, at the worst
	defer cancel()
	rows, err := db.QueryContext(ctx, `
		SELECT h.epoch, coalesce(l.after, h.position), to_json(coalesce(l.tags, '{}'))
		FROM changelog.log_head h LEFT JOIN changelog.log l
			ON l.epoch = h.epoch AND l.after >= CASE h.epoch WHEN $1 THEN $2 ELSE 0 END
		ORDER BY l.after`, int64(at.Epoch), int64(at.At))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var epoch, after int64
		var tags []byte
		if err := rows.Scan(&epoch, &after, &tags); err != nil {
			return err
		}
		p := part{after: cache.Position{Epoch: uint64(epoch), At: uint64(after)}}
		if err := json.Unmarshal(tags, &p.tags); err != nil {
			return err
		}
		apply(p)
	}
	return rows.Err()
}

// endStuck ends the session of a sequencer that holds the office without having used it for a while: one whose process is
// stopped, or whose host is gone. Only PostgreSQL is asked; a sequencer that Redis cannot reach may be at work.
func endStuck(ctx context.Context, conn *sql.Conn, silence time.Duration) error {
	key := uint64(officeKey)
	_, err := conn.ExecContext(ctx, `
		SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
		AND l.classid = `+strconv.FormatUint(key>>32, 10)+` AND l.objid = `+strconv.FormatUint(key&0xffffffff, 10)+`
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (a.state <> 'active' OR a.wait_event_type = 'Client')
		AND clock_timestamp() - a.state_change > make_interval(secs => $1)`, silence.Seconds())
	if err != nil {
		return fmt.Errorf("end stuck sequencer: %w", err)
	}
	return nil
}
