package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/models"
)

func TestSignUp_SignsIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, viewer := r.signUp("ann")
	if got := r.signedIn(token); got.ID != viewer.ID || got.SessionID != viewer.SessionID || viewer.ID == 0 || viewer.SessionID == 0 || len(got.Scopes) != 0 {
		t.Errorf("viewer: got %+v, want %+v without scopes", got, viewer)
	}
	_, _, err := r.SignUp(t.Context(), models.SignUpInput{Handle: "ann", Name: "Other", Password: password})
	var refusal models.Refusal
	if !errors.As(err, &refusal) || refusal[0].Code != models.UserErrorCodeTaken {
		t.Errorf("sign up with a taken handle: got %v, want a refusal", err)
	}
}

func TestSignIn_OwnSessionEachTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first, up := r.signUp("ann")
	second, in, err := r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password, Device: "tablet"})
	r.noError(err)
	if in.ID != up.ID || in.SessionID == up.SessionID || first == second {
		t.Errorf("second session: got %+v, want another than %+v of the same viewer", in, up)
	}
	r.noError(r.store.EndSession(t.Context(), up.ID, up.SessionID))
	r.signedOut(first)
	if got := r.signedIn(second); got.SessionID != in.SessionID {
		t.Errorf("the other session: got %+v, want %+v", got, in)
	}
}

// Whether a handle exists shows neither in the answer nor in the work that is done for it.
func TestSignIn_WrongCredentials(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.signUp("ann")
	r.exec("INSERT INTO profiles (id, handle, name) VALUES (900, 'company', 'No account')")
	before := r.count("sessions")
	var messages []string
	for _, in := range []models.SignInInput{
		{Handle: "ann", Password: password + " "},
		{Handle: "ann", Password: ""},
		{Handle: "nobody", Password: password},
		{Handle: "company", Password: password},
		{Handle: "ANN", Password: password},
		{Handle: "ann' OR '1'='1", Password: password},
	} {
		token, viewer, err := r.SignIn(t.Context(), in)
		var refusal models.Refusal
		if !errors.As(err, &refusal) || refusal[0].Code != models.UserErrorCodeWrongCredentials || token != "" || viewer != nil {
			t.Errorf("sign in as %q: got %q, %+v, %v, want a refusal", in.Handle, token, viewer, err)
			continue
		}
		messages = append(messages, fmt.Sprint(refusal[0].Message, refusal[0].Path))
	}
	if distinct := slices.Compact(messages); len(distinct) != 1 {
		t.Errorf("messages: got %q, want one for all", distinct)
	}
	if got := r.count("sessions"); got != before {
		t.Errorf("sessions: got %d, want %d as before", got, before)
	}
	decoy, real := strings.Split(r.decoy, "$"), strings.Split(r.hashOf("ann"), "$")
	if len(decoy) != 6 || !slices.Equal(decoy[:4], real[:4]) || len(decoy[5]) != len(real[5]) {
		t.Errorf("decoy: got %q, want as costly a hash as %q", decoy[:4], real[:4])
	}
}

func (r *rig) hashOf(handle string) (hash string) {
	r.t.Helper()
	r.noError(r.db.NewRaw("SELECT password_hash FROM accounts JOIN profiles ON id = profile_id WHERE handle = ?", handle).Scan(r.t.Context(), &hash))
	return hash
}

func (r *rig) count(table string) (n int) {
	r.t.Helper()
	r.noError(r.db.NewRaw("SELECT count(*) FROM "+table).Scan(r.t.Context(), &n))
	return n
}

func TestAuthenticate_UnknownTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, _ := r.signUp("ann")
	hash := sha256.Sum256([]byte(token))
	for _, unknown := range []string{
		"", "x", token + "x", token[:len(token)-1], strings.ToUpper(token), " " + token, string(hash[:]), fmt.Sprintf("%x", hash),
		"freshet_" + strings.Repeat("A", 43), strings.Repeat("x", 1<<20), "\x00", "*",
	} {
		r.signedOut(unknown)
	}
	r.signedIn(token)
}

// A token that was unknown a moment ago, and is cached so, works once a session has it.
func TestAuthenticate_AbsenceIsNotSticky(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, viewer := r.signUp("ann")
	hash := hashToken("restored")
	r.signedOut("restored")
	r.exec("INSERT INTO sessions (token_hash, profile_id, expires_at) VALUES (?, ?, ?)", hash[:], viewer.ID, r.clock().Add(time.Hour))
	r.signedIn("restored")
}

