package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

// TokenHash is the SHA-256 of a session's token: the token itself is nowhere but with its holder.
type TokenHash [sha256.Size]byte

// String is lower-case hex, as in keys and tags.
func (h TokenHash) String() string { return hex.EncodeToString(h[:]) }

func (s *Store) viewerKinds(p map[string]policy.Effective) {
	s.Settings = cache.NewKind(s.cache, cache.KindOptions[models.ID, *models.Settings]{
		Name: kindSettings, TTL: p[kindSettings].TTL, Key: viewerKey, Load: s.loadSettings,
		Tags: func(id models.ID, _ *models.Settings, _ bool) []string {
			return tags(p[kindSettings], "$viewer.id", id.String())
		},
	})
	s.Sessions = cache.NewKind(s.cache, cache.KindOptions[models.ID, []*models.Session]{
		Name: kindSessions, TTL: p[kindSessions].TTL, Key: viewerKey, Load: s.loadSessions,
		Tags: func(id models.ID, _ []*models.Session, _ bool) []string {
			return tags(p[kindSessions], "$viewer.id", id.String())
		},
	})
	s.Session = cache.NewKind(s.cache, cache.KindOptions[TokenHash, *models.Session]{
		Name: kindSession, TTL: p[kindSession].TTL, Key: TokenHash.String, Load: s.loadSession,
		Proved:    true,            // a session that may have ended while contact with the log was lost lets nobody in
		AbsentTTL: 5 * time.Second, // anyone can make up tokens: what is kept of them must not fill the cache
		Tags: func(hash TokenHash, session *models.Session, found bool) []string {
			all := append(tags(p[kindSession]), "session:"+hash.String())
			if found {
				all = append(all, "account:"+session.ProfileID.String())
			}
			return all
		},
	})
}

func viewerKey(id models.ID) string { return "user:" + id.String() }

