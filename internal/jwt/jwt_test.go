package jwt

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider is a real server with real keys, and a clock that the test moves.
type provider struct {
	t       *testing.T
	url     string
	fetches atomic.Int64
	*Verifier

	mu     sync.Mutex
	answer func(w http.ResponseWriter)
	at     time.Time
}

// Keys take long to make; tests only read them.
var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey      = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey      = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
	rotatedKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newProvider(t *testing.T, change func(*Options)) *provider {
	t.Helper()
	p := &provider{t: t, at: time.Now().Truncate(time.Second)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		answer(w)
	}))
	p.url = server.URL
	p.publish(jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "rsa", Use: "sig"}, jose.JSONWebKey{Key: ecKey().Public(), KeyID: "ec"},
		jose.JSONWebKey{Key: edKey().Public(), KeyID: "ed", Algorithm: "EdDSA"})
	o := Options{URL: p.url, Issuer: "https://id.example", Audience: "freshet", Log: slog.New(slog.DiscardHandler), Now: p.now}
	if change != nil {
		change(&o)
	}
	p.Verifier = must(New(o))
	p.client.Timeout = 5 * time.Minute // no part of what is tested: only a hang reaches it
	t.Cleanup(func() { p.Close(); server.Close() })
	return p
}

func (p *provider) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *provider) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = p.at.Add(d)
}

