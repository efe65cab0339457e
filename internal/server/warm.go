package server

import (
	"context"

	"freshet/internal/opcache"
)

// Warm has the results of the operations that active builds use most made, the first n, as far as they are everybody's and
// need no variables: a new instance then begins with what most will ask it for. All operations of active builds are in
// memory, compiled, without it. It ends early with ctx, and returns how many results there are now.
func (s *Server) Warm(ctx context.Context, n int) (made int) {
	e := s.endpoint
	if e.results == nil || s.options.Persisted.Library == nil {
		return 0
	}
	for _, entry := range s.options.Persisted.Library.Hottest(n) {
		variables, errs := entry.Operation.Variables(nil)
		if len(errs) > 0 || ctx.Err() != nil {
			continue
		}
		p := &prepared{operation: entry.Operation, variables: variables, result: opcache.BaseOf(entry.Operation, variables)}
		key, shared := e.key(p, nil)
		if !shared || key.Private {
			continue
		}
		if _, ok := e.results.Get(ctx, key, true); !ok {
			e.results.Refresh(ctx, key, (&making{endpoint: e, request: p}).execute)
		}
		made++
	}
	return made
}
