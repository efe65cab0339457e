// Package auth knows who is signed in: it turns a session's token into a viewer and their scopes.
package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/jwt"
	"freshet/internal/store"
	"freshet/models"
)

const (
	// lifetime of a session that is not used.
	lifetime = 30 * 24 * time.Hour
	// touchAfter is how long the use of a session goes unnoted: its end then moves on by one write, not by one each
	// request.
	touchAfter = 5 * time.Minute
)

// Options says what an Auth works with. Only Store has no default.
type Options struct {
	Store *store.Store
	// Redis has the attempts to sign in that other instances have seen; nil: this one counts alone. Its client must have
	// ContextTimeoutEnabled.
	Redis redis.UniversalClient
	// Service begins every key in Redis. Default "freshet".
	Service string
	// Available tells whether Redis is in use. Default: always.
	Available func() bool
	// Budget bounds each round trip to Redis. Default 100 ms.
	Budget time.Duration
	// Provider of identities whose tokens are taken beside our own; without Tokens there is none.
	Provider Provider
	// HashCost is that of new password hashes. Default: what OWASP recommends.
	HashCost HashCost
	// Log is told of what no caller can act on. Default: slog.Default().
	Log *slog.Logger
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// Auth signs people in and out. It is safe for concurrent use; Close ends what it runs in the background.
type Auth struct {
	store  *store.Store
	log    *slog.Logger
	now    func() time.Time
	hasher hasher
	// decoy is verified for handles that do not exist, so that the time of an answer does not tell which do.
	decoy    string
	attempts attempts
	provider Provider

	work     sync.WaitGroup
	mu       sync.Mutex
	touching map[models.ID]bool
}

// New makes an Auth.
func New(o Options) *Auth {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Available == nil {
		o.Available = func() bool { return true }
	}
	return &Auth{
		store: o.Store, log: o.Log, now: o.Now, hasher: newHasher(runtime.GOMAXPROCS(0), o.HashCost),
		decoy: o.HashCost.hash(rand.Text()), touching: make(map[models.ID]bool),
		provider: o.Provider,
		attempts: attempts{
			redis: o.Redis, service: cmp.Or(o.Service, "freshet"), available: o.Available, budget: cmp.Or(o.Budget, attemptBudget), log: o.Log, now: o.Now,
			local: make(map[counterID]tally),
		},
	}
}

// TooEarly counts the attempts to sign in that were refused because they did not wait.
func (a *Auth) TooEarly() int64 { return a.attempts.early.Load() }

// Close waits for background work.
func (a *Auth) Close() { a.work.Wait() }

// Authenticate returns the viewer whose session the token is of, or whom the identity provider means by it. For a token that
// is unknown or has ended the error is one of CodeUnauthenticated.
func (a *Auth) Authenticate(ctx context.Context, token string) (*models.Viewer, error) {
	if a.provider.Tokens != nil && jwt.Is(token) { // ours have no dots
		return a.holder(ctx, token)
	}
	session, found, err := a.store.Session.One(ctx, hashToken(token))
	if err != nil {
		return nil, err
	}
	now := a.now()
	if !found || !now.Before(session.ExpiresAt) {
		return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "The session has ended or never was: sign in."}
	}
	if now.Sub(session.LastSeenAt) > touchAfter {
		a.touch(session, now)
	}
	return &models.Viewer{ID: session.ProfileID, SessionID: session.ID, Scopes: session.Scopes}, nil
}

// touch notes the use of a session in the background, once at a time: the request does not wait for it.
func (a *Auth) touch(session *models.Session, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.touching[session.ID] {
		return
	}
	a.touching[session.ID] = true
	a.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := a.store.TouchSession(ctx, session.ID, session.LastSeenAt, now, now.Add(lifetime)); err != nil {
			a.log.Warn("auth: use of a session not noted", "session", session.ID, "error", err)
		}
		a.mu.Lock()
		delete(a.touching, session.ID)
		a.mu.Unlock()
	})
}

// SignUp makes an account and its first session, and returns the session's token, which nobody can show again.
func (a *Auth) SignUp(ctx context.Context, in models.SignUpInput) (token string, v *models.Viewer, err error) {
	hash, err := a.hasher.hash(ctx, in.Password)
	if err != nil {
		return "", nil, err
	}
	token, session := a.newSession(in.Device)
	profile := &models.Profile{Handle: in.Handle, Name: in.Name}
	account := &models.Account{PasswordHash: hash, Scopes: []string{}}
	if err := a.store.NewAccount(ctx, profile, account, session); err != nil {
		return "", nil, err
	}
	a.attempts.familiarise(ctx, step{ofPair, idOf("pair", in.Handle, addressOf(ctx))})
	return token, &models.Viewer{ID: profile.ID, SessionID: session.ID}, nil
}

// SignIn starts a session and returns its token, which nobody can show again. Wrong credentials are a Refusal, and so is
// trying too often.
func (a *Auth) SignIn(ctx context.Context, in models.SignInInput) (token string, v *models.Viewer, err error) {
	attempt, wait := a.attempts.begin(ctx, in.Handle, addressOf(ctx))
	if wait > 0 {
		return "", nil, tooManyAttempts(wait)
	}
	account, ok, err := a.verify(ctx, in)
	switch {
	case err != nil:
		a.attempts.takeBack(ctx, attempt)
		return "", nil, err
	case !ok:
		a.attempts.failed(ctx, attempt)
		return "", nil, models.Refuse(models.UserErrorCodeWrongCredentials,
			"Handle and password do not belong together.", "input")
	}
	a.attempts.succeeded(ctx, attempt)
	token, session := a.newSession(in.Device)
	session.ProfileID, session.Scopes = account.ProfileID, account.Scopes
	if err := a.store.NewSession(ctx, session); err != nil {
		return "", nil, err
	}
	return token, &models.Viewer{ID: account.ProfileID, SessionID: session.ID, Scopes: account.Scopes}, nil
}

// verify tells whether handle and password belong together. It takes as much work where there is no such account.
func (a *Auth) verify(ctx context.Context, in models.SignInInput) (account *models.Account, ok bool, err error) {
	account, found, err := a.store.Account(ctx, in.Handle)
	if err != nil {
		return nil, false, err
	}
	if !found {
		account = &models.Account{PasswordHash: a.decoy}
	}
	ok, err = a.hasher.verify(ctx, account.PasswordHash, in.Password)
	return account, ok && found, err
}

// newSession makes a token of 256 random bits, and the session that knows its hash.
func (a *Auth) newSession(device string) (token string, session *models.Session) {
	var secret [32]byte
	rand.Read(secret[:])
	token = "freshet_" + base64.RawURLEncoding.EncodeToString(secret[:])
	hash := hashToken(token)
	now := a.now()
	return token, &models.Session{
		TokenHash: hash[:], Device: device, Scopes: []string{}, CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(lifetime),
	}
}

func hashToken(token string) store.TokenHash { return sha256.Sum256([]byte(token)) }

type viewerKey struct{}

// WithViewer returns a context of requests by v.
func WithViewer(ctx context.Context, v *models.Viewer) context.Context {
	return context.WithValue(ctx, viewerKey{}, v)
}

// Viewer is who is signed in, or nil.
func Viewer(ctx context.Context) *models.Viewer {
	v, _ := ctx.Value(viewerKey{}).(*models.Viewer)
	return v
}
