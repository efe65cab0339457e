// Package jwt verifies the signed tokens of one identity provider by the keys that it publishes.
package jwt

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/maypok86/otter/v2"
)

// Options of a Verifier. URL, Issuer and Audience have no default.
type Options struct {
	// URL of the provider's keys (JWKS): https, or http on a loopback address.
	URL string
	// Issuer and Audience that a token must name, to the letter.
	Issuer, Audience string
	// Algorithms that tokens may be signed with: RS256, ES256, EdDSA. Default: all three.
	Algorithms []string
	// Leeway for clocks that differ. Default 30 s.
	Leeway time.Duration
	// Refresh is how often the keys are read again. Default 10 minutes.
	Refresh time.Duration
	// Cooldown is how long a token of an unknown key has to wait for the keys to be read because of it, after they were
	// read the last time. Default 10 s.
	Cooldown time.Duration
	// Remember is how long a token that was verified is believed without its signature being checked again; never beyond
	// its expiry, nor beyond a change of the keys. Default 5 minutes.
	Remember time.Duration
	// Log is told of keys that can't be read. Default: slog.Default().
	Log *slog.Logger
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// Claims are what a verified token says. They never change.
type Claims struct {
	Subject string
	// Name is the holder's, if the token has it.
	Name string
	// Scopes are those of its scope claim.
	Scopes []string

	until time.Time // remembered
}

var (
	// ErrInvalid is that a token is not the provider's for us, or not now.
	ErrInvalid = errors.New("jwt: the token is not valid")
	// ErrUnavailable is that the provider's keys could not be read yet.
	ErrUnavailable = errors.New("jwt: the provider's keys are not known")
)

// Verifier verifies tokens. It is safe for concurrent use; the caller closes it.
type Verifier struct {
	Options
	algorithms []jose.SignatureAlgorithm
	client     http.Client
	known      *otter.Cache[[sha256.Size]byte, *Claims]

	mu   sync.Mutex
	keys *keySet // nil until they were first read

	reading chan struct{} // held by who reads the keys
	read    time.Time     // when that began the last time; by whoever holds reading
}

// mostRemembered tokens, each as long as a header may be.
const mostRemembered = 10_000

// New makes a Verifier. It does not connect.
func New(o Options) (*Verifier, error) {
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{string(jose.RS256), string(jose.ES256), string(jose.EdDSA)}
	}
	o.Leeway = cmp.Or(o.Leeway, 30*time.Second)
	o.Refresh = cmp.Or(o.Refresh, 10*time.Minute)
	o.Cooldown = cmp.Or(o.Cooldown, 10*time.Second)
	o.Remember = cmp.Or(o.Remember, 5*time.Minute)
	o.Log = cmp.Or(o.Log, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Issuer == "" || o.Audience == "" {
		return nil, errors.New("jwt: tokens need an issuer and an audience to be checked")
	}
	if err := checkURL(o.URL); err != nil {
		return nil, err
	}
	v := &Verifier{Options: o, reading: make(chan struct{}, 1)}
	for _, name := range o.Algorithms {
		if !slices.Contains([]string{"RS256", "ES256", "EdDSA"}, name) {
			return nil, fmt.Errorf("jwt: algorithm %q is not RS256, ES256 or EdDSA", name)
		}
		v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(name))
	}
	v.client = http.Client{
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	v.known = otter.Must(&otter.Options[[sha256.Size]byte, *Claims]{MaximumSize: mostRemembered})
	return v, nil
}

// checkURL refuses keys that anyone on the way could replace.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("jwt: the URL of the keys has the form https://host/path")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("jwt: keys are read by https alone, not from %s://%s", u.Scheme, u.Host)
}

// Close ends what runs in the background.
func (v *Verifier) Close() {
	v.known.StopAllGoroutines()
	v.client.CloseIdleConnections()
}

