// Package opcache keeps the results of whole operations, from HTTP bytes to HTTP bytes: a hit is written out as it is
// stored, without GraphQL, JSON or compression.
package opcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"freshet/cache"
	"freshet/internal/operation"
	"freshet/internal/policy"
	"freshet/models"
)

// Kind is the name of whole results in keys, metrics and explanations.
const Kind = "operation"

// Options says where results are kept. Only Cache has no default.
type Options struct {
	Cache *cache.Cache
	// Version tells schemas and releases apart: results of another are misses.
	Version string
	// LocalBytes bounds the results in this process's memory, roughly. Default 64 MiB; negative: none.
	LocalBytes int64
	// MaxBytes is the largest result that is kept, as stored. Default 512 KiB.
	MaxBytes int
}

// Cache keeps results. It is safe for concurrent use.
type Cache struct {
	results *cache.Results
	zip     Zipper
}

// New adds the results of operations to a cache.
func New(o Options) *Cache {
	return &Cache{results: cache.NewResults(o.Cache, cache.ResultsOptions{
		Name: Kind, Version: o.Version, LocalBytes: o.LocalBytes, MaxBytes: o.MaxBytes, Open: open,
	})}
}

// Base names the result of an operation with its variables, whoever asks. It never changes.
type Base struct {
	name       string
	private    bool
	authorised bool
	// MaxAge is how long a result may be kept at most.
	MaxAge time.Duration
}

// BaseOf returns the base of an operation's results with these variables; nil if they are never kept.
func BaseOf(op *operation.Operation, v *operation.Variables) *Base {
	if op.Type != ast.Query || !op.Cacheable() {
		return nil
	}
	p := op.Policy(v)
	if p.MaxAge <= 0 {
		return nil
	}
	// Conditions on variables may leave the private parts out. The variables are in the name, so such results can be
	// shared.
	sum := sha256.Sum256([]byte(v.Canonical))
	return &Base{
		name:    hex.EncodeToString(op.Hash[:16]) + ":" + hex.EncodeToString(sum[:16]),
		private: p.Scope == policy.Private, authorised: p.Authorised, MaxAge: p.MaxAge,
	}
}

// Key names a result for those who may share it. Two who may not have different keys.
type Key struct {
	text string
	// Private tells that the result is one viewer's, with the scopes of their session. What is not private must be made
	// without any viewer.
	Private bool
}

// String is the key within the kind, as in Redis.
func (k Key) String() string { return k.text }

// plain is the key of the form that is not compressed.
func (k Key) plain() string { return k.text + ":plain" }

// Key of a viewer's result, or of everybody's; viewer is nil for those who are not signed in. It is false for a private
// result of nobody, which is never kept.
func (b *Base) Key(viewer *models.Viewer) (Key, bool) {
	if !b.private && !b.authorised {
		return Key{text: b.name + ":public"}, true
	}
	if viewer == nil {
		return Key{}, false
	}
	// What a session may see depends on its scopes, so another session of the same viewer may have another result.
	text := b.name + ":user:" + viewer.ID.String() + ":"
	if len(viewer.Scopes) > 0 {
		scopes := make([]string, len(viewer.Scopes))
		for i, scope := range viewer.Scopes {
			scopes[i] = url.QueryEscape(scope)
		}
		slices.Sort(scopes)
		text += strings.Join(scopes, "+")
	}
	return Key{text: text, Private: true}, true
}

// Execute runs an operation. It returns the response's body, and how long that may be kept at most; 0 if it may not.
type Execute func(ctx context.Context) (body []byte, maxAge time.Duration)

// Get returns a result that nothing has changed since, compressed where gzip is accepted and worth it.
func (c *Cache) Get(ctx context.Context, key Key, gzip bool) (*Answer, bool) {
	name := key.text
	if !gzip {
		name = key.plain()
	}
	found, ok := c.results.Get(ctx, name)
	if !gzip && (!ok || found.Early) { // a refresh makes the other form, and this one follows from it
		if stored, there := c.results.Get(ctx, key.text); there {
			if found = c.inflate(stored, key); found != nil {
				found.Early = stored.Early // the reader's own, like found
			}
			ok = found != nil
		}
	}
	if !ok {
		return nil, false
	}
	return newAnswer(found, key), true
}

// inflate keeps the plain form beside the other, so that the next who asks for it gets it as stored. Nil if it can't be
// made.
func (c *Cache) inflate(found *cache.Result, key Key) *cache.Result {
	stored := found.Value.(*form)
	body := stored.body
	if stored.gzip {
		var err error
		if body, err = c.zip.Expand(body); err != nil {
			return nil
		}
	}
	return c.results.Derive(found, key.plain(), encode(body, false, stored.sum))
}

// Do has a result made that Get has missed. Those who ask for one key at the same time have it made once. Ran tells that
// this caller's execute ran: answer is then nil if the result may not be kept, and the caller has to send what execute
// made. If neither, ctx has ended. Execute does not end with ctx: it needs a time limit of its own.
func (c *Cache) Do(ctx context.Context, key Key, gzip bool, execute Execute) (a *Answer, ran bool) {
	kept, ran := c.results.Do(ctx, key.text, c.maker(execute))
	if kept != nil && !gzip {
		kept = c.inflate(kept, key)
	}
	if kept == nil {
		return nil, ran
	}
	return newAnswer(kept, key), ran
}

// Refresh makes a result anew, for an answer that is early.
func (c *Cache) Refresh(ctx context.Context, key Key, execute Execute) {
	c.results.Refresh(ctx, key.text, c.maker(execute))
}

// maker has execute make the stored form.
func (c *Cache) maker(execute Execute) func(context.Context) ([]byte, time.Duration) {
	return func(ctx context.Context) ([]byte, time.Duration) {
		body, maxAge := execute(ctx)
		if maxAge <= 0 {
			return nil, 0
		}
		sum := sumOf(body)
		if len(body) < LeastGzip {
			return encode(body, false, sum), maxAge
		}
		return encode(c.zip.Compress(body), true, sum), maxAge
	}
}
