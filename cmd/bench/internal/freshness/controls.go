package freshness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cmd/bench/internal/freshness/history"
	"freshet/cmd/bench/internal/freshness/naive"
	"freshet/cmd/bench/internal/rig"
	"freshet/internal/devenv"
)

// Controls runs caches that are known to be stale under the checker, which must notice each. No instance of Freshet may
// run over the database meanwhile.
func Controls(ctx context.Context, r *rig.Rig) ([]Control, error) {
	rows := naive.Rows{DB: r.DB}
	var found []Control
	for _, c := range []struct {
		name  string
		fails part
		run   func(context.Context, *rig.Rig, naive.Rows) (Control, error)
	}{
		{"plain SET/DEL", contents, setDel},
		{"tag sets under memory pressure", server, tagSets},
		{"the usual singleflight", elsewhere, singleflight},
		{"no waiting for acknowledgements", contents, hasty},
		{"deletes lost in a failover", servers, forgiving},
	} {
		if !c.fails.under(r.Form) {
			continue
		}
		one, err := c.run(ctx, r, rows)
		if err != nil {
			return found, fmt.Errorf("negative control %s: %w", c.name, err)
		}
		one.Name = c.name
		if found = append(found, one); one.Stale == 0 {
			return found, fmt.Errorf("negative control %s: the checker saw nothing in %d reads", c.name, one.Reads)
		}
	}
	return found, nil
}

func setDel(ctx context.Context, r *rig.Rig, rows naive.Rows) (Control, error) {
	return control(ctx, rows, &naive.SetDel{Rows: rows, Redis: r.Redis}, nil)
}

func singleflight(ctx context.Context, _ *rig.Rig, rows naive.Rows) (Control, error) {
	return control(ctx, rows, &naive.Singleflight{Rows: rows}, nil)
}

func tagSets(ctx context.Context, r *rig.Rig, rows naive.Rows) (_ Control, err error) {
	small, err := devenv.StartRedis(ctx, devenv.RedisOptions{
		Dir: filepath.Join(r.Env.Dir, "small"), Settings: map[string]string{"maxmemory": "3mb", "maxmemory-samples": "10"},
	})
	if err != nil {
		return Control{}, err
	}
	defer func() { err = errors.Join(err, small.Stop(context.WithoutCancel(ctx))) }()
	client := redis.NewClient(&redis.Options{Addr: small.Addr, Password: small.Password})
	defer client.Close()
	c := &naive.TagSets{Rows: rows, Redis: client}
	n := 0
	return control(ctx, rows, c, func(ctx context.Context) error {
		n++
		return c.Press(ctx, n)
	})
}

