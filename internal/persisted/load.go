package persisted

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"sync/atomic"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// edition tells what is published from what was: it changes with every change of a build.
const edition = `SELECT coalesce(md5(string_agg(id || state || extract(epoch FROM changed_at), ' ' ORDER BY id)), '')
	FROM persisted.builds`

func readEdition(ctx context.Context, db bun.IDB) (text string, err error) {
	if err := db.NewRaw(edition).Scan(ctx, &text); err != nil {
		return "", fmt.Errorf("persisted: read the edition: %w", err)
	}
	return text, nil
}

// row is a document of an active build in one of the builds that list it.
type row struct {
	document
	BuildID  int64
	Version  string
	State    State
	Requests int64 // of the document, over all builds
}

// Load reads the operations of active builds. What was loaded before is not read and compiled again; what does not
// validate is logged once, and unknown to those who ask for it. On an error everything stays as it was.
func (l *Library) Load(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var edition string
	var rows []row
	texts := make(map[string]text)
	err := l.DB.RunInTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, func(ctx context.Context, tx bun.Tx) (err error) {
		if edition, err = readEdition(ctx, tx); err != nil {
			return err
		}
		if rows, err = readRows(ctx, tx); err != nil {
			return err
		}
		return l.compile(ctx, tx, rows, texts)
	})
	if l.doubtful = err != nil; l.doubtful {
		return fmt.Errorf("persisted: load: %w", err)
	}
	before := l.shelf.Load()
	s := newShelf(edition, l.entries(rows, texts), texts, l.Log)
	l.shelf.Store(s)
	l.prune()
	if before.edition != s.edition {
		l.Log.Info("persisted: operations of active builds are loaded", "operations", len(s.entries))
	}
	return nil
}

func readRows(ctx context.Context, tx bun.Tx) (rows []row, err error) {
	err = tx.NewRaw(`
		SELECT d.id, d.app, d.key, d.name, d.sha256, b.id AS build_id, b.version, b.state,
			coalesce(c.requests, 0) AS requests
		FROM persisted.documents d
			JOIN persisted.operations o ON o.document_id = d.id JOIN persisted.builds b ON b.id = o.build_id
			LEFT JOIN (SELECT document_id, sum(requests)::bigint AS requests FROM persisted.counts GROUP BY document_id) c
				ON c.document_id = d.id
		WHERE d.id IN (SELECT document_id FROM persisted.operations JOIN persisted.builds ON id = build_id WHERE state = 'active')
		ORDER BY d.id`).Scan(ctx, &rows)
	return rows, err
}

// compile gives texts what became of the text of each row, and reads those that are new.
func (l *Library) compile(ctx context.Context, tx bun.Tx, rows []row, texts map[string]text) error {
	known := l.shelf.Load().texts
	var fresh []int64
	for i := range rows {
		sum := hex.EncodeToString(rows[i].SHA256)
		if _, done := texts[sum]; done {
			continue
		}
		old, ok := known[sum]
		if !ok {
			fresh = append(fresh, rows[i].ID)
		}
		texts[sum] = old
	}
	if len(fresh) == 0 {
		return nil
	}
	var documents []*document
	if err := tx.NewSelect().Model(&documents).Where("id = ANY(?)", pgdialect.Array(fresh)).Scan(ctx); err != nil {
		return err
	}
	for _, d := range documents {
		op, err := compileOne(l.Compiler, d.Body)
		if err != nil {
			l.Log.Error("persisted: an operation of an active build is not valid any more, and not served",
				"app", d.App, "id", d.Key, "operation", d.Name, "error", err)
		}
		texts[hex.EncodeToString(d.SHA256)] = text{op, err}
	}
	return nil
}

// entries makes an Entry of each document that can be served. The caller holds mu.
func (l *Library) entries(rows []row, texts map[string]text) (entries []*Entry) {
	for i := range rows {
		r := &rows[i]
		sum := hex.EncodeToString(r.SHA256)
		if texts[sum].err != nil {
			continue
		}
		if len(entries) == 0 || entries[len(entries)-1].document != r.ID {
			entries = append(entries, &Entry{
				App: r.App, ID: r.Key, SHA256: sum, Operation: texts[sum].operation,
				document: r.ID, builds: make(map[string]listed), alone: l.counter(use{r.ID, 0}), before: r.Requests,
			})
		}
		entries[len(entries)-1].builds[r.Version] = l.listed(use{r.ID, r.BuildID}, r.State)
	}
	return entries
}

func (l *Library) listed(of use, state State) listed {
	return listed{use: of, active: state == Active, requests: l.counter(of)}
}

// counter is kept from load to load, so that no count is lost. The caller holds mu.
func (l *Library) counter(of use) *atomic.Int64 {
	c := l.counters[of]
	if c == nil {
		c = new(atomic.Int64)
		l.counters[of] = c
	}
	return c
}
