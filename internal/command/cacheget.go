package command

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"freshet/internal/inspect"
)

// CacheGet prints what is known of an entry in Redis: from when it is, until when, what makes it stale, and whether it is
// fresh now, by the change log, which an instance of its own follows for that. Values are not shown. Of o it uses what says
// where the caches are, JSON and Out.
func CacheGet(ctx context.Context, o ExplainOptions, key string) error {
	if err := o.complete(); err != nil {
		return err
	}
	if !strings.HasPrefix(key, o.Serve.Service+":") {
		key = o.Serve.Service + ":" + key
	}
	i, err := newInstance(ctx, o.Serve)
	if err != nil {
		return err
	}
	defer i.close()
	if err := i.granted(ctx); err != nil {
		return err
	}
	d, err := i.cache.Look(ctx, key)
	if err != nil {
		return err
	}
	found := inspect.KeyOf(d, time.Now())
	if o.JSON {
		return writeJSON(o.Out, found)
	}
	fresh := "fresh"
	if found.Miss != "" {
		fresh = "not used: " + found.Miss
	}
	if found.StaleBy != nil {
		fresh += fmt.Sprintf(", %s changed at position %d", found.StaleBy.Tag, found.StaleBy.Position)
	}
	position := "none"
	if found.AsOf != nil {
		position = fmt.Sprintf("%d of epoch %s", found.AsOf.At, found.AsOf.Epoch)
	}
	_, err = fmt.Fprintf(o.Out, "key    %s\nstate  %s\nage    %.1f s, %.1f s left\nas of  %s\nload   %.1f ms\nbytes  %d\nabsent %v\ntags   %s\n",
		found.Name, fresh, *found.Age, *found.TTL, position, float64(d.Load.Microseconds())/1000, found.Bytes, found.Absent,
		cmp.Or(strings.Join(found.Tags, " "), "none: it promises its TTL alone"))
	return err
}
