package freshness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/redis/go-redis/v9"

	"freshet/cmd/bench/internal/proxy"
	"freshet/cmd/bench/internal/rig"
	"freshet/internal/devenv"
)

const instances = 3

// instance is one of the servers, behind proxies of its own. Its process changes when it is killed and started again.
type instance struct {
	name     string
	number   int
	redis    *proxy.Proxy // nil where Redis is a group: its servers name each other to their clients
	postgres *proxy.Proxy
	server   atomic.Pointer[rig.Server] // nil while a load balancer would send it nothing
	writing  atomic.Int32               // mutations under way there
	apart    spans                      // when it could not reach PostgreSQL
	stops    atomic.Int64               // how often the process was stopped or let go on; odd while it is stopped
}

// bed is three instances over one PostgreSQL, and a group of Redis servers or one, with another to fail over to.
type bed struct {
	rig       *rig.Rig
	instances [instances]*instance

	group *group // nil: these two, with clients by server. They share a password.

	primary, replica *devenv.Redis
	direct, spare    *redis.Client

	starting sync.Mutex
}

func openBed(ctx context.Context, r *rig.Rig) (_ *bed, err error) {
	b := &bed{rig: r}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	if r.Group != nil {
		b.group = openGroup(r.Group)
	} else if err := b.openPair(ctx); err != nil {
		return nil, err
	}
	if err := b.noteCommits(ctx); err != nil {
		return nil, err
	}
	for n := range b.instances {
		if b.instances[n], err = b.openInstance(n); err != nil {
			return nil, err
		}
	}
	for _, i := range b.instances {
		if err := b.start(ctx, i); err != nil {
			return nil, err
		}
	}
	return b, until(ctx, "one of the instances is sequencer", func() (bool, error) {
		_, err := b.sequencer(ctx)
		return err == nil, err
	})
}

func (b *bed) openPair(ctx context.Context) (err error) {
	b.primary = b.rig.Env.Redis
	b.direct = redis.NewClient(&redis.Options{Addr: b.primary.Addr, Password: b.primary.Password})
	b.replica, err = devenv.StartRedis(ctx, devenv.RedisOptions{Dir: filepath.Join(b.rig.Env.Dir, "replica")})
	if err != nil {
		return err
	}
	own := redis.NewClient(&redis.Options{Addr: b.replica.Addr, Password: b.replica.Password})
	defer own.Close()
	if err := own.ConfigSet(ctx, "requirepass", b.primary.Password).Err(); err != nil {
		return fmt.Errorf("set up a second Redis: %w", err)
	}
	b.spare = redis.NewClient(&redis.Options{Addr: b.replica.Addr, Password: b.primary.Password})
	return errors.Join(b.letReplicate(ctx, b.spare), b.letReplicate(ctx, b.direct))
}

// letReplicate makes a Redis fit to follow the other, and to be followed at once. A restart undoes it.
func (b *bed) letReplicate(ctx context.Context, c *redis.Client) error {
	for setting, value := range map[string]string{"masterauth": b.primary.Password, "repl-diskless-sync-delay": "0"} {
		if err := c.ConfigSet(ctx, setting, value).Err(); err != nil {
			return fmt.Errorf("set up Redis to replicate: %w", err)
		}
	}
	return nil
}

func (b *bed) openInstance(n int) (*instance, error) {
	i := &instance{name: fmt.Sprintf("instance-%d", n+1), number: n}
	var err error
	if b.group == nil {
		if i.redis, err = proxy.Open(b.primary.Addr); err != nil {
			return nil, err
		}
	}
	address, err := url.Parse(b.rig.Env.Postgres.URL)
	if err != nil {
		return nil, err
	}
	i.postgres, err = proxy.Open(address.Host)
	return i, err
}

// start makes a process for an instance that has none, perhaps through another program.
func (b *bed) start(ctx context.Context, i *instance, through ...string) error {
	b.starting.Lock()
	defer b.starting.Unlock()
	env := []string{"DATABASE_URL=" + withHost(b.rig.Env.Postgres.URL, i.postgres.Addr())}
	if i.redis != nil {
		env = append(env, "REDIS_URL="+withHost(b.rig.Env.Redis.URL, i.redis.Addr()))
	}
	s, err := b.rig.Launch(ctx, rig.Launch{
		Name: i.name, Through: through, Args: []string{"--database-conns", "12"}, Env: env,
	})
	if err != nil {
		return err
	}
	i.server.Store(s)
	return nil
}