// Run reads the keys, and reads them again every now and then, until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	tick := time.NewTicker(v.Refresh)
	defer tick.Stop()
	for {
		v.refresh(ctx, 0)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Is tells whether a token has the form of a signed JWT.
func Is(token string) bool { return strings.Count(token, ".") == 2 }

// Verify returns what a token says. The error is ErrInvalid or ErrUnavailable, with the reason for the log.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	sum := sha256.Sum256([]byte(token))
	if claims, ok := v.known.GetIfPresent(sum); ok && v.Now().Before(claims.until) {
		return claims, nil
	}
	parsed, err := josejwt.ParseSigned(token, v.algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return nil, fmt.Errorf("%w: it is no JWT signed with %s", ErrInvalid, strings.Join(v.Algorithms, ", "))
	}
	keys, key, err := v.key(ctx, parsed.Headers[0])
	if err != nil {
		return nil, err
	}
	claims, expires, err := v.check(parsed, key)
	if err != nil {
		return nil, err
	}
	claims.until = v.Now().Add(v.Remember)
	if expires.Before(claims.until) {
		claims.until = expires
	}
	v.remember(sum, claims, keys)
	return claims, nil
}

// remember leaves out what was verified by keys that were replaced meanwhile.
func (v *Verifier) remember(sum [sha256.Size]byte, claims *Claims, by *keySet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys == by {
		v.known.Set(sum, claims)
	}
}

// payload is what we read of a token.
type payload struct {
	josejwt.Claims
	Scope string `json:"scope"`
	Name  string `json:"name"`
}

func (v *Verifier) check(parsed *josejwt.JSONWebToken, key *jose.JSONWebKey) (*Claims, time.Time, error) {
	var said payload
	if err := parsed.Claims(key, &said); err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	expected := josejwt.Expected{Issuer: v.Issuer, AnyAudience: josejwt.Audience{v.Audience}, Time: v.Now()}
	if err := said.ValidateWithLeeway(expected, v.Leeway); err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	const longest = 255
	if said.Expiry == nil || said.Subject == "" || len(said.Subject) > longest || strings.ContainsRune(said.Subject, 0) {
		return nil, time.Time{}, fmt.Errorf("%w: it lacks an expiry, or a subject that can be one", ErrInvalid)
	}
	return &Claims{Subject: said.Subject, Name: said.Name, Scopes: strings.Fields(said.Scope)}, said.Expiry.Time(), nil
}

// key is the one that a token says it was signed with. If it is not known the keys are read again, but not for each such
// token.
func (v *Verifier) key(ctx context.Context, header jose.Header) (*keySet, *jose.JSONWebKey, error) {
	for _, again := range []bool{false, true} {
		if again {
			v.refresh(ctx, v.Cooldown)
		}
		v.mu.Lock()
		keys := v.keys
		v.mu.Unlock()
		if key := keys.find(header); key != nil {
			return keys, key, nil
		}
		if again && keys == nil {
			return nil, nil, ErrUnavailable
		}
	}
	return nil, nil, fmt.Errorf("%w: none of the provider's keys fits", ErrInvalid)
}

// keySet is what the provider publishes. It never changes.
type keySet struct {
	keys []jose.JSONWebKey
	text string // to tell whether another is the same
}

// find is nil if no key fits, or if several do and the token names none of them.
func (s *keySet) find(header jose.Header) (found *jose.JSONWebKey) {
	if s == nil {
		return nil
	}
	for i := range s.keys {
		key := &s.keys[i]
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm ||
			!fits(key, header.Algorithm) {
			continue
		}
		if found != nil {
			return nil
		}
		found = key
	}
	return found
}

// fits tells whether a key is of the kind that an algorithm signs with; RSA keys under 2048 bits are of none.
func fits(key *jose.JSONWebKey, algorithm string) bool {
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return algorithm == "RS256" && k.N.BitLen() >= 2048
	default:
		return algorithm == algorithmOf(k)
	}
}
