package rig

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Viewer is a profile that is signed in.
type Viewer struct {
	ID    int64
	Token string
}

// Viewers signs in n profiles that follow somebody, the same ones in each run, with sessions that nobody has used. It
// ends the sessions of earlier calls. Call it before Start: servers of that moment would be told of each.
func (r *Rig) Viewers(ctx context.Context, n int) ([]Viewer, error) {
	viewers, err := r.viewers(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("sign in %d viewers: %w", n, err)
	}
	return viewers, nil
}

func (r *Rig) viewers(ctx context.Context, n int) ([]Viewer, error) {
	rows, err := r.DB.Query(ctx,
		"SELECT profile_id FROM profile_counts WHERE following > 0 ORDER BY hashint8(profile_id) LIMIT $1", n)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	if len(ids) < n {
		return nil, fmt.Errorf("only %d profiles follow somebody", len(ids))
	}
	viewers, hashes := make([]Viewer, n), make([][]byte, n)
	for i, id := range ids {
		viewers[i] = Viewer{ID: id, Token: "freshet_" + rand.Text()}
		hash := sha256.Sum256([]byte(viewers[i].Token))
		hashes[i] = hash[:]
	}
	const device = "freshet bench"
	return viewers, pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM sessions WHERE device = $1", device); err != nil {
			return err
		}
		// Nobody can sign in with this password: no hash has this form.
		_, err := tx.Exec(ctx, `INSERT INTO accounts (profile_id, password_hash)
			SELECT unnest($1::bigint[]), '-' ON CONFLICT DO NOTHING`, ids)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO sessions (profile_id, token_hash, device, expires_at)
			SELECT id, hash, $3, now() + interval '1 day' FROM unnest($1::bigint[], $2::bytea[]) AS new (id, hash)`,
			ids, hashes, device)
		return err
	})
}