func withHost(address, host string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // devenv made it from its parts
	}
	u.Host = host
	return u.String()
}

// kill ends an instance's process as a crash would. It returns when it is gone.
func (b *bed) kill(i *instance) {
	s := i.server.Swap(nil)
	s.Signal(syscall.SIGKILL)
	<-s.Ended()
}

// pause stops an instance's process in its tracks, until resume is called.
func (i *instance) pause() (resume func()) {
	s := i.server.Load()
	i.stops.Add(1)
	s.Signal(syscall.SIGSTOP)
	return func() {
		s.Signal(syscall.SIGCONT)
		i.stops.Add(1)
	}
}

// stop ends it in order.
func (b *bed) stop(i *instance) error { return i.server.Swap(nil).Stop() }

// sequencer is the instance that holds the office, as PostgreSQL has it.
func (b *bed) sequencer(ctx context.Context) (*instance, error) {
	var name string
	if err := b.rig.DB.QueryRow(ctx, "SELECT sequencer FROM changelog.log_head").Scan(&name); err != nil {
		return nil, fmt.Errorf("look for the sequencer: %w", err)
	}
	for _, i := range b.instances {
		if i.name == name {
			return i, nil
		}
	}
	return nil, fmt.Errorf("look for the sequencer: %q is none of the instances", name)
}

// head is the log's.
func (b *bed) head(ctx context.Context) (term, epoch, position int64, err error) {
	err = b.rig.DB.QueryRow(ctx, "SELECT term, epoch, position FROM changelog.log_head").Scan(&term, &epoch, &position)
	return term, epoch, position, err
}

// least is the instance that a load balancer sends the next mutation to: one with the fewest under way. Nil if there is none.
func (b *bed) least() (best *instance) {
	for _, n := range rand.Perm(instances) {
		i := b.instances[n]
		if i.server.Load() != nil && (best == nil || i.writing.Load() < best.writing.Load()) {
			best = i
		}
	}
	return best
}

// others are the instances that are not this one.
func (b *bed) others(one *instance) (rest []*instance) {
	for _, i := range b.instances {
		if i != one {
			rest = append(rest, i)
		}
	}
	return rest
}

// follow makes the replica one, in step with the primary.
func (b *bed) follow(ctx context.Context) error { return replicate(ctx, b.spare, b.primary) }

// replicate makes a Redis a replica, and waits until it has everything.
func replicate(ctx context.Context, c *redis.Client, of *devenv.Redis) error {
	host, port := split(of.Addr)
	if err := c.ReplicaOf(ctx, host, port).Err(); err != nil {
		return fmt.Errorf("make a replica: %w", err)
	}
	return until(ctx, "the replica is in step", func() (bool, error) {
		role, err := c.Do(ctx, "ROLE").Slice()
		return err == nil && len(role) > 3 && role[0] == "slave" && role[3] == "connected", err
	})
}

func promote(ctx context.Context, c *redis.Client) error {
	if err := c.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		return fmt.Errorf("promote a replica: %w", err)
	}
	return nil
}

// failBack makes the primary what it was before a failover, without a loss: the replica is empty and alone afterwards.
func (b *bed) failBack(ctx context.Context) error {
	if err := replicate(ctx, b.direct, b.replica); err != nil {
		return err
	}
	if err := promote(ctx, b.direct); err != nil {
		return err
	}
	errs := []error{}
	for _, i := range b.instances {
		errs = append(errs, i.redis.Point(b.primary.Addr))
	}
	return errors.Join(append(errs, b.spare.FlushAll(ctx).Err())...)
}

func (b *bed) close(ctx context.Context) error {
	var errs []error
	for _, i := range b.instances {
		if i == nil {
			continue
		}
		if s := i.server.Load(); s != nil {
			s.Signal(syscall.SIGCONT)
			errs = append(errs, s.Stop())
		}
		for _, p := range []*proxy.Proxy{i.redis, i.postgres} {
			if p != nil {
				p.Close()
			}
		}
	}
	if b.group != nil {
		b.group.close()
	}
	for _, c := range []*redis.Client{b.direct, b.spare} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if b.replica != nil {
		errs = append(errs, b.replica.Stop(ctx))
	}
	return errors.Join(errs...)
}
