package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"freshet/cmd/bench/internal/rig"
)

// aggregateTurns is how often each is asked for with an empty cache, and how often with a full one.
const aggregateTurns = 11

// aggregatesReport is the result of measureAggregates.
type aggregatesReport struct {
	Machine    machine     `json:"machine"`
	Aggregates []aggregate `json:"aggregates"`
}

// aggregate is one list or sum. Times are in ms.
type aggregate struct {
	Name string `json:"name"`
	// First is with an empty Redis, before the operation was ever sent; Cold and Worst are of those after it.
	First float64 `json:"firstMs"`
	Cold  float64 `json:"coldP50Ms"`
	Worst float64 `json:"coldMaxMs"`
	SQL   float64 `json:"coldSQLMs"` // a request
	Warm  float64 `json:"warmP50Ms"`
}

func (r *aggregatesReport) print(w io.Writer) {
	fmt.Fprintf(w, "Top lists and statistics, %d times with an empty Redis and %d times with a full one, nothing in the process\n", aggregateTurns, aggregateTurns)
	r.Machine.print(w)
	rows := []string{"\tfirst ms\tcold p50 ms\tcold max ms\tof it SQL ms\twarm p50 ms"}
	for _, a := range r.Aggregates {
		rows = append(rows, fmt.Sprintf("%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f", a.Name, a.First, a.Cold, a.Worst, a.SQL, a.Warm))
	}
	table(w, rows...)
}

// aggregateOperations are what is asked for, by name.
func aggregateOperations() (names []string, operations []operation) {
	add := func(name, query string) {
		names, operations = append(names, name), append(operations, newOperation(query, nil))
	}
	for _, period := range []string{"DAY", "WEEK", "MONTH"} {
		add("topPosts "+period, "{ topPosts(period: "+period+") { id title author { name } counts { likes } } }")
	}
	add("topPosts MONTH, one category", `{ topPosts(period: MONTH, categories: ["science"]) { id title author { name } counts { likes } } }`)
	for _, period := range []string{"WEEK", "MONTH"} {
		add("topProfiles "+period, "{ topProfiles(period: "+period+") { id name counts { followers } } }")
	}
	add("statistics", "{ statistics { profiles posts likes follows } }")
	return names, operations
}

func measureAggregates(ctx context.Context, s settings) (_ report, err error) {
	r, err := rig.Open(ctx, s.rig)
	if err != nil {
		return nil, err
	}
	defer closing(ctx, r, &err)
	c := newClient()
	defer c.close()
	server, err := r.Start(ctx, "freshet", "--memory", "-1", "--result-memory", "-1")
	if err != nil {
		return nil, err
	}
	viewers, err := r.Viewers(ctx, 1)
	if err != nil {
		return nil, err
	}
	if err := c.awaitHits(ctx, server, viewers[0]); err != nil {
		return nil, err
	}
	out := &aggregatesReport{Machine: describe(ctx, r, s)}
	names, operations := aggregateOperations()
	for i, op := range operations {
		a, err := measureAggregate(ctx, r, func() error {
			body, err := c.ask(ctx, server, "", op)
			if err == nil {
				err = check(body)
			}
			return err
		}, server)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names[i], err)
		}
		a.Name = names[i]
		out.Aggregates = append(out.Aggregates, a)
	}
	return out, nil
}

func measureAggregate(ctx context.Context, r *rig.Rig, ask func() error, server *rig.Server) (a aggregate, err error) {
	var cold, warm []float64
	sql := func() float64 {
		counters, failed := server.Counters(ctx)
		if err == nil {
			err = failed
		}
		return 1000 * counters.Seconds("freshet_sql_duration_seconds")
	}
	turn := func(times *[]float64) {
		began := time.Now()
		if failed := ask(); err == nil {
			err = failed
		}
		*times = append(*times, ms(time.Since(began)))
	}
	before := sql()
	for range aggregateTurns {
		if failed := r.Redis.FlushAll(ctx).Err(); failed != nil {
			return a, fmt.Errorf("empty Redis: %w", failed)
		}
		turn(&cold)
	}
	a.SQL = (sql() - before) / aggregateTurns
	for range aggregateTurns {
		turn(&warm)
	}
	a.First, a.Cold, a.Worst, a.Warm = cold[0], median(cold), slices.Max(cold), median(warm)
	return a, err
}
