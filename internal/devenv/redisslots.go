package devenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// MoveSlots moves slots of one primary of a cluster, as `redis-cli --cluster reshard` does, to the primary that comes after it
// in Nodes, so that as many moves as there are primaries bring them home. Clients are redirected meanwhile. Halfway, if not
// nil, is called while all of the slots are between two owners, some of their keys with the one and some with the other.
func (g *RedisGroup) MoveSlots(ctx context.Context, halfway func(), slots ...int) error {
	all, err := g.primaries(ctx)
	if err != nil {
		return fmt.Errorf("move slots: %w", err)
	}
	defer func() {
		for _, p := range all {
			p.client.Close()
		}
	}()
	owner := slices.IndexFunc(all, func(p primary) bool { return p.ownsAll(slots) })
	if owner < 0 {
		return fmt.Errorf("move slots %v: no primary owns them all", slots)
	}
	m := move{all, all[owner], all[(owner+1)%len(all)], g.Password}
	for i, slot := range slots {
		if err := m.begin(ctx, slot, i%2 == 0); err != nil {
			return fmt.Errorf("move slot %d: %w", slot, err)
		}
	}
	if halfway != nil {
		halfway()
	}
	for _, slot := range slots {
		if err := m.end(ctx, slot); err != nil {
			return fmt.Errorf("move slot %d: %w", slot, err)
		}
	}
	return m.settle(ctx)
}

type primary struct {
	client *redis.Client
	id     string
	ranges []redis.ClusterSlot
}

func (p primary) ownsAll(slots []int) bool {
	return !slices.ContainsFunc(slots, func(slot int) bool {
		return !slices.ContainsFunc(p.ranges, func(r redis.ClusterSlot) bool { return r.Start <= slot && slot <= r.End })
	})
}

// primaries are the servers of a cluster that own slots, each by its own account, in the order of Nodes: others hear late of
// what has just been moved. Those that do not answer own none.
func (g *RedisGroup) primaries(ctx context.Context) (all []primary, err error) {
	for _, node := range g.Nodes {
		p := primary{client: redis.NewClient(&redis.Options{Addr: node.Addr, Password: g.Password})}
		//lint:ignore SA1019 deprecated with Redis 7, but all versions have it, and its form is the simpler one
		ranges, asked := p.client.ClusterSlots(ctx).Result()
		err = errors.Join(err, asked)
		for _, r := range ranges {
			if r.Nodes[0].Addr == node.Addr {
				p.id, p.ranges = r.Nodes[0].ID, append(p.ranges, r)
			}
		}
		if p.id == "" {
			p.client.Close()
			continue
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nobody owns slots: %w", err)
	}
	return all, nil
}

// move is slots on their way.
type move struct {
	all            []primary
	source, target primary
	password       string
}

// begin moves about half of a slot's keys. Of a single one, that is all or nothing.
func (m *move) begin(ctx context.Context, slot int, more bool) error {
	err := m.target.client.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", m.source.id).Err()
	if err == nil {
		err = m.source.client.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", m.target.id).Err()
	}
	if err != nil {
		return err
	}
	keys, err := m.source.client.ClusterCountKeysInSlot(ctx, slot).Result()
	if more {
		keys++
	}
	if err != nil || keys/2 == 0 {
		return err
	}
	_, err = m.migrate(ctx, slot, int(keys/2))
	return err
}

// end moves what is left, and tells the primaries of the new owner, whose replicas hear it from them.
func (m *move) end(ctx context.Context, slot int) error {
	for {
		moved, err := m.migrate(ctx, slot, 100)
		if err != nil {
			return err
		}
		if moved == 0 {
			break
		}
	}
	var errs []error
	for _, p := range append([]primary{m.target, m.source}, m.all...) {
		errs = append(errs, p.client.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", m.target.id).Err())
	}
	return errors.Join(errs...)
}

// migrate moves so many of a slot's keys at most. Those that expire meanwhile count too.
func (m *move) migrate(ctx context.Context, slot, most int) (moved int, err error) {
	keys, err := m.source.client.ClusterGetKeysInSlot(ctx, slot, most).Result()
	host, port, _ := strings.Cut(m.target.client.Options().Addr, ":")
	for _, key := range keys {
		err = errors.Join(err, m.source.client.Do(ctx, "MIGRATE", host, port, key, 0, 5000, "REPLACE", "AUTH", m.password).Err())
	}
	return len(keys), err
}

// settle waits until all primaries know of the configuration that the target's claim to the slots is part of. One that
// took a slot over under an older one would lose it to what the owner before had said earlier, and nobody would own it.
func (m *move) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, groupLimit)
	defer cancel()
	latest, err := epoch(ctx, m.target.client)
	for _, p := range m.all {
		err = errors.Join(err, until(ctx, func() (bool, error) {
			at, err := epoch(ctx, p.client)
			return at >= latest, err
		}))
	}
	if err != nil {
		return fmt.Errorf("wait until all know who owns moved slots: %w", err)
	}
	return nil
}

// epoch is the number of the latest configuration that a server of a cluster knows of.
func epoch(ctx context.Context, c *redis.Client) (n int, err error) {
	info, err := c.ClusterInfo(ctx).Result()
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(info, "cluster_current_epoch:")
	digits, _, _ := strings.Cut(after, "\r")
	return strconv.Atoi(digits)
}