func TestAuthenticate_FromTheCache(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, _ := r.signUp("ann")
	r.signedIn(token)
	r.statements()
	for range 5 {
		r.signedIn(token)
	}
	if got := r.statements(); got != 0 {
		t.Errorf("statements of a known token: got %d, want 0", got)
	}
}

// While the source is away and contact with the log is lost, a cached session lets nobody in.
func TestAuthenticate_NotByWhatCantBeProved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, _, err := r.SignUp(t.Context(), models.SignUpInput{Handle: "ann", Name: "Ann", Password: password})
	r.noError(err)
	_, err = r.Authenticate(t.Context(), token)
	r.noError(err)
	_, err = r.db.ExecContext(t.Context(), "ALTER TABLE sessions RENAME TO away")
	r.noError(err)
	r.changes.Revoke()
	if v, err := r.Authenticate(t.Context(), token); err == nil {
		t.Errorf("Authenticate: got viewer %+v, want an error", v)
	}
}

func TestSession_SlidingExpiry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, viewer := r.signUp("ann")
	unused, _, err := r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password})
	r.noError(err)
	for range 4 { // used every 20 days it lives on
		r.pass(20 * 24 * time.Hour)
		r.signedIn(token)
		r.settle()
	}
	r.signedOut(unused)
	var expires time.Time
	r.noError(r.db.NewRaw("SELECT expires_at FROM sessions WHERE id = ?", viewer.SessionID).Scan(t.Context(), &expires))
	if want := r.clock().Add(lifetime); !expires.Equal(want) {
		t.Errorf("end of the used session: got %v, want %v", expires, want)
	}
	r.pass(lifetime - time.Second)
	r.signedIn(token)
	r.settle()
	r.pass(lifetime) // its end itself is too late
	r.signedOut(token)
}

func TestSession_UseIsNotedEveryFiveMinutes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, viewer := r.signUp("ann")
	seen := func() (at time.Time) {
		r.noError(r.db.NewRaw("SELECT last_seen_at FROM sessions WHERE id = ?", viewer.SessionID).Scan(t.Context(), &at))
		return at
	}
	signedUp := r.clock()
	r.signedIn(token)
	r.statements()
	for _, minutes := range []time.Duration{1, 2, 2} { // exactly five minutes are not yet more than five
		r.pass(minutes * time.Minute)
		r.signedIn(token)
		r.settle()
	}
	if got := seen(); !got.Equal(signedUp) || r.statements() != 0 {
		t.Errorf("last use after five minutes: got %v, want %v, and no statement", got, signedUp)
	}
	r.pass(time.Second)
	var together sync.WaitGroup
	for range 20 {
		together.Go(func() { r.signedIn(token) })
	}
	together.Wait()
	r.settle()
	if got := seen(); !got.Equal(r.clock()) {
		t.Errorf("last use after more than five minutes: got %v, want %v", got, r.clock())
	}
	var moved int
	r.noError(r.db.NewRaw("SELECT count(*) FROM sessions WHERE last_seen_at = ? AND expires_at = ?", r.clock(), r.clock().Add(lifetime)).
		Scan(t.Context(), &moved))
	if moved != 1 {
		t.Errorf("sessions whose end moved: got %d, want 1", moved)
	}
	r.signedIn(token) // reads the noted use
	r.statements()
	r.pass(4 * time.Minute)
	r.signedIn(token)
	r.settle()
	if got := r.statements(); got != 0 {
		t.Errorf("statements after four more minutes: got %d, want 0", got)
	}
}

func TestSession_ScopesAreThoseOfSessionAndAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before, viewer := r.signUp("ann")
	account := func(scopes string) {
		r.exec("UPDATE accounts SET scopes = ? WHERE profile_id = ?", scopes, viewer.ID)
	}
	want := func(token string, scopes ...string) {
		t.Helper()
		if got := r.signedIn(token).Scopes; !slices.Equal(got, scopes) && len(got)+len(scopes) > 0 {
			t.Errorf("scopes: got %q, want %q", got, scopes)
		}
	}
	want(before)
	account("{admin,developer}")
	want(before) // what a session was not given it does not get
	after, in, err := r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password})
	r.noError(err)
	if !slices.Equal(in.Scopes, []string{"admin", "developer"}) {
		t.Errorf("scopes at sign-in: got %q, want those of the account", in.Scopes)
	}
	want(after, "admin", "developer")
	account("{developer,more}")
	want(after, "developer") // at once, without signing in again
	account("{}")
	want(after)
	account("{admin}")
	want(after, "admin")
	r.exec("UPDATE sessions SET scopes = '{}' WHERE id = ?", in.SessionID)
	want(after)
}

