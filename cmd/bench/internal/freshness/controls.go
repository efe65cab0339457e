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
	"freshet/cmd/bench/internal/proxy"
	"freshet/cmd/bench/internal/rig"
	"freshet/internal/devenv"
)

// Controls runs caches that are known to be stale under the checker, which must notice each. No instance of Freshet may
// run over the database meanwhile. Each goes on until there were so many reads, and a stale one among them.
func Controls(ctx context.Context, r *rig.Rig, reads int) ([]Control, error) {
	all := &controls{r, naive.Rows{DB: r.DB}, reads}
	var found []Control
	for _, c := range []struct {
		name  string
		fails part
		run   func(context.Context) (Control, error)
	}{
		{"plain SET/DEL", contents, all.setDel},
		{"tag sets under memory pressure", server, all.tagSets},
		{"the usual singleflight", elsewhere, all.singleflight},
		{"no waiting for acknowledgements", contents, all.hasty},
		{"deletes lost on the way", server, all.cutOff},
		{"deletes lost in a failover", servers, all.failedOver},
	} {
		if !c.fails.under(r.Form) {
			continue
		}
		one, err := c.run(ctx)
		if err != nil {
			return found, fmt.Errorf("negative control %s: %w", c.name, err)
		}
		one.Name = c.name
		found = append(found, one)
	}
	return found, nil
}

// controls are what all of them need.
type controls struct {
	rig   *rig.Rig
	rows  naive.Rows
	reads int // at least
}

func (a *controls) setDel(ctx context.Context) (Control, error) {
	return a.control(ctx, &naive.SetDel{Rows: a.rows, Redis: a.rig.Redis}, nil)
}

func (a *controls) singleflight(ctx context.Context) (Control, error) {
	return a.control(ctx, &naive.Singleflight{Rows: a.rows}, nil)
}

func (a *controls) tagSets(ctx context.Context) (_ Control, err error) {
	small, err := devenv.StartRedis(ctx, devenv.RedisOptions{
		Dir: filepath.Join(a.rig.Env.Dir, "small"), Settings: map[string]string{"maxmemory": "3mb", "maxmemory-samples": "10"},
	})
	if err != nil {
		return Control{}, err
	}
	defer func() { err = errors.Join(err, small.Stop(context.WithoutCancel(ctx))) }()
	client := redis.NewClient(&redis.Options{Addr: small.Addr, Password: small.Password})
	defer client.Close()
	c := &naive.TagSets{Rows: a.rows, Redis: client}
	n := 0
	return a.control(ctx, c, func(ctx context.Context) error {
		n++
		return c.Press(ctx, n)
	})
}

func (a *controls) hasty(ctx context.Context) (_ Control, err error) {
	h, err := naive.NewHasty(ctx, a.rows, a.rig.Env.Postgres.URL, a.rig.Redis, instances)
	if err != nil {
		return Control{}, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := until(ctx, "all may answer", func() (bool, error) { return h.Ready(), nil }); err != nil {
		return Control{}, err
	}
	return a.control(ctx, h, nil)
}

// cutOff fills entries, writes while Redis is out of reach, and reads on.
func (a *controls) cutOff(ctx context.Context) (out Control, err error) {
	p, err := proxy.Open(a.rig.Env.Redis.Addr)
	if err != nil {
		return out, err
	}
	defer p.Close()
	client := redis.NewClient(&redis.Options{Addr: p.Addr(), Password: a.rig.Env.Redis.Password, MaxRetries: -1})
	defer client.Close()
	t, err := a.begin(ctx, &naive.Forgiving{Rows: a.rows, Redis: client})
	if err != nil {
		return out, err
	}
	for _, id := range t.ids {
		t.write(ctx, id) // deletes what another control has left
		t.read(ctx, 0, id)
	}
	p.Cut()
	for _, id := range t.ids {
		t.write(ctx, id)
	}
	if err := p.Mend(); err != nil {
		return out, err
	}
	return out, t.run(ctx, nil, &out)
}

// failedOver loses the primary that has the entries, writes before a replica takes over, and reads on. Rows that are written
// all the time have no entry for half of it: the primary would be killed at such a moment often enough, and nothing left to
// be stale. So nothing is written while it dies, as is usual of a row that is cached.
func (a *controls) failedOver(ctx context.Context) (out Control, err error) {
	g := openGroup(a.rig.Group)
	defer g.close()
	c := &naive.Forgiving{Rows: a.rows, Redis: a.rig.Redis}
	t, err := a.begin(ctx, c)
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
	if err := t.run(ctx, nil, &out); err != nil {
		return out, err
	}
	now, err := g.await(ctx, slot, old)
	return out, errors.Join(err, old.Restart(ctx), g.rejoined(ctx, old, now))
}

const (
	controlKeys    = 2
	controlReaders = 4 // of an instance
	controlWrite   = 4 * time.Millisecond
	controlRead    = time.Millisecond
)

// trial is a control on its way.
type trial struct {
	cache   naive.Cache
	keys    map[int64]*history.Key
	ids     []int64
	clock   func() time.Duration
	least   int  // reads
	writing bool // is changed between stretches only

	writes atomic.Int64
	mu     sync.Mutex
	err    error
}

// control writes and reads a few rows. Beside is called every few milliseconds.
func (a *controls) control(ctx context.Context, c naive.Cache, beside func(context.Context) error) (out Control, err error) {
	t, err := a.begin(ctx, c)
	if err != nil {
		return out, err
	}
	t.writing = true
	err = t.run(ctx, beside, &out)
	return out, err
}

func (a *controls) begin(ctx context.Context, c naive.Cache) (*trial, error) {
	start := time.Now()
	t := &trial{cache: c, keys: map[int64]*history.Key{}, clock: func() time.Duration { return time.Since(start) }, least: a.reads}
	return t, t.prepare(ctx, a.rows)
}

// run adds to what was found so far, until there were enough reads, and a stale one among them.
func (t *trial) run(ctx context.Context, beside func(context.Context) error, out *Control) error {
	for end := t.clock() + rig.Hang; out.Stale == 0 || out.Reads < t.least; {
		if t.clock() > end {
			return fmt.Errorf("the checker saw %d stale reads of %d", out.Stale, out.Reads)
		}
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

// stretch is a moment of load. Nothing is under way when it returns.
func (t *trial) stretch(ctx context.Context, beside func(context.Context) error, out *Control) error {
	const moment = 250 * time.Millisecond
	working, stop := context.WithTimeout(ctx, moment)
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
