package jwt

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithmOf a key that is not RSA; empty if there is none that we know.
func algorithmOf(key any) string {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return "ES256"
		}
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}

// refresh reads the keys unless that was begun less than rest ago. Those who come meanwhile wait for it, and do not read
// again. Keys that were read before stay in use if it fails.
func (v *Verifier) refresh(ctx context.Context, rest time.Duration) {
	select {
	case v.reading <- struct{}{}:
		defer func() { <-v.reading }()
	case <-ctx.Done():
		return
	}
	now := v.Now()
	if rest > 0 && !v.read.IsZero() && now.Sub(v.read) < rest {
		return
	}
	v.read = now
	// Not under the context of one request: others wait for the same.
	keys, err := v.fetch(context.WithoutCancel(ctx))
	if err != nil {
		v.Log.WarnContext(ctx, "jwt: the provider's keys were not read", "url", v.URL, "error", err)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys == nil || v.keys.text != keys.text {
		v.keys = keys
		v.known.InvalidateAll() // a key that was withdrawn vouches for nobody
	}
}

// keysLimit is in bytes.
const keysLimit = 256 << 10

func (v *Verifier) fetch(ctx context.Context) (*keySet, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.URL, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := v.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, keysLimit+1))
	if err != nil {
		return nil, err
	}
	if len(body) > keysLimit {
		return nil, fmt.Errorf("more than %d bytes", keysLimit)
	}
	return parseKeys(body)
}

// parseKeys leaves out keys that are for something else, or that we can't use: a provider may publish those too.
func parseKeys(body []byte) (*keySet, error) {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the answer is no JSON Web Key Set")
	}
	keys := &keySet{text: string(body)}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err != nil || !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" {
			continue
		}
		keys.keys = append(keys.keys, key)
	}
	if len(keys.keys) == 0 {
		return nil, errors.New("the answer has no public key for signatures")
	}
	return keys, nil
}
