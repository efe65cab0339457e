package redisconn

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// blown is what commands to a node get while it is left alone. It is no reply of Redis: who gets it has no answer.
type blown struct{}

func (blown) Error() string { return "redisconn: this node of the cluster did not answer lately" }

// Timeout has a command that any node can take, such as PUBLISH, tried with another.
func (blown) Timeout() bool { return true }

// Temporary makes it a net.Error.
func (blown) Temporary() bool { return true }

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

// ProcessHook refuses single commands while the node is left alone.
func (f *fuse) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if within(ctx) {
			return next(ctx, cmd)
		}
		if !f.open() {
			cmd.SetErr(blown{})
			return blown{}
		}
		err := next(enter(ctx), cmd)
		f.heard(err)
		return err
	}
}

// ProcessPipelineHook refuses batches while the node is left alone.
func (f *fuse) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if within(ctx) {
			return next(ctx, cmds)
		}
		if !f.open() {
			return blown{}
		}
		err := next(enter(ctx), cmds)
		f.heard(err)
		return err
	}
}

type passKey struct{}

// enter marks what passes: the greeting on a new connection goes through the same hooks as the command that needs it.
func enter(ctx context.Context) context.Context { return context.WithValue(ctx, passKey{}, true) }

func within(ctx context.Context) bool { return ctx.Value(passKey{}) != nil }

// open tells whether commands may pass: all while the node is in use, and one now and then while it is not.
func (f *fuse) open() bool {
	until := f.next.Load()
	if until == 0 {
		return true
	}
	now := time.Now()
	return now.UnixNano() >= until && f.next.CompareAndSwap(until, now.Add(fusePause).UnixNano())
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
