package freshness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cmd/bench/internal/proxy"
)

// network delays, cuts and stalls what one instance after the other has with Redis and PostgreSQL.
func network(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	const delay, jitter = 20 * time.Millisecond, 10 * time.Millisecond
	cuts, stalls, delays, slowest, turn := 0, 0, 0, time.Duration(0), 0
	err := r.during(ctx, 300*time.Millisecond, func() error {
		i := r.bed.instances[turn%instances]
		turn++
		both := []*proxy.Proxy{i.redis, i.postgres}
		for _, p := range both {
			if err := p.Delay(delay, jitter); err != nil {
				return err
			}
		}
		delays++
		slowest = max(slowest, r.ping(ctx, i))
		sleep(ctx, r.During/10)
		for _, p := range both {
			if err := p.Mend(); err != nil {
				return err
			}
			for _, harm := range []func() error{func() error { p.Cut(); return refuses(p) }, p.Stall} {
				if err := r.harm(ctx, i, p, harm); err != nil {
					return err
				}
				sleep(ctx, 200*time.Millisecond)
			}
			cuts, stalls = cuts+1, stalls+1
		}
		return nil
	})
	var errs []error
	for _, i := range r.bed.instances {
		errs = append(errs, i.redis.Mend(), i.postgres.Mend())
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if slowest < 2*(delay-jitter) {
		return nil, fmt.Errorf("%w: a delayed ping took %s", errNoFault, slowest)
	}
	return proven(map[string]any{"cuts": cuts, "stalls": stalls, "delays": delays, "pingUnderDelayMs": ms(slowest)}, "cuts", "stalls", "delays")
}

// harm does what it is told to one of an instance's proxies, for a while.
func (r *run) harm(ctx context.Context, i *instance, p *proxy.Proxy, harm func() error) error {
	if p == i.postgres {
		defer r.apart(i)()
	}
	if err := harm(); err != nil {
		return err
	}
	sleep(ctx, 300*time.Millisecond)
	return p.Mend()
}

// ping goes through an instance's proxy.
func (r *run) ping(ctx context.Context, i *instance) time.Duration {
	c := redis.NewClient(&redis.Options{Addr: i.redis.Addr(), Password: r.bed.primary.Password})
	defer c.Close()
	begin := r.clock()
	if c.Ping(ctx).Err() != nil {
		return 0
	}
	return r.clock() - begin
}

func refuses(p *proxy.Proxy) error {
	conn, err := net.DialTimeout("tcp", p.Addr(), time.Second)
	if err != nil {
		return nil
	}
	conn.Close()
	return fmt.Errorf("%w: a cut proxy lets through", errNoFault)
}

// clocks gives two of the instances other clocks than the third: days ahead, in time namespaces. Grants are measured on
// such clocks. Then the wall clocks of all three step, each elsewhere: what entries end on.
func clocks(ctx context.Context, r *run, _ *load) (map[string]any, error) {
	offsets := []int{86_400, 7 * 86_400}
	evidence := make(map[string]any)
	for n, offset := range offsets {
		i := r.bed.instances[n+1]
		if err := r.bed.stop(i); err != nil {
			return nil, err
		}
		seconds := strconv.Itoa(offset)
		if err := r.bed.start(ctx, i, "unshare", "--time", "--boottime", seconds, "--monotonic", seconds); err != nil {
			return nil, fmt.Errorf("another clock needs Linux and root: %w", errors.Join(err, r.bed.start(ctx, i)))
		}
		ahead, err := bootOffset(i.server.Load().PID())
		if err != nil {
			return nil, err
		}
		evidence[i.name+"AheadSeconds"] = ahead
		sleep(ctx, r.During/4)
	}
	var err error
	if evidence["wallClockSteps"], err = r.stepClocks(ctx); err != nil {
		return nil, err
	}
	for n := range offsets {
		i := r.bed.instances[n+1]
		if err := errors.Join(r.bed.stop(i), r.bed.start(ctx, i)); err != nil {
			return nil, err
		}
	}
	return proven(evidence, "instance-2AheadSeconds", "instance-3AheadSeconds", "wallClockSteps")
}

// stepClocks steps the wall clocks of the instances' caches, forwards and back, and ends with the machine's time.
func (r *run) stepClocks(ctx context.Context) (steps int, err error) {
	ways := [instances]time.Duration{1, -1, 2}
	aheads := []time.Duration{time.Second, time.Minute, -time.Hour, 24 * time.Hour, -24 * time.Hour, 0}
	for _, ahead := range aheads {
		for n, i := range r.bed.instances {
			if err := i.server.Load().StepClock(ctx, ways[n]*ahead); err != nil {
				return steps, err
			}
			steps++
		}
		sleep(ctx, r.During/2/time.Duration(len(aheads)))
	}
	return steps, nil
}

// bootOffset is what a process's time namespace adds to the clock that runs through a suspend.
func bootOffset(pid int) (seconds int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/timens_offsets", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "boottime" {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, errors.New("no offset of the boot clock")
}