func (p *provider) respond(answer func(http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *provider) publish(keys ...jose.JSONWebKey) {
	body := must(json.Marshal(jose.JSONWebKeySet{Keys: keys}))
	p.respond(func(w http.ResponseWriter) { w.Write(body) })
}

// claims of a good token, with changes; nil removes one.
func (p *provider) claims(changes map[string]any) map[string]any {
	all := map[string]any{
		"iss": "https://id.example", "aud": []string{"other", "freshet"}, "sub": "u-1", "exp": p.now().Add(time.Hour).Unix(),
		"scope": "admin  openid", "name": "Ann",
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

func sign(algorithm jose.SignatureAlgorithm, kid string, key any, claims map[string]any) string {
	options := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options))
	return must(must(signer.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

// forge writes a token by hand, with whatever header and signature.
func forge(header, claims map[string]any, signature func(signed string) []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(must(json.Marshal(header))) + "." + encode(must(json.Marshal(claims)))
	return signed + "." + encode(signature(signed))
}

func hs256(secret []byte) func(string) []byte {
	return func(signed string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		return mac.Sum(nil)
	}
}

func TestVerify_Algorithms(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	for name, token := range map[string]string{
		"RS256":         sign(jose.RS256, "rsa", rsaKey(), p.claims(nil)),
		"ES256":         sign(jose.ES256, "ec", ecKey(), p.claims(nil)),
		"EdDSA":         sign(jose.EdDSA, "ed", edKey(), p.claims(nil)),
		"without a kid": sign(jose.ES256, "", ecKey(), p.claims(nil)),
	} {
		claims, err := p.Verify(t.Context(), token)
		if err != nil || claims.Subject != "u-1" || claims.Name != "Ann" || !slices.Equal(claims.Scopes, []string{"admin", "openid"}) {
			t.Errorf("%s: got %+v, %v, want u-1, Ann, admin and openid", name, claims, err)
		}
	}
	if got := p.fetches.Load(); got != 1 {
		t.Errorf("fetches: got %d, want 1", got)
	}
}

func TestVerify_Refuses(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(o *Options) { o.Algorithms = []string{"RS256", "ES256"} })
	good := p.claims(nil)
	ok := sign(jose.ES256, "ec", ecKey(), good)
	parts := strings.Split(ok, ".")
	public := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	es := func(changes map[string]any) string { return sign(jose.ES256, "ec", ecKey(), p.claims(changes)) }
	none := func(string) []byte { return nil }
	own := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ownPublic := must(json.Marshal(jose.JSONWebKey{Key: own.Public(), KeyID: "ec"}))
	for name, token := range map[string]string{
		"empty":                        "",
		"two parts":                    "a.b",
		"no JWT":                       "a.b.c",
		"alg none":                     forge(map[string]any{"alg": "none", "kid": "ec"}, good, none),
		"alg None":                     forge(map[string]any{"alg": "None", "kid": "ec"}, good, none),
		"no alg":                       forge(map[string]any{"kid": "ec"}, good, none),
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"HS256 with the public key":    forge(map[string]any{"alg": "HS256", "kid": "rsa"}, good, hs256(public)),
		"HS256 with its PEM":           forge(map[string]any{"alg": "HS256", "kid": "rsa"}, good, hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))),
		"HS256 with the modulus":       forge(map[string]any{"alg": "HS256", "kid": "rsa"}, good, hs256(rsaKey().N.Bytes())),
		"an algorithm not allowed":     sign(jose.EdDSA, "ed", edKey(), good),
		"RS512":                        sign(jose.RS512, "rsa", rsaKey(), good),
		"another's key by our kid":     sign(jose.ES256, "ec", own, good),
		"another's key in the header":  forge(map[string]any{"alg": "ES256", "kid": "ec", "jwk": json.RawMessage(ownPublic)}, good, none),
		"a key of another kind":        sign(jose.ES256, "rsa", ecKey(), good),
		"changed claims":               parts[0] + "." + base64.RawURLEncoding.EncodeToString(must(json.Marshal(p.claims(map[string]any{"sub": "u-2"})))) + "." + parts[2],
		"an extension it must know":    forge(map[string]any{"alg": "ES256", "kid": "ec", "crit": []string{"x"}, "x": 1}, good, none),
		"another issuer":               es(map[string]any{"iss": "https://id.example/"}),
		"no issuer":                    es(map[string]any{"iss": nil}),
		"another audience":             es(map[string]any{"aud": "freshet2"}),
		"no audience":                  es(map[string]any{"aud": nil}),
		"expired":                      es(map[string]any{"exp": p.now().Add(-31 * time.Second).Unix()}),
		"no expiry":                    es(map[string]any{"exp": nil}),
		"an expiry beyond all numbers": es(map[string]any{"exp": json.Number("1e300")}),
		"not yet valid":                es(map[string]any{"nbf": p.now().Add(31 * time.Second).Unix()}),
		"from the future":              es(map[string]any{"iat": p.now().Add(time.Hour).Unix()}),
		"no subject":                   es(map[string]any{"sub": nil}),
		"an endless subject":           es(map[string]any{"sub": strings.Repeat("x", 256)}),
		"a subject with a zero":        es(map[string]any{"sub": "u-1\x00"}),
		"claims of another form":       es(map[string]any{"scope": []string{"admin"}}),
		"JWE":                          ok + ".x.y",
	} {
		if claims, err := p.Verify(t.Context(), token); !errors.Is(err, ErrInvalid) || claims != nil {
			t.Errorf("%s: got %+v, %v, want ErrInvalid", name, claims, err)
		}
	}
	for name, token := range map[string]string{
		"just expired":    es(map[string]any{"exp": p.now().Add(-29 * time.Second).Unix()}),
		"nearly valid":    es(map[string]any{"nbf": p.now().Add(29 * time.Second).Unix()}),
		"audience as one": es(map[string]any{"aud": "freshet"}),
	} {
		if _, err := p.Verify(t.Context(), token); err != nil {
			t.Errorf("%s: got %v, want it within the leeway", name, err)
		}
	}
}

func TestVerify_RememberedNotBeyondExpiry(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	token := sign(jose.ES256, "ec", ecKey(), p.claims(map[string]any{"exp": p.now().Add(time.Minute).Unix()}))
	for _, after := range []time.Duration{0, 59 * time.Second, 30 * time.Second} { // the last within the leeway
		p.pass(after)
		if _, err := p.Verify(t.Context(), token); err != nil {
			t.Fatalf("after %v: got %v, want it valid", after, err)
		}
	}
	p.pass(2 * time.Second)
	if _, err := p.Verify(t.Context(), token); !errors.Is(err, ErrInvalid) {
		t.Errorf("after its expiry and the leeway: got %v, want ErrInvalid", err)
	}
}

func TestVerify_Rotation(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	old := sign(jose.ES256, "ec", ecKey(), p.claims(nil))
	if _, err := p.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	p.publish(jose.JSONWebKey{Key: rotatedKey().Public(), KeyID: "ec-2"})
	fresh := sign(jose.ES256, "ec-2", rotatedKey(), p.claims(nil))
	if _, err := p.Verify(t.Context(), fresh); !errors.Is(err, ErrInvalid) {
		t.Errorf("new key within the cooldown: got %v, want ErrInvalid", err)
	}
	p.pass(11 * time.Second)
	if _, err := p.Verify(t.Context(), fresh); err != nil {
		t.Errorf("new key after the cooldown: got %v, want it read", err)
	}
	if _, err := p.Verify(t.Context(), old); !errors.Is(err, ErrInvalid) {
		t.Errorf("remembered token of the withdrawn key: got %v, want ErrInvalid", err)
	}
}

// However many made-up keys are named, the provider is asked no more than once a cooldown.
func TestVerify_UnknownKeys(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	var together sync.WaitGroup
	for i := range 200 {
		together.Go(func() {
			token := sign(jose.ES256, fmt.Sprint("kid", i), ecKey(), p.claims(nil))
			if _, err := p.Verify(t.Context(), token); !errors.Is(err, ErrInvalid) {
				t.Errorf("kid%d: got %v, want ErrInvalid", i, err)
			}
		})
	}
	together.Wait()
	if got := p.fetches.Load(); got != 1 {
		t.Errorf("fetches: got %d, want 1", got)
	}
}

func TestVerify_ProviderDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	good, token := p.answer, sign(jose.ES256, "ec", ecKey(), p.claims(nil))
	for name, answer := range map[string]func(http.ResponseWriter){
		"500":         func(w http.ResponseWriter) { w.WriteHeader(500) },
		"a redirect":  func(w http.ResponseWriter) { w.Header().Set("Location", p.url); w.WriteHeader(302) },
		"HTML":        func(w http.ResponseWriter) { w.Write([]byte("<html>")) },
		"no keys":     func(w http.ResponseWriter) { w.Write([]byte(`{"keys":[]}`)) },
		"secret keys": func(w http.ResponseWriter) { w.Write([]byte(`{"keys":[{"kty":"oct","kid":"ec","k":"c2VjcmV0"}]}`)) },
		"endless":     func(w http.ResponseWriter) { w.Write([]byte(`{"keys":[` + strings.Repeat(" ", keysLimit) + `]}`)) },
	} {
		p.respond(answer)
		if _, err := p.Verify(t.Context(), token); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s at the beginning: got %v, want ErrUnavailable", name, err)
		}
		p.pass(11 * time.Second)
	}
	p.respond(good)
	if _, err := p.Verify(t.Context(), token); err != nil {
		t.Fatalf("back: got %v, want it valid", err)
	}
	p.respond(func(w http.ResponseWriter) { w.WriteHeader(500) })
	p.refresh(t.Context(), 0)
	another := sign(jose.ES256, "ec", ecKey(), p.claims(map[string]any{"sub": "u-2"}))
	if _, err := p.Verify(t.Context(), another); err != nil {
		t.Errorf("down again: got %v, want the known keys to stay in use", err)
	}
}