func hasty(ctx context.Context, r *rig.Rig, rows naive.Rows) (_ Control, err error) {
	h, err := naive.NewHasty(ctx, rows, r.Env.Postgres.URL, r.Redis, instances)
	if err != nil {
		return Control{}, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := until(ctx, 10*time.Second, "all may answer", func() (bool, error) { return h.Ready(), nil }); err != nil {
		return Control{}, err
	}
	return control(ctx, rows, h, nil)
}

// forgiving loses the primary that has its entries, writes before a replica takes over, and reads on. Rows that are written
// all the time have no entry for half of it: the primary would be killed at such a moment often enough, and nothing left to
// be stale. So nothing is written while it dies, as is usual of a row that is cached.
func forgiving(ctx context.Context, r *rig.Rig, rows naive.Rows) (out Control, err error) {
	g := openGroup(r.Group)
	defer g.close()
	c := &naive.Forgiving{Rows: rows, Redis: r.Redis}
	t, err := begin(ctx, rows, c)
	if err != nil {
		return out, err
	}
	slot, err := g.slotOf(ctx, c.Key(t.ids[0]))
	if err != nil {
		return out, err
	}
	old, err := g.await(ctx, slot, nil)
	if err != nil {
		return out, err
	}
	for _, t.writing = range []bool{true, false} { // then what the last writes deleted is filled
		if err := t.stretch(ctx, nil, &out); err != nil {
			return out, err
		}
	}
	if out.Stale > 0 {
		return out, fmt.Errorf("%d of %d reads were stale before the primary died", out.Stale, out.Reads)
	}
	if err := g.copied(ctx, old, c.Key(t.ids[0])); err != nil {
		return out, err
	}
	old.Kill()
	for _, id := range t.ids {
		t.write(ctx, id)
	}
	if err := t.run(ctx, promotion, nil, &out); err != nil {
		return out, err
	}
	now, err := g.await(ctx, slot, old)
	return out, errors.Join(err, old.Restart(ctx), g.rejoined(ctx, old, now))
}

const (
	controlKeys    = 2
	controlReaders = 4 // of an instance
	controlReads   = 5000
	controlWrite   = 4 * time.Millisecond
	controlRead    = time.Millisecond
	controlLimit   = 20 * time.Second
)

// trial is a control on its way.
type trial struct {
	cache   naive.Cache
	keys    map[int64]*history.Key
	ids     []int64
	clock   func() time.Duration
	writing bool // is changed between stretches only

	writes atomic.Int64
	mu     sync.Mutex
	err    error
}

// control writes and reads a few rows until there were enough reads, and a stale one among them, or time is up. Beside
// is called every few milliseconds.
func control(ctx context.Context, rows naive.Rows, c naive.Cache, beside func(context.Context) error) (out Control, err error) {
	t, err := begin(ctx, rows, c)
	if err != nil {
		return out, err
	}
	t.writing = true
	err = t.run(ctx, controlLimit, beside, &out)
	return out, err
}

func begin(ctx context.Context, rows naive.Rows, c naive.Cache) (*trial, error) {
	start := time.Now()
	t := &trial{cache: c, keys: map[int64]*history.Key{}, clock: func() time.Duration { return time.Since(start) }}
	return t, t.prepare(ctx, rows)
}

// run adds to what was found so far.
func (t *trial) run(ctx context.Context, limit time.Duration, beside func(context.Context) error, out *Control) error {
	for end := t.clock() + limit; t.clock() < end && (out.Stale == 0 || out.Reads < controlReads); {
		if err := t.stretch(ctx, beside, out); err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) prepare(ctx context.Context, rows naive.Rows) error {
	names, err := rows.DB.Query(ctx, `UPDATE profiles SET name = '0'
		WHERE id IN (SELECT id FROM profiles ORDER BY id LIMIT $1) RETURNING id`, controlKeys)
	if err != nil {
		return err
	}
	defer names.Close()
	for names.Next() {
		var id int64
		if err := names.Scan(&id); err != nil {
			return err
		}
		t.ids = append(t.ids, id)
		t.keys[id] = history.NewKey(fmt.Sprint("profile ", id), history.Fresh, 0)
	}
	return names.Err()
}

// stretch is a second of load. Nothing is under way when it returns.
func (t *trial) stretch(ctx context.Context, beside func(context.Context) error, out *Control) error {
	working, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	var work sync.WaitGroup
	for _, id := range t.ids {
		if t.writing {
			work.Go(func() { every(working, controlWrite, func() { t.write(ctx, id) }) })
		}
	}
	for n := range instances * controlReaders {
		turn := n
		work.Go(func() {
			every(working, controlRead, func() {
				turn++
				t.read(ctx, n%instances, t.ids[turn%len(t.ids)])
			})
		})
	}
	if beside != nil {
		work.Go(func() { every(working, 5*time.Millisecond, func() { t.fail(beside(ctx)) }) })
	}
	work.Wait()
	for _, key := range t.keys {
		s := key.Take()
		out.Reads, out.Stale = out.Reads+len(s.Reads), out.Stale+s.Check().Stale
	}
	return errors.Join(ctx.Err(), t.err)
}

func (t *trial) write(ctx context.Context, id int64) {
	key := t.keys[id]
	version := key.Invoked() + 1
	key.Invoke(version)
	begin := t.clock()
	if err := t.cache.Write(ctx, int(t.writes.Add(1))%instances, id, version); err != nil {
		key.Wrote(history.Write{Version: version, Invoked: begin, Answered: history.Never})
		t.fail(err)
		return
	}
	key.Wrote(history.Write{Version: version, Invoked: begin, Answered: t.clock()})
}

func (t *trial) read(ctx context.Context, instance int, id int64) {
	begin := t.clock()
	version, err := t.cache.Read(ctx, instance, id)
	if err != nil {
		t.fail(err)
		return
	}
	t.keys[id].Read(history.Read{Version: version, Begin: begin, End: t.clock(), Instance: instance})
}

func (t *trial) fail(err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}
