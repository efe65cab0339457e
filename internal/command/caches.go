package command

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"freshet/cache"
	"freshet/internal/changelog"
	"freshet/internal/inspect"
	"freshet/internal/persisted"
	"freshet/internal/server"
	"freshet/models"
)

// caches is what the playground's cache pages may do and show.
func (i *instance) caches() *server.Caches {
	return &server.Caches{
		Evict: func(ctx context.Context, name string) error {
			if err := i.cache.Evict(ctx, name); err != nil {
				return &models.Error{Code: models.CodeBadUserInput, Message: "there is no such entry in Redis or in this instance's memory", Err: err}
			}
			return nil
		},
		Stale: func(ctx context.Context, tag string) error {
			if !changelog.IsTag(tag) {
				return &models.Error{Code: models.CodeBadUserInput, Message: "a tag is like post:17, post:* or *"}
			}
			if err := changelog.Note(ctx, i.db.DB, tag); err != nil {
				return err
			}
			return i.node.Committed(ctx)
		},
		Overview: i.overview,
	}
}

// overview is a snapshot of this instance.
func (i *instance) overview(_ context.Context, first bool) any {
	const most = 15
	now, log, verified := time.Now(), i.node.Stats(), i.verifier.Stats()
	families, err := i.registry.Gather()
	if err != nil {
		i.options.Log.Warn("overview: some metrics can't be read", "error", err)
	}
	survey := i.cache.Survey(most)
	o := &inspect.Overview{
		At: now.UnixMilli(), Instance: i.itself(log, now), Log: officeOf(log.Office),
		Kinds:   inspect.KindsOf(families),
		Hottest: inspect.EntriesOf(i.options.Service, survey.Hottest, now),
		Largest: inspect.EntriesOf(i.options.Service, survey.Largest, now),
		Slowest: inspect.EntriesOf(i.options.Service, survey.Slowest, now),
		Memory:  []inspect.Memory{memoryOf("values", survey.Values), memoryOf("results", survey.Results)},

		Available: i.cache.Available(), Inconsistent: verified.Inconsistent, Verified: verified.Verified,
	}
	o.Redis = inspect.RedisOf(families)
	o.Builds = i.builds(families)
	if first {
		o.History = i.history.all()
	}
	return o
}

func (i *instance) itself(log changelog.Stats, now time.Time) inspect.Instance {
	return inspect.Instance{
		Name: cmp.Or(i.options.Name, "instance"), Granted: log.Granted, Position: log.Position.At, Epoch: inspect.Epoch(log.Position),
		Lag: log.Lag, SilenceMs: log.Silence.Milliseconds(), Sequencer: log.Sequencer, UptimeS: now.Sub(i.started).Seconds(),
	}
}

// builds are those that are known here, with what became of their requests since the start.
func (i *instance) builds(families []*dto.MetricFamily) []inspect.Build {
	builds := []inspect.Build{}
	for _, l := range i.library.Listings() {
		if n := len(builds); n == 0 || builds[n-1].App != l.App || builds[n-1].Build != l.Build {
			builds = append(builds, inspect.Build{App: l.App, Build: l.Build, State: stateOf(l.Active)})
		}
		p := l.Entry.Operation.Policy(nil)
		one := inspect.Served{ID: l.Entry.ID, Name: l.Entry.Label(), MaxAge: p.MaxAge.Seconds(), Scope: string(p.Scope)}
		inspect.CountServed(&one, families, l.App, l.Build)
		last := &builds[len(builds)-1]
		last.Operations = append(last.Operations, one)
	}
	return builds
}

func stateOf(active bool) string {
	if active {
		return string(persisted.Active)
	}
	return "not active"
}

func officeOf(o *changelog.Office) *inspect.ChangeLog {
	if o == nil {
		return nil
	}
	log := &inspect.ChangeLog{
		Head: o.Head.At, Settled: o.Settled, OutboxRows: o.OutboxRows, OldestTransactionMs: o.OldestTransaction.Milliseconds(),
	}
	for name, lag := range o.Instances {
		log.Instances = append(log.Instances, inspect.Lag{Name: name, Positions: lag.Positions, ForMs: lag.For.Milliseconds()})
	}
	slices.SortFunc(log.Instances, func(a, b inspect.Lag) int { return strings.Compare(a.Name, b.Name) })
	return log
}

func memoryOf(tier string, u cache.Usage) inspect.Memory {
	return inspect.Memory{Tier: tier, Entries: u.Entries, Bytes: u.Bytes, Limit: u.Limit}
}

// history is what the kinds had counted in the last ten minutes, for those who begin to watch.
type history struct {
	mu      sync.Mutex
	moments []inspect.Moment
}

func (h *history) add(m inspect.Moment) {
	const most = 61
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.moments) == most {
		h.moments = slices.Delete(h.moments, 0, 1)
	}
	h.moments = append(h.moments, m)
}

func (h *history) all() []inspect.Moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.moments)
}

// remember keeps the history while the instance runs.
func (i *instance) remember(ctx context.Context) {
	const pause = 10 * time.Second
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if families, err := i.registry.Gather(); err == nil {
			i.history.add(inspect.Moment{At: time.Now().UnixMilli(), Kinds: inspect.HitsOf(inspect.KindsOf(families))})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
