package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// standby is what a server says of itself as a replica.
type standby struct {
	database string // of one cluster
	recovery bool
	timeline int64
	feedback bool
	delay    int64 // before replay ends what is in its way, in ms; negative: for ever
}

// head is where a primary is.
type head struct {
	database, lsn string
	timeline      int64
}

// replica looks whether a replica can take reads off the primary, which has them whenever it can't.
func (e *examination) replica(ctx context.Context, primary, replica *bun.DB) {
	var of head
	err := primary.QueryRowContext(ctx, `SELECT concat_ws('/', s.system_identifier, d.oid), pg_current_wal_flush_lsn()::text,
		('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int
		FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()`).Scan(&of.database, &of.lsn, &of.timeline)
	if err != nil {
		return // the primary's findings tell
	}
	var is standby
	err = replica.QueryRowContext(ctx, `SELECT concat_ws('/', s.system_identifier, d.oid), pg_is_in_recovery(),
		greatest((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
			(SELECT received_tli FROM pg_stat_wal_receiver)),
		current_setting('hot_standby_feedback')::bool, (SELECT setting FROM pg_settings WHERE name = 'max_standby_streaming_delay')::bigint
		FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()`).
		Scan(&is.database, &is.recovery, &is.timeline, &is.feedback, &is.delay)
	if err != nil {
		e.replicaAway(err)
		return
	}
	e.judge(is.database != of.database, Mend, "replica database", map[bool]string{true: "another than the primary's", false: "the primary's"}[is.database != of.database],
		"let --replica-url lead to a streaming replica of the server of DATABASE_URL, and to the same database there")
	e.judge(!is.recovery, Mend, "replica role", map[bool]string{true: "replica", false: "primary"}[is.recovery],
		"let --replica-url lead to a replica; if this one was promoted, let DATABASE_URL lead to it and FRESHET_REPLICA_URL to another")
	if is.database != of.database || !is.recovery {
		return
	}
	e.judge(is.timeline != of.timeline, Mend, "replica timeline", fmt.Sprintf("%d, the primary's is %d", is.timeline, of.timeline),
		"let it follow the new primary (primary_conninfo, pg_rewind); if it does already, run CHECKPOINT there, or let the user be a member of pg_monitor")
	if is.timeline == of.timeline {
		e.lag(ctx, replica, of.lsn)
	}
	const short = 5000
	e.judge(!is.feedback && is.delay >= 0 && is.delay < short, Warning, "replica conflicts",
		fmt.Sprintf("max_standby_streaming_delay %d ms, hot_standby_feedback %v", is.delay, is.feedback),
		"set hot_standby_feedback = on, or a longer max_standby_streaming_delay: replay ends reads, which then begin again on the primary")
}

func (e *examination) replicaAway(err error) {
	e.add(Away, "replica", fmt.Sprintf("can't be asked: %v", err), "see that it runs and that --replica-url (FRESHET_REPLICA_URL) names it")
}

// lag waits until the replica has replayed what the primary had flushed. Reads wait for a tenth of a second.
func (e *examination) lag(ctx context.Context, replica *bun.DB, lsn string) {
	const pause = 10 * time.Millisecond
	const advice = "see its log, its load, recovery_min_apply_delay and pg_get_wal_replay_pause_state(): the primary has its reads meanwhile"
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for begun := time.Now(); ; {
		var behind int64
		err := replica.QueryRowContext(ctx, "SELECT greatest(pg_wal_lsn_diff(?, pg_last_wal_replay_lsn()), 0)::bigint", lsn).Scan(&behind)
		took := time.Since(begun)
		switch {
		case err != nil:
			e.replicaAway(err)
			return
		case behind == 0:
			e.judge(took > e.late, Warning, "replica lag", fmt.Sprintf("up with the primary after %s", took.Round(time.Millisecond)), advice)
			return
		case took > e.catchUp:
			e.add(Mend, "replica lag", fmt.Sprintf("%d bytes behind for %s", behind, e.catchUp), advice)
			return
		}
		select {
		case <-ctx.Done():
			e.replicaAway(ctx.Err())
			return
		case <-tick.C:
		}
	}
}