func TestKeys_WeakOnesAreLeftOut(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	for name, key := range map[string]jose.JSONWebKey{
		"for encryption":       {Key: ecKey().Public(), KeyID: "ec", Use: "enc"},
		"for another alg":      {Key: ecKey().Public(), KeyID: "ec", Algorithm: "RS256"},
		"under another kid":    {Key: ecKey().Public(), KeyID: "other"},
		"of two without a kid": {Key: rotatedKey().Public(), KeyID: "ec"},
	} {
		p.publish(key)
		p.refresh(t.Context(), 0)
		if _, err := p.Verify(t.Context(), sign(jose.ES256, "ec", ecKey(), p.claims(nil))); err == nil {
			t.Errorf("key %s: got no error, want one", name)
		}
	}
	p.publish(jose.JSONWebKey{Key: ecKey().Public(), KeyID: "a"}, jose.JSONWebKey{Key: rotatedKey().Public(), KeyID: "b"})
	p.refresh(t.Context(), 0)
	if _, err := p.Verify(t.Context(), sign(jose.ES256, "", ecKey(), p.claims(nil))); !errors.Is(err, ErrInvalid) {
		t.Errorf("no kid and two keys: got %v, want ErrInvalid", err)
	}
}

func TestRun_ReadsAheadAndEnds(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(o *Options) { o.Refresh = time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	for p.fetches.Load() < 3 {
		if _, err := p.Verify(t.Context(), sign(jose.ES256, "ec", ecKey(), p.claims(nil))); err != nil {
			t.Errorf("meanwhile: got %v, want it valid", err)
		}
	}
	cancel()
	running.Wait()
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	good := Options{URL: "https://id.example/keys", Issuer: "i", Audience: "a"}
	for name, change := range map[string]func(*Options){
		"plain http":  func(o *Options) { o.URL = "http://id.example/keys" },
		"no URL":      func(o *Options) { o.URL = "" },
		"a file":      func(o *Options) { o.URL = "file:///etc/keys" },
		"no issuer":   func(o *Options) { o.Issuer = "" },
		"no audience": func(o *Options) { o.Audience = "" },
		"alg none":    func(o *Options) { o.Algorithms = []string{"none"} },
		"HMAC":        func(o *Options) { o.Algorithms = []string{"RS256", "HS256"} },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func BenchmarkVerify_Remembered(b *testing.B) {
	v := must(New(Options{URL: "http://127.0.0.1:1/", Issuer: "https://id.example", Audience: "freshet"}))
	defer v.Close()
	v.keys = &keySet{keys: []jose.JSONWebKey{{Key: rsaKey().Public(), KeyID: "rsa"}}}
	token := sign(jose.RS256, "rsa", rsaKey(), map[string]any{
		"iss": "https://id.example", "aud": "freshet", "sub": "u-1", "exp": time.Now().Add(time.Hour).Unix(),
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
