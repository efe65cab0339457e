// Package doctor looks for what keeps a deployment from being fresh, fast or safe, and says how to mend it.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"

	"freshet/internal/redisconn"
)

// Level says how bad a finding is.
type Level string

// Away is a server that can't be asked. Mend is something that costs freshness, speed or safety; Warning may be meant.
const (
	Fine    Level = "fine"
	Warning Level = "warning"
	Mend    Level = "mend"
	Away    Level = "away"
)

// Finding is what was seen of one thing, and what to do about it; Advice is empty for what is fine.
type Finding struct {
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	Seen   string `json:"seen"`
	Advice string `json:"advice,omitempty"`
}

// Deployment is what is examined. DB must lend three connections at a time, and so must LogDB.
type Deployment struct {
	DB *bun.DB
	// LogDB leads to the same database past a pooler, for the change log; nil: DB does.
	LogDB *bun.DB
	// Replica is a streaming replica of DB; nil: there is none.
	Replica *bun.DB
	Redis   redis.UniversalClient
	// Sentinels are those that Redis is found by; nil or empty: none.
	Sentinels *redisconn.Sentinels
}

// Examine looks at PostgreSQL and Redis, and changes nothing. It takes a few round trips, and seconds more if there are
// changes that wait, or a replica that lags; each server that can't be asked is one finding.
func Examine(ctx context.Context, d Deployment) []Finding {
	return examine(ctx, d, timing{move: time.Second, late: 100 * time.Millisecond, catchUp: 3 * time.Second, pooler: 5 * time.Second})
}

// timing is how long an examination waits, and what it calls late.
type timing struct {
	move    time.Duration // until a change has to be in the log
	late    time.Duration // a replica catches up later than reads wait for it
	catchUp time.Duration // until it waits for a replica no longer
	pooler  time.Duration // to tell a pooler from PostgreSQL
}

func examine(ctx context.Context, d Deployment, by timing) []Finding {
	e := &examination{timing: by}
	e.postgres(ctx, d)
	if d.Replica != nil {
		e.replica(ctx, d.DB, d.Replica)
	}
	watched := d.Sentinels != nil && len(d.Sentinels.Clients) > 0
	e.redis(ctx, d.Redis, watched)
	if watched {
		e.sentinels(ctx, d.Sentinels)
	}
	return e.found
}

type examination struct {
	timing
	found []Finding
}

func (e *examination) fine(check, format string, args ...any) {
	e.found = append(e.found, Finding{Check: check, Level: Fine, Seen: fmt.Sprintf(format, args...)})
}

func (e *examination) add(level Level, check, seen, advice string) {
	e.found = append(e.found, Finding{check, level, seen, advice})
}

// judge adds a finding that is fine, or of the level if bad.
func (e *examination) judge(bad bool, level Level, check, seen, advice string) {
	if bad {
		e.add(level, check, seen, advice)
		return
	}
	e.fine(check, "%s", seen)
}

// clock compares a server's clock with this host's. The server told its time at some moment between before and after.
func (e *examination) clock(check string, before, after, server time.Time) {
	const apart = time.Second
	uncertain := after.Sub(before) / 2
	difference := server.Sub(before.Add(uncertain))
	e.judge(difference.Abs()-uncertain > apart, Warning, check, fmt.Sprintf("clock differs from this host's by %s", difference.Round(time.Millisecond)),
		"synchronise both with NTP: entries expire by wall clocks, though freshness does not depend on them")
}