func TestToken_OnlyItsHashIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, _ := r.signUp("ann")
	other, _, err := r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password})
	r.noError(err)
	if form := regexp.MustCompile(`^freshet_[A-Za-z0-9_-]{43}$`); !form.MatchString(token) || token == other {
		t.Errorf("tokens: got %q and %q, want 256 bits each", token, other)
	}
	secret, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "freshet_"))
	r.noError(err)
	r.signedIn(token)
	hidden := []string{token, strings.TrimPrefix(token, "freshet_"), string(secret), fmt.Sprintf("%x", secret), password}
	var kept []string
	for _, table := range []string{"profiles", "accounts", "sessions", "changelog.outbox"} {
		var rows []string
		r.noError(r.db.NewRaw("SELECT t::text FROM "+table+" t").Scan(t.Context(), &rows))
		kept = append(kept, rows...)
	}
	keys, err := r.redis.Keys(t.Context(), "*").Result()
	r.noError(err)
	for _, key := range keys {
		value, err := r.redis.Get(t.Context(), key).Result()
		r.noError(err)
		kept = append(kept, key, value)
	}
	if len(keys) == 0 {
		t.Fatal("keys in Redis: got none, want the session's")
	}
	for _, text := range kept {
		for _, secret := range hidden {
			if strings.Contains(text, secret) {
				t.Errorf("kept: got %q, want no token or password in it", text)
			}
		}
	}
	var hashes [][]byte
	r.noError(r.db.NewRaw("SELECT token_hash FROM sessions").Scan(t.Context(), &hashes))
	want := sha256.Sum256([]byte(token))
	if !slices.ContainsFunc(hashes, func(hash []byte) bool { return string(hash) == string(want[:]) }) {
		t.Errorf("hashes: got %x, want %x among them", hashes, want)
	}
}

func TestErrors_ShowNoSecrets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token, viewer := r.signUp("ann")
	r.signedIn(token)
	r.exec("UPDATE accounts SET password_hash = 'broken' WHERE profile_id = ?", viewer.ID)
	var errs []error
	_, _, err := r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password})
	errs = append(errs, err)
	r.exec("ALTER TABLE sessions RENAME TO gone; ALTER TABLE accounts RENAME TO lost")
	r.pass(10 * time.Minute)
	_, err = r.Authenticate(t.Context(), "another "+token)
	errs = append(errs, err)
	_, _, err = r.SignUp(t.Context(), models.SignUpInput{Handle: "bob", Name: "Bob", Password: password})
	errs = append(errs, err)
	_, _, err = r.SignIn(t.Context(), models.SignInInput{Handle: "ann", Password: password})
	errs = append(errs, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = r.SignUp(ended, models.SignUpInput{Handle: "bob", Name: "Bob", Password: password})
	errs = append(errs, err)
	r.touch(&models.Session{ID: viewer.SessionID, LastSeenAt: r.clock()}, r.clock()) // fails in the background
	r.work.Wait()
	if !strings.Contains(r.logged.String(), "use of a session not noted") {
		t.Errorf("log: got %q, want the failure to note a use", r.logged.String())
	}
	for _, err := range append(errs, errors.New(r.logged.String())) {
		if err == nil {
			t.Error("got no error, want one")
			continue
		}
		for _, secret := range []string{token, password, "argon2id$"} {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
				t.Errorf("got %v, want no %q in it", err, secret)
			}
		}
	}
}

func TestViewer_OfAContext(t *testing.T) {
	t.Parallel()
	if got := Viewer(t.Context()); got != nil {
		t.Errorf("viewer of nobody's context: got %+v, want nil", got)
	}
	want := &models.Viewer{ID: 7}
	if got := Viewer(WithViewer(t.Context(), want)); got != want {
		t.Errorf("viewer: got %+v, want %+v", got, want)
	}
}
