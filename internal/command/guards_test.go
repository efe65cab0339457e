package command

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"freshet/internal/testenv"
)

// What a viewer spends on one instance is missing on the other, which learns of it when it settles what was spent there.
func TestGuards_InstancesLimitTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const burst = 1_000_000 // far more than the requests here cost
	limited := func(o *ServeOptions) { o.Guards.Viewer = Rate{PerSecond: 1, Burst: burst} }
	one, other := w.startWith(limited), w.startWith(limited)
	ann, id := one.person("ann")
	viewer, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(at *api) bool {
		t.Helper()
		got := at.ask(ann, `{ __typename }`, nil, nil)
		if len(got.Errors) == 0 {
			return false
		}
		if code := got.Errors[0].Extensions["code"]; code != "RATE_LIMITED" {
			t.Fatalf("code: got %v, want RATE_LIMITED", code)
		}
		return true
	}
	if refused(one) || refused(other) {
		t.Error("a first request: got a refusal, want none")
	}
	one.instance.limits.Viewer.Take(viewer, burst-10)
	testenv.Eventually(t, "the one lets nothing through", func() bool { return refused(one) })
	shared := one.stored(1, "rate:viewer:*")[0]
	testenv.Eventually(t, "what the one has let through is settled", func() bool {
		owed, err := one.instance.redis.PTTL(t.Context(), shared).Result()
		return err == nil && owed > burst/2*time.Second
	})
	if refused(other) {
		t.Error("the other, which has had nothing to settle: got a refusal, want none")
	}
	other.instance.limits.Viewer.Take(viewer, burst/8)
	testenv.Eventually(t, "the other lets nothing through", func() bool { return refused(other) })
}

// Attempts to sign in are counted together, on each instance.
func TestGuards_SignInAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.start(), w.start()
	const signIn = `mutation { signIn(input: {handle: "Nobody", password: "not the right one"}) { token userErrors { code retryAfter } } }`
	attempt := func(on *api) (code string, retryAfter int) {
		var got struct {
			SignIn struct {
				Token      *string
				UserErrors []struct {
					Code       string
					RetryAfter int
				}
			}
		}
		on.must("", signIn, nil, &got)
		if errs := got.SignIn.UserErrors; len(errs) == 1 && got.SignIn.Token == nil {
			return errs[0].Code, errs[0].RetryAfter
		}
		t.Fatalf("got %+v, want one error", got)
		return "", 0
	}
	const free = 5 // without a wait
	for n := range free {
		if code, _ := attempt([]*api{one, other}[n%2]); code != "WRONG_CREDENTIALS" {
			t.Errorf("attempt %d: got %s, want WRONG_CREDENTIALS", n+1, code)
		}
	}
	// Time stands still for what they share, or on a busy machine the wait would pass between two attempts. Alone, the other
	// instance would let more through.
	for _, key := range other.stored(3, "signin:*") {
		if err := other.instance.redis.Expire(t.Context(), key, 2*time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if code, wait := attempt(other); code != "TOO_MANY_ATTEMPTS" || wait < 1 {
		t.Errorf("the sixth attempt: got %s, %d s, want TOO_MANY_ATTEMPTS and a wait", code, wait)
	}
}

func TestGuards_IdentityProvider(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(keys) }))
	t.Cleanup(provider.Close)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		t.Fatal(err)
	}
	claims, _ := json.Marshal(map[string]any{
		"iss": "https://id.example", "aud": "freshet", "sub": "u-1", "name": "Ann", "exp": time.Now().Add(time.Hour).Unix(),
	})
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	a := w.startWith(func(o *ServeOptions) {
		o.Guards.Provider = ProviderOptions{URL: provider.URL, Issuer: "https://id.example", Audience: "freshet", NewProfiles: true}
	})
	a.wantAt(token, "viewer.profile.name", "Ann", `{ viewer { profile { name } } }`, nil)
	out := a.ask(token, `mutation { signOut { endedSessionId } }`, nil, nil)
	if len(out.Errors) != 1 || out.Errors[0].Extensions["code"] != "BAD_USER_INPUT" {
		t.Errorf("signing out with the provider's token: got %+v, want BAD_USER_INPUT", out.Errors)
	}
	w.exec("UPDATE identities SET blocked = true")
	testenv.Eventually(t, "the token of one who was blocked does not work", func() bool { // foreign SQL is not waited for
		out = a.ask(token, `{ viewer { profile { name } } }`, nil, nil)
		return len(out.Errors) > 0
	})
	if code := out.Errors[0].Extensions["code"]; code != "UNAUTHENTICATED" {
		t.Errorf("blocked: got code %v, want UNAUTHENTICATED", code)
	}
}

func TestGuards_RefuseWhatTheyCantRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, g := range map[string]Guards{
		"a proxy's name":         {TrustedProxies: []string{"proxy.example.org"}},
		"keys without an issuer": {Provider: ProviderOptions{URL: "https://id.example/keys"}},
	} {
		o := w.options()
		o.Guards = g
		i, err := newInstance(t.Context(), o)
		if err == nil {
			i.close()
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