// loadSettings has the defaults for a profile that never changed its settings.
func (s *Store) loadSettings(ctx context.Context, ids []models.ID) (_ map[models.ID]*models.Settings, err error) {
	defer failed(&err, "settings %v", ids)
	var rows []*models.Settings
	if err := s.db.NewSelect().Model(&rows).Where("s.profile_id IN ?", bun.Tuple(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	settings := byKey(rows, func(s *models.Settings) models.ID { return s.ProfileID })
	for _, id := range ids {
		if settings[id] == nil {
			settings[id] = &models.Settings{
				ProfileID: id, Theme: models.ThemeSystem, Language: "en", PushNotifications: true, Digest: models.DigestWeekly,
			}
		}
	}
	return settings, nil
}

func (s *Store) loadSessions(ctx context.Context, ids []models.ID) (_ map[models.ID][]*models.Session, err error) {
	defer failed(&err, "sessions of %v", ids)
	const most = 100 // the latest used; nobody looks through more
	var rows []*models.Session
	err = s.db.NewSelect().Model(&rows).
		ModelTableExpr("unnest(ARRAY[?]::bigint[]) AS viewer CROSS JOIN LATERAL (?) AS s",
			bun.List(ids), s.db.NewSelect().Table("sessions").
				Where("profile_id = viewer").Where("expires_at > now()").
				OrderExpr("last_seen_at DESC, id DESC").Limit(most)).
		OrderExpr("s.last_seen_at DESC, s.id DESC").Scan(ctx)
	if err != nil {
		return nil, err
	}
	sessions := make(map[models.ID][]*models.Session, len(ids))
	for _, row := range rows {
		sessions[row.ProfileID] = append(sessions[row.ProfileID], row)
	}
	return sessions, nil
}

// loadSession has of a session's scopes those that its account still has.
func (s *Store) loadSession(ctx context.Context, hashes []TokenHash) (_ map[TokenHash]*models.Session, err error) {
	defer failed(&err, "%d sessions", len(hashes))
	tokens := make([][]byte, len(hashes))
	for i, hash := range hashes {
		tokens[i] = hash[:]
	}
	var rows []*models.Session
	err = s.db.NewSelect().Model(&rows).ExcludeColumn("scopes").
		ColumnExpr("ARRAY(SELECT unnest(s.scopes) INTERSECT SELECT unnest(a.scopes) ORDER BY 1) AS scopes").
		Join("JOIN accounts AS a ON a.profile_id = s.profile_id").
		Where("s.token_hash IN ?", bun.Tuple(tokens)).Scan(ctx)
	if err != nil {
		return nil, err
	}
	return byKey(rows, func(s *models.Session) TokenHash { return TokenHash(s.TokenHash) }), nil
}

// UpdateSettings changes what in says of a viewer's settings.
func (s *Store) UpdateSettings(ctx context.Context, id models.ID, in models.UpdateSettingsInput) (err error) {
	defer failed(&err, "update settings of %v", id)
	changes := setter{q: s.db.NewUpdate().Table("settings").Where("profile_id = ?", id)}
	if theme := in.Theme.Value(); theme != nil {
		changes.set("theme", *theme)
	}
	if language := in.Language.Value(); language != nil {
		changes.set("language", *language)
	}
	if push := in.PushNotifications.Value(); push != nil {
		changes.set("push_notifications", *push)
	}
	if digest := in.Digest.Value(); digest != nil {
		changes.set("digest", *digest)
	}
	if !changes.any {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO settings (profile_id) VALUES (?) ON CONFLICT DO NOTHING", id)
		if err != nil {
			return err
		}
		_, err = changes.q.Conn(tx).Exec(ctx)
		return refuseForeign(err, "settings_language_fkey", "There is no such language.", "input", "language")
	})
}

// Account returns what someone signs in with; false if there is no such handle.
func (s *Store) Account(ctx context.Context, handle string) (_ *models.Account, found bool, err error) {
	defer failed(&err, "account of %q", handle)
	var account models.Account
	err = s.db.NewSelect().Model(&account).
		Join("JOIN profiles AS p ON p.id = a.profile_id").Where("p.handle = ?", handle).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return &account, err == nil, err
}

// NewAccount makes a profile, its account and its first session, and sets their ids.
func (s *Store) NewAccount(ctx context.Context, p *models.Profile, a *models.Account, first *models.Session) (err error) {
	defer failed(&err, "new account %q", p.Handle)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(p).Returning("id").Exec(ctx); err != nil {
			if broken(err, uniqueViolation, "profiles_handle_key") {
				return models.Refuse(models.UserErrorCodeTaken, "The handle is taken.", "input", "handle")
			}
			return err
		}
		a.ProfileID, first.ProfileID = p.ID, p.ID
		if _, err := tx.NewInsert().Model(a).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewInsert().Model(first).Returning("id").Exec(ctx)
		return err
	})
}

// NewSession adds a session to an account and sets its id.
func (s *Store) NewSession(ctx context.Context, session *models.Session) (err error) {
	defer failed(&err, "new session of %v", session.ProfileID)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(session).Returning("id").Exec(ctx)
		return err
	})
}

// EndSession removes one of a viewer's sessions.
func (s *Store) EndSession(ctx context.Context, viewer, id models.ID) (err error) {
	defer failed(&err, "end session %v of %v", id, viewer)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		done, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE id = ? AND profile_id = ?", id, viewer)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return models.Refuse(models.UserErrorCodeNotFound, "You have no such session.", "input", "sessionId")
	})
}

// TouchSession notes that a session was used, and moves its end, unless someone else noted it since seen.
func (s *Store) TouchSession(ctx context.Context, id models.ID, seen, now, expires time.Time) (err error) {
	defer failed(&err, "touch session %v", id)
	_, err = s.db.ExecContext(ctx,
		"UPDATE sessions SET last_seen_at = ?, expires_at = ? WHERE id = ? AND last_seen_at <= ?", now, expires, id, seen)
	return err
}

// RemoveEndedSessions removes sessions that expired before now, a bounded number at a time, and returns how many.
func (s *Store) RemoveEndedSessions(ctx context.Context, now time.Time) (n int64, err error) {
	defer failed(&err, "remove ended sessions")
	done, err := s.db.ExecContext(ctx, `DELETE FROM sessions WHERE id IN (
		SELECT id FROM sessions WHERE expires_at < ? ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED)`, now)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}
