package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// blown is what commands to a node get while it is left alone. It is no reply of Redis: who gets it has no answer.
var blown = errors.New("redisconn: this node of the cluster did not answer lately")

// fuse keeps one node of a cluster that is away from costing every round trip its whole budget: a batch of keys is
// spread over all nodes, and is as slow as the slowest. After a few faults in a row it refuses the node's commands at
// once, but for one batch now and then that finds out whether the node is back.
type fuse struct {
	reload func() // of who owns which slots: a replica may have been promoted
	faults atomic.Int32
	next   atomic.Int64 // when one may try, Unix ns; 0 while the node is in use
}

const (
	fuseFaults = 2
	fusePause  = 100 * time.Millisecond
)

func newFuse(reload func()) *fuse { return &fuse{reload: reload} }

// DialHook has connections made as usual.
func (f *fuse) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook leaves single commands alone, which are few, and learns from them.
func (f *fuse) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		f.heard(err)
		return err
	}
}

// ProcessPipelineHook refuses batches while the node is left alone.
func (f *fuse) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if until := f.next.Load(); until != 0 {
			now := time.Now()
			if now.UnixNano() < until || !f.next.CompareAndSwap(until, now.Add(fusePause).UnixNano()) {
				return fmt.Errorf("%w: %d commands", blown, len(cmds))
			}
		}
		err := next(ctx, cmds)
		f.heard(err)
		return err
	}
}

// heard takes note of how a round trip ended. One that its caller gave up says nothing of the node.
func (f *fuse) heard(err error) {
	var reply redis.Error
	switch {
	case err == nil || errors.As(err, &reply):
		f.faults.Store(0)
		f.next.Store(0)
	case errors.Is(err, context.Canceled):
	case f.faults.Add(1) >= fuseFaults:
		f.next.Store(time.Now().Add(fusePause).UnixNano())
		f.reload()
	}
}
