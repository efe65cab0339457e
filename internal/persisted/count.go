package persisted

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/uptrace/bun/dialect/pgdialect"
)

// use is what a counter counts: requests for a document by a build, or by no known one if build is 0.
type use struct{ document, build int64 }

// flush adds what was counted since the last time to PostgreSQL, in one statement. What it can't write stays counted.
// Memory is bounded: there is one number for each operation of each build, however long PostgreSQL is away.
func (l *Library) flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var documents, builds, requests []int64
	var from []*atomic.Int64
	for of, counter := range l.counters {
		if n := counter.Swap(0); n > 0 {
			documents, builds, requests = append(documents, of.document), append(builds, of.build), append(requests, n)
			from = append(from, counter)
		}
	}
	if len(from) == 0 {
		return nil
	}
	// The rows are locked in one order, so that instances wait for each other and don't deadlock. What was deleted in the
	// meantime is left out: a build becomes none.
	_, err := l.DB.ExecContext(ctx, `
		INSERT INTO persisted.counts AS c (document_id, build_id, requests, last_seen_at)
		SELECT d.id, b.id, sum(u.requests), ?
		FROM unnest(?::bigint[], ?::bigint[], ?::bigint[]) AS u (document, build, requests)
			JOIN persisted.documents d ON d.id = u.document LEFT JOIN persisted.builds b ON b.id = u.build
		GROUP BY d.id, b.id ORDER BY d.id, b.id
		ON CONFLICT ON CONSTRAINT counts_document_id_build_id_key DO UPDATE
			SET requests = c.requests + excluded.requests, last_seen_at = greatest(c.last_seen_at, excluded.last_seen_at)`,
		l.Now(), pgdialect.Array(documents), pgdialect.Array(builds), pgdialect.Array(requests))
	if err != nil {
		for i, counter := range from {
			counter.Add(requests[i])
		}
		return fmt.Errorf("persisted: write counts: %w", err)
	}
	return nil
}

// prune forgets counters that nothing on the shelf counts with. The caller holds mu.
func (l *Library) prune() {
	used := make(map[use]bool)
	for _, e := range l.shelf.Load().entries {
		used[use{e.document, 0}] = true
		for _, in := range e.builds {
			used[in.use] = true
		}
	}
	for of, counter := range l.counters {
		if !used[of] && counter.Load() == 0 {
			delete(l.counters, of)
		}
	}
}
