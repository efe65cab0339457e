package changelog

import (
	"context"
	"fmt"
)

const (
	pruneEpochs = `
		DELETE FROM changelog.log WHERE ctid = ANY (ARRAY(
			(SELECT ctid FROM changelog.log WHERE epoch < (SELECT epoch FROM changelog.log_head) LIMIT $1)
			UNION ALL (SELECT ctid FROM changelog.log WHERE epoch > (SELECT epoch FROM changelog.log_head) LIMIT $1)))`
	// Positions and times rise together, so what is too old is at the beginning: the rest stays without gaps.
	pruneWindow = `
		DELETE FROM changelog.log WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM (
				SELECT ctid, after, moved_at FROM changelog.log
				WHERE epoch = (SELECT epoch FROM changelog.log_head) ORDER BY after LIMIT $1) oldest
			WHERE after < (SELECT position FROM changelog.log_head) - $2::bigint
			OR moved_at < now() - make_interval(secs => $3)))`
)

// prune removes what the window no longer holds, and what other epochs have left, limit rows at a time.
func prune(ctx context.Context, o *Options, limit int) error {
	for full := true; full; {
		epochs, err := o.deleteRows(ctx, pruneEpochs, limit)
		if err != nil {
			return err
		}
		window, err := o.deleteRows(ctx, pruneWindow, limit, o.WindowSize, o.Window.Seconds())
		if err != nil {
			return err
		}
		full = max(epochs, window) >= int64(limit)
	}
	return nil
}

func (o *Options) deleteRows(ctx context.Context, statement string, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patienceWithPostgres)
	defer cancel()
	result, err := o.DB.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("prune log: %w", err)
	}
	return result.RowsAffected()
}
