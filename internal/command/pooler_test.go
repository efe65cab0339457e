package command

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"freshet/internal/testenv"
)

// Behind a pooler in transaction mode, with the change log going past it, all is as without: more connections than the
// pooler has, reads, writes that show on every instance, rollbacks. Leases do not end here: each write was answered because
// the instances have acknowledged it.
func TestPooler_InTransactionMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	through := testenv.Pooler(t, w.database, nil)
	behind := func(o *ServeOptions) { o.DatabaseURL, o.LogDatabaseURL = through, w.database }
	a, b := w.startWith(behind), w.startWith(behind)
	var all sync.WaitGroup
	tokens := make([]string, 8)
	for n := range tokens {
		all.Go(func() { tokens[n], _ = a.person(fmt.Sprintf("person%d", n)) })
	}
	all.Wait()
	for n, token := range tokens {
		all.Go(func() {
			for i := range 5 {
				name := fmt.Sprintf("Name %d of %d", i, n)
				a.must(token, `mutation($n: String!) { updateProfile(input: {name: $n}) { profile { name } userErrors { message } } }`,
					map[string]any{"n": name}, nil)
				for _, at := range []*api{a, b} {
					at.wantAt(token, "viewer.profile.name", name, `{ viewer { profile { name } } }`, nil)
				}
			}
			a.must(token, feedQuery, nil, nil)
		})
	}
	all.Wait()
}

func TestPooler_LogOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), testenv.Database(t)
	o := w.options()
	o.LogDatabaseURL = other
	i, err := newInstance(t.Context(), o)
	if err == nil {
		i.close()
	}
	if err == nil || !strings.Contains(err.Error(), "another database") {
		t.Errorf("got %v, want a refusal", err)
	}
}
