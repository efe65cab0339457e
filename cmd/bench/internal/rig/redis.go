package rig

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"freshet/internal/devenv"
	"freshet/internal/redisconn"
)

// Form is what kind of Redis the instances share.
type Form string

// The forms that REDIS_URL can name.
const (
	Single   Form = "single"
	Sentinel Form = "sentinel"
	Cluster  Form = "cluster"
)

// Describe says what servers there are.
func (f Form) Describe() string {
	switch f {
	case Sentinel:
		return "a primary with two replicas, and three Sentinels"
	case Cluster:
		return "a cluster of three primaries with a replica each"
	default:
		return "one server"
	}
}

// Forms lists all.
func Forms() []Form { return []Form{Single, Sentinel, Cluster} }

const (
	// dead is for how long a primary is silent before another takes its place: less than in production, so that a
	// measurement has time for several, and more than a server waits for a busy machine.
	dead = 2 * time.Second
	// connections to each server are this program's own.
	connections = 64
)

// openRedis starts the group of servers if the form is one. A single server runs already, and is left alone by a group.
func (r *Rig) openRedis(ctx context.Context) (err error) {
	o := devenv.RedisOptions{Dir: filepath.Join(r.Env.Dir, string(r.Form))}
	r.redisURL = r.Env.Redis.URL
	switch r.Form {
	case Single:
	case Sentinel:
		r.Group, err = devenv.StartSentinel(ctx, o, dead)
	case Cluster:
		r.Group, err = devenv.StartCluster(ctx, o, dead)
	default:
		return fmt.Errorf("%q is no form of Redis: it is one of %v", r.Form, Forms())
	}
	if err != nil {
		return err
	}
	if r.Group != nil {
		r.redisURL = r.Group.URL
	}
	r.Redis, err = redisconn.Open(r.redisURL, connections)
	return err
}
