package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"freshet/internal/jwt"
	"freshet/models"
)

const issuer = "https://id.example"

// withProvider has the rig take tokens of a provider, and returns what signs them.
func withProvider(r *rig, change func(*Provider)) func(subject string, more map[string]any) string {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.noError(err)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
	r.noError(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(keys) }))
	tokens, err := jwt.New(jwt.Options{URL: server.URL, Issuer: issuer, Audience: "freshet", Now: r.clock})
	r.noError(err)
	r.t.Cleanup(func() { tokens.Close(); server.Close() })
	r.provider = Provider{Tokens: tokens, Scopes: []string{"developer"}}
	if change != nil {
		change(&r.provider)
	}
	return func(subject string, more map[string]any) string {
		claims := map[string]any{"iss": issuer, "aud": "freshet", "sub": subject, "exp": r.clock().Add(time.Hour).Unix()}
		maps.Copy(claims, more)
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
		r.noError(err)
		payload, err := json.Marshal(claims)
		r.noError(err)
		signed, err := signer.Sign(payload)
		r.noError(err)
		token, err := signed.CompactSerialize()
		r.noError(err)
		return token
	}
}

func TestProvider_MapsSubjectsToProfiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, ann := r.signUp("ann")
	token := withProvider(r, nil)
	r.signedOut(token("u-1", nil)) // nobody has said who that is
	r.exec("INSERT INTO identities (issuer, subject, profile_id) VALUES (?, 'u-1', ?)", issuer, ann.ID)
	got := r.signedIn(token("u-1", map[string]any{"scope": "admin developer developer openid"}))
	if got.ID != ann.ID || got.SessionID != 0 || !slices.Equal(got.Scopes, []string{"developer"}) {
		t.Errorf("viewer: got %+v, want %v with the one scope that tokens may give", got, ann.ID)
	}
	r.signedOut(token("u-2", nil))
	r.signedOut(token("u-1", map[string]any{"aud": "other"}))
	r.exec("INSERT INTO identities (issuer, subject, profile_id) VALUES ('https://other.example', 'u-3', ?)", ann.ID)
	r.signedOut(token("u-3", nil)) // another provider's
}

// The token is good for an hour, and its verification remembered; its holder is out at once.
func TestProvider_BlockedAndDeletedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, ann := r.signUp("ann")
	_, bob := r.signUp("bob")
	sign := withProvider(r, func(p *Provider) { p.NewProfiles = true })
	token := sign("u-1", nil)
	r.exec("INSERT INTO identities (issuer, subject, profile_id) VALUES (?, 'u-1', ?)", issuer, ann.ID)
	r.signedIn(token)
	r.exec("UPDATE identities SET profile_id = ?", bob.ID)
	if got := r.signedIn(token); got.ID != bob.ID {
		t.Errorf("after the identity moved: got viewer %v, want %v", got.ID, bob.ID)
	}
	r.exec("UPDATE identities SET blocked = true")
	r.signedOut(token)
	r.exec("UPDATE identities SET blocked = false")
	r.signedIn(token)
	r.provider.NewProfiles = false
	r.exec("DELETE FROM profiles WHERE id = ?", bob.ID)
	r.signedOut(token)
}

func TestProvider_NewProfiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := withProvider(r, func(p *Provider) { p.NewProfiles = true })
	name := "  Ann\n\x00 " + strings.Repeat("é", 100)
	var together sync.WaitGroup
	var mu sync.Mutex
	ids := map[models.ID]bool{}
	for range 8 {
		together.Go(func() {
			got := r.signedIn(token("u-1", map[string]any{"name": name}))
			mu.Lock()
			defer mu.Unlock()
			ids[got.ID] = true
		})
	}
	together.Wait()
	if len(ids) != 1 || r.count("profiles") != 1 || r.count("identities") != 1 {
		t.Errorf("first sight by 8 at once: got profiles %v and %d rows, want one", ids, r.count("profiles"))
	}
	var made models.Profile
	r.noError(r.db.NewSelect().Model(&made).Scan(t.Context()))
	if normal, ok := models.NormalHandle(made.Handle); !ok || normal != made.Handle || made.Name != "Ann "+strings.Repeat("é", 46) {
		t.Errorf("profile: got %q, %q, want a valid handle and the first 50 characters of the name", made.Handle, made.Name)
	}
	if got := r.count("accounts"); got != 0 {
		t.Errorf("accounts: got %d, want none, so that no password signs in", got)
	}
}

// A JWT is never looked up as a session, nor a session's token taken for a JWT.
func TestProvider_BesideSessions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	session, ann := r.signUp("ann")
	withProvider(r, nil)
	if got := r.signedIn(session); got.ID != ann.ID {
		t.Errorf("session: got viewer %v, want %v", got.ID, ann.ID)
	}
	r.signedOut("a.b.c")
	r.provider = Provider{}
	r.signedOut("a.b.c")
}

func TestProvider_Down(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tokens, err := jwt.New(jwt.Options{URL: "http://127.0.0.1:1/", Issuer: issuer, Audience: "freshet", Log: r.log})
	r.noError(err)
	defer tokens.Close()
	sign := withProvider(r, nil)
	r.provider.Tokens = tokens
	_, err = r.Authenticate(t.Context(), sign("u-1", nil))
	var app *models.Error
	if !errors.As(err, &app) || app.Code != models.CodeUnavailable {
		t.Errorf("provider that was never reached: got %v, want %s", err, models.CodeUnavailable)
	}
}
