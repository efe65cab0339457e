package command

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What a viewer spends on one instance is missing on the other.
func TestGuards_InstancesLimitTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	limited := func(o *ServeOptions) { o.Guards.Viewer = Rate{PerSecond: 1, Burst: 400} }
	one, other := w.startWith(limited), w.startWith(limited)
	ann, id := w.start().person("ann")
	const query = `query($id: ID!) { profile(id: $id) { id } }`
	refusals := 0
	for i := 0; refusals == 0; i++ {
		if i > 2000 {
			t.Fatal("on one instance: got 2000 requests through, want about 400")
		}
		refusals = len(one.ask(ann, query, map[string]any{"id": id}, nil).Errors)
	}
	got := other.ask(ann, query, map[string]any{"id": id}, nil)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; len(got.Errors) == 0; i++ {
		// It learns of the first's when it settles its own, which is worth it from a sixteenth of the burst on.
		if i > 300 {
			t.Fatal("on the other: got 300 requests through, want it to know of those of the first")
		}
		if i > 400/16 {
			<-tick.C
		}
		got = other.ask(ann, query, map[string]any{"id": id}, nil)
	}
	if code := got.Errors[0].Extensions["code"]; code != "RATE_LIMITED" {
		t.Errorf("code: got %v, want RATE_LIMITED", code)
	}
}

func TestGuards_SignInAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.start(), w.start()
	one.person("ann")
	const signIn = `mutation { signIn(input: {handle: "Nobody", password: "not the right one"}) { token userErrors { code retryAfter } } }`
	type payload struct {
		SignIn struct {
			Token      *string
			UserErrors []struct {
				Code       string
				RetryAfter *int
			}
		}
	}
	var last payload
	for i := range 6 { // on two instances
		last = payload{}
		[]*api{one, other}[i%2].must("", signIn, nil, &last)
	}
	if e := last.SignIn.UserErrors; len(e) != 1 || e[0].Code != "TOO_MANY_ATTEMPTS" || e[0].RetryAfter == nil || *e[0].RetryAfter != 1 {
		t.Errorf("the sixth attempt: got %+v, want TOO_MANY_ATTEMPTS, 1 s", e)
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
	for deadline := time.Now().Add(20 * time.Second); ; {
		got := a.ask(token, `{ viewer { profile { name } } }`, nil, nil)
		if len(got.Errors) > 0 { // foreign SQL shows within the grant's window
			if code := got.Errors[0].Extensions["code"]; code != "UNAUTHENTICATED" {
				t.Errorf("blocked: got code %v, want UNAUTHENTICATED", code)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("blocked 20 s ago: the token still works")
		}
	}
}

func TestGuards_RefuseWhatTheyCantRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, g := range map[string]Guards{
		"a proxy's name":         {TrustedProxies: []string{"proxy.example.org"}},
		"keys without an issuer": {Provider: ProviderOptions{URL: "https://id.example/keys"}},
	} {
		i, err := newInstance(t.Context(), ServeOptions{
			DatabaseURL: w.database, DatabaseConns: 2, RedisURL: w.redis, RedisConns: 2, Service: w.service(), Guards: g,
		})
		if err == nil {
			i.close()
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
