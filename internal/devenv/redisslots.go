package devenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// MoveSlots moves slots of a cluster, as `redis-cli --cluster reshard` does: each to the primary that comes after its owner
// in Nodes, so that as many moves as there are primaries bring it home. Clients are redirected meanwhile. Halfway, if not
// nil, is called while all of the slots are between two owners, some of their keys with the one and some with the other.
func (g *RedisGroup) MoveSlots(ctx context.Context, halfway func(), slots ...int) (err error) {
	all, err := g.primaries(ctx)
	if err != nil {
		return fmt.Errorf("move slots: %w", err)
	}
	defer func() {
		for _, p := range all {
			p.client.Close()
		}
	}()
	moves := make([]move, len(slots))
	for i, slot := range slots {
		owner := slices.IndexFunc(all, func(p primary) bool { return p.owns(slot) })
		if owner < 0 {
			return fmt.Errorf("move slot %d: it has no owner", slot)
		}
		moves[i] = move{slot, all[owner], all[(owner+1)%len(all)], g.Password}
		if err := moves[i].begin(ctx, i%2 == 0); err != nil {
			return fmt.Errorf("move slot %d: %w", slot, err)
		}
	}
	if halfway != nil {
		halfway()
	}
	for _, m := range moves {
		if err := m.end(ctx, all); err != nil {
			return fmt.Errorf("move slot %d: %w", m.slot, err)
		}
	}
	return nil
}

type primary struct {
	client *redis.Client
	id     string
	ranges []redis.ClusterSlot
}

func (p primary) owns(slot int) bool {
	return slices.ContainsFunc(p.ranges, func(r redis.ClusterSlot) bool { return r.Start <= slot && slot <= r.End })
}

// primaries are those of a cluster, in the order of Nodes.
func (g *RedisGroup) primaries(ctx context.Context) (all []primary, err error) {
	var ranges []redis.ClusterSlot
	for _, node := range g.Nodes {
		c := redis.NewClient(&redis.Options{Addr: node.Addr, Password: g.Password})
		//lint:ignore SA1019 deprecated with Redis 7, but all versions have it, and its form is the simpler one
		ranges, err = c.ClusterSlots(ctx).Result()
		c.Close()
		if err == nil {
			break
		}
	}
	for _, node := range g.Nodes {
		p := primary{}
		for _, r := range ranges {
			if r.Nodes[0].Addr == node.Addr {
				p.id, p.ranges = r.Nodes[0].ID, append(p.ranges, r)
			}
		}
		if p.id != "" {
			p.client = redis.NewClient(&redis.Options{Addr: node.Addr, Password: g.Password})
			all = append(all, p)
		}
	}
	return all, err
}

// move is a slot on its way.
type move struct {
	slot           int
	source, target primary
	password       string
}

// begin moves about half of the keys. Of a single one, that is all or nothing.
func (m *move) begin(ctx context.Context, more bool) error {
	err := m.target.client.Do(ctx, "CLUSTER", "SETSLOT", m.slot, "IMPORTING", m.source.id).Err()
	if err == nil {
		err = m.source.client.Do(ctx, "CLUSTER", "SETSLOT", m.slot, "MIGRATING", m.target.id).Err()
	}
	if err != nil {
		return err
	}
	keys, err := m.source.client.ClusterCountKeysInSlot(ctx, m.slot).Result()
	if more {
		keys++
	}
	if err != nil || keys/2 == 0 {
		return err
	}
	_, err = m.migrate(ctx, int(keys/2))
	return err
}

// end moves what is left, and tells the primaries of the new owner, whose replicas hear it from them.
func (m *move) end(ctx context.Context, all []primary) error {
	for {
		moved, err := m.migrate(ctx, 100)
		if err != nil {
			return err
		}
		if moved == 0 {
			break
		}
	}
	var errs []error
	for _, p := range append([]primary{m.target, m.source}, all...) {
		errs = append(errs, p.client.Do(ctx, "CLUSTER", "SETSLOT", m.slot, "NODE", m.target.id).Err())
	}
	return errors.Join(errs...)
}

// migrate moves so many of the keys at most. Those that expire meanwhile count too.
func (m *move) migrate(ctx context.Context, most int) (moved int, err error) {
	keys, err := m.source.client.ClusterGetKeysInSlot(ctx, m.slot, most).Result()
	host, port, _ := strings.Cut(m.target.client.Options().Addr, ":")
	for _, key := range keys {
		err = errors.Join(err, m.source.client.Do(ctx, "MIGRATE", host, port, key, 0, 5000, "REPLACE", "AUTH", m.password).Err())
	}
	return len(keys), err
}
