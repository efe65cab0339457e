package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
)

// replica takes reads off the primary that promise their age alone. They read all that had been committed when they began,
// as they would on the primary: a replica that can't prove to have it is not asked.
//
//	primary: p := what has been flushed     every commit that anybody has seen is at or before p
//	replica: replayed >= p?                 of the same cluster and timeline, where positions compare
//	replica: the statement's snapshot       replay goes forwards alone, so that p is in it
//
// The last two are statements of one transaction, so that a pooler or a balancer sends them to one server, and of one that is
// READ COMMITTED: REPEATABLE READ would take the snapshot with the question, whose answer is younger.
type replica struct {
	db, primary *bun.DB // db is nil: there is no replica
	log         *slog.Logger
	prompt      time.Duration // what comes before the statement takes at most, also where nobody answers
	catchUp     time.Duration // that it may take to replay what the primary has flushed
	longest     time.Duration // for a statement whose caller has set no time
	rest        time.Duration // after a fault

	out    atomic.Bool
	failed atomic.Pointer[time.Time] // the last fault
	reads  map[verdict]*atomic.Int64 // never changes
}

func newReplica(o Options) *replica {
	r := &replica{
		db: o.Replica, primary: o.DB, log: o.Log, reads: make(map[verdict]*atomic.Int64),
		prompt: time.Second, catchUp: 100 * time.Millisecond, longest: 5 * time.Second, rest: 5 * time.Second,
	}
	for _, v := range []verdict{used, lagging, conflict, promoted, timeline, foreign, fault} {
		r.reads[v] = new(atomic.Int64)
	}
	return r
}

// verdict is why a read went where it went.
type verdict string

const (
	used     verdict = "used"     // the replica has answered
	lagging  verdict = "lagging"  // it has not replayed what the primary has flushed
	conflict verdict = "conflict" // replay has ended the statement
	promoted verdict = "promoted" // it is a primary
	timeline verdict = "timeline" // it follows, or may follow, another primary of the cluster
	foreign  verdict = "foreign"  // the address leads to another cluster, or to another database of it
	fault    verdict = "fault"    // it, or the way to it, fails or did a moment ago
)

// position is where the primary is, and where that position means anything.
type position struct {
	lsn, system, database string
	timeline              int64
}

// askPrimary names the position up to which commits are flushed, as they are before anybody sees or is told of them.
const askPrimary = `SELECT pg_current_wal_flush_lsn()::text, ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int,
	(SELECT system_identifier FROM pg_control_system())::text,
	(SELECT oid FROM pg_database WHERE datname = current_database())::text`

// askReplica answers with a word of verdict. What it replays is of the newest timeline that its control file and its
// receiver know of, or of a later one. The receiver's is shown to members of pg_monitor; for others a replica that has
// changed its primary is back in use once the control file knows.
const askReplica = `SELECT CASE
	WHEN (SELECT system_identifier FROM pg_control_system())::text IS DISTINCT FROM ?
		OR (SELECT oid FROM pg_database WHERE datname = current_database())::text IS DISTINCT FROM ? THEN 'foreign'
	WHEN NOT pg_is_in_recovery() THEN 'promoted'
	WHEN greatest((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
		(SELECT received_tli FROM pg_stat_wal_receiver)) IS DISTINCT FROM ? THEN 'timeline'
	WHEN pg_last_wal_replay_lsn() >= ?::pg_lsn THEN 'used'
	ELSE 'lagging' END`

// read runs statements on the replica, and all of them again on the primary unless that succeeds.
func (r *replica) read(ctx context.Context, statements func(context.Context, bun.IDB) error) error {
	if r.db == nil {
		return statements(ctx, r.primary)
	}
	v, err := fault, errors.New("it failed a moment ago")
	if last := r.failed.Load(); last == nil || time.Since(*last) > r.rest {
		v, err = r.try(ctx, statements)
		if now := time.Now(); v == fault && ctx.Err() == nil {
			r.failed.Store(&now)
		}
	}
	if v != used && ctx.Err() != nil {
		return ctx.Err() // says nothing about the replica
	}
	r.note(ctx, v, err)
	if v == used {
		return nil
	}
	return statements(ctx, r.primary)
}

// try runs statements on the replica if it is found fit. A replica that hangs leaves half of the time for the primary.
func (r *replica) try(ctx context.Context, statements func(context.Context, bun.IDB) error) (verdict, error) {
	var at position
	err := r.primary.QueryRowContext(ctx, askPrimary).Scan(&at.lsn, &at.timeline, &at.system, &at.database)
	if err != nil {
		return fault, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(r.prompt, cancel)
	defer patience.Stop()
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return fault, err
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fault, err
	}
	defer tx.Rollback()
	if v, err := r.judge(ctx, tx, at); v != used {
		return v, err
	}
	half := r.longest
	if deadline, ok := ctx.Deadline(); ok {
		half = time.Until(deadline) / 2
	}
	patience.Reset(half)
	if err := statements(ctx, tx); err != nil {
		return blame(err), err
	}
	return used, nil
}

// judge asks the replica until it has the position, or has had time enough.
func (r *replica) judge(ctx context.Context, tx bun.Tx, at position) (verdict, error) {
	const pause = 10 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for begun := time.Now(); ; {
		var v verdict
		if err := tx.NewRaw(askReplica, at.system, at.database, at.timeline, at.lsn).Scan(ctx, &v); err != nil {
			return fault, err
		}
		if v != lagging || time.Since(begun) > r.catchUp {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return fault, ctx.Err()
		case <-tick.C:
		}
	}
}

// blame tells a statement that was in replay's way from a fault.
func blame(err error) verdict {
	const serializationFailure, deadlock = "40001", "40P01"
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == serializationFailure || pg.Code == deadlock) {
		return conflict
	}
	return fault
}

// note counts a read, and says when the replica goes out of use and when it is back.
func (r *replica) note(ctx context.Context, v verdict, err error) {
	r.reads[v].Add(1)
	switch {
	case v == used && r.out.CompareAndSwap(true, false):
		r.log.InfoContext(ctx, "store: the replica is back in use")
	case v != used && r.out.CompareAndSwap(false, true):
		r.log.WarnContext(ctx, "store: the replica is out of use, the primary has its reads", "reason", v, "error", err)
	}
}

// ReplicaReads counts the reads that were meant for the replica by what became of each: "used", or why it went to the primary.
// The words are always the same few.
func (s *Store) ReplicaReads() map[string]int64 {
	counts := make(map[string]int64)
	for v, n := range s.replica.reads {
		counts[string(v)] = n.Load()
	}
	return counts
}
