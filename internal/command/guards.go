package command

import (
	"freshet/internal/auth"
	"freshet/internal/clientaddr"
	"freshet/internal/jwt"
	"freshet/internal/ratelimit"
)

// Guards say who may ask for how much, and whose tokens are taken. The zero value limits nobody and takes our own alone.
type Guards struct {
	// Viewer and Address bound the cost of what each viewer and each client address asks for; a Rate of 0 does not.
	Viewer, Address Rate
	// TrustedProxies are networks that are believed where a request came from.
	TrustedProxies []string
	// Provider of identities; without a URL there is none.
	Provider ProviderOptions
}

// Rate is a budget of cost.
type Rate struct {
	// PerSecond is what may be spent in the long run, Burst what may be at once after a rest.
	PerSecond, Burst int
}

// ProviderOptions say whose JWTs are taken, and what they may do.
type ProviderOptions struct {
	URL, Issuer, Audience string
	Algorithms, Scopes    []string
	NewProfiles           bool
}

// guard makes what the guards need: limits, and the verifier of the provider's tokens if there is one.
func (i *instance) guard() (err error) {
	g := i.options.Guards
	if i.limits.Proxies, err = clientaddr.ParseProxies(g.TrustedProxies); err != nil {
		return err
	}
	i.limits.Viewer, i.limits.Address = i.limiter("viewer", g.Viewer), i.limiter("address", g.Address)
	if g.Provider.URL != "" {
		i.tokens, err = jwt.New(jwt.Options{
			URL: g.Provider.URL, Issuer: g.Provider.Issuer, Audience: g.Provider.Audience, Algorithms: g.Provider.Algorithms,
			Log: i.options.Log,
		})
	}
	return err
}

// limiter is nil, which lets everything through, without a rate.
func (i *instance) limiter(name string, r Rate) *ratelimit.Limiter {
	if r.PerSecond <= 0 {
		return nil
	}
	return ratelimit.New(ratelimit.Options{
		Name: name, Rate: float64(r.PerSecond), Burst: float64(max(r.Burst, r.PerSecond)),
		Redis: i.redis, Service: i.options.Service, Available: i.cache.Available, Log: i.options.Log,
	})
}

func (i *instance) newAuth() *auth.Auth {
	return auth.New(auth.Options{
		Store: i.store, Redis: i.redis, Service: i.options.Service, Available: i.cache.Available, Log: i.options.Log,
		Budget: i.options.tuning.redisBudget, HashCost: i.options.tuning.hashCost,
		Provider: auth.Provider{
			Tokens: i.tokens, Scopes: i.options.Guards.Provider.Scopes, NewProfiles: i.options.Guards.Provider.NewProfiles,
		},
	})
}

// runGuards settles limits and keeps the provider's keys fresh, until the instance stops.
func (i *instance) runGuards() {
	for _, l := range []*ratelimit.Limiter{i.limits.Viewer, i.limits.Address} {
		i.work.Go(func() { l.Run(i.background) })
	}
	if i.tokens != nil {
		i.work.Go(func() { i.tokens.Run(i.background) })
	}
}
