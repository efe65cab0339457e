package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"freshet/cmd/bench/internal/blast"
	"freshet/cmd/bench/internal/rig"
	"freshet/internal/seed"
)

// ratio is the throughput of hits to the bare handler's, the median of some rounds.
func (m *hitRun) ratio(ctx context.Context, tier, bare string) (float64, error) {
	const rounds = 3
	var ratios []float64
	body := hitByHash(false)
	for range rounds {
		hits, _, err := blast.Throughput(ctx, m.target(m.servers[tier], body, "gzip"), hitConnections, hitLong)
		if err != nil {
			return 0, err
		}
		others, _, err := blast.Throughput(ctx, m.bare(bare, body, "gzip"), hitConnections, hitLong)
		if err != nil {
			return 0, err
		}
		ratios = append(ratios, hits/others)
	}
	return median(ratios), nil
}

// growth looks whether hits mind how much there is.
func (m *hitRun) growth(ctx context.Context, out *hitReport, s settings) error {
	body, err := m.sample(ctx, "gzip")
	if err != nil {
		return err
	}
	if err := m.baselines.put(ctx, body, "gzip"); err != nil {
		return err
	}
	few, err := m.ratio(ctx, "redis", "/get")
	if err != nil {
		return err
	}
	if err := m.rig.Redis.Eval(ctx, `for i = 1, ARGV[1] do redis.call('SET', 'bench:other:' .. i, string.rep('x', 500)) end`, nil, hitEntries).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("fill Redis: %w", err)
	}
	many, err := m.ratio(ctx, "redis", "/get")
	if err != nil {
		return err
	}
	out.ManyEntriesRatio = many / few
	if s.rig.Size == seed.Small {
		return nil
	}
	here, err := m.ratio(ctx, "memory", "/memory")
	if err != nil {
		return err
	}
	there, err := smallHits(ctx, s)
	if err != nil {
		return err
	}
	out.SizeRatio = here / there
	return nil
}

// smallHits is the ratio of hits in memory to the bare handler over the small data.
func smallHits(ctx context.Context, s settings) (_ float64, err error) {
	s.rig.Dir, s.rig.Size = "", seed.Small
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return 0, err
	}
	defer closing(ctx, r, &err)
	m, err := newHitRun(ctx, r)
	if err != nil {
		return 0, err
	}
	defer m.close()
	body, err := m.sample(ctx, "gzip")
	if err != nil {
		return 0, err
	}
	if err := m.baselines.put(ctx, body, "gzip"); err != nil {
		return 0, err
	}
	return m.ratio(ctx, "memory", "/memory")
}
