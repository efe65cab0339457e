package redisconn

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// errNodeOut is what a command gets while the circuit breaker of its node is open. It is no reply of Redis.
type errNodeOut struct{}

func (errNodeOut) Error() string { return "redisconn: this node of the cluster did not answer lately" }

// Timeout makes go-redis try a command without a key, such as PUBLISH, on another node.
func (errNodeOut) Timeout() bool { return true }

// Temporary makes it a net.Error.
func (errNodeOut) Temporary() bool { return true }

// nodeBreaker is the circuit breaker of one node of a cluster, as hooks of its client. A batch of keys is spread over all
// nodes and is as slow as the slowest: without it, a node that is away costs every batch its whole budget.
//
//	closed    all commands pass; nodeFaults faults in a row open it
//	open      commands fail at once, except PING; after nodePause one command or batch passes
//	          its answer closes the breaker, its fault leaves it open for another nodePause
//
// PING always passes: a caller that wants to know whether the node answers must not hear of the past.
type nodeBreaker struct {
	reload    func() // reads anew which node owns which slots: a replica may have been promoted
	faults    atomic.Int32
	lastFault atomic.Int64 // when the last fault was counted, Unix ns
	nextTry   atomic.Int64 // when one command may pass, Unix ns; 0 while closed
}

const (
	nodeFaults = 2
	nodePause  = 100 * time.Millisecond
)

func newNodeBreaker(reload func()) *nodeBreaker { return &nodeBreaker{reload: reload} }

// DialHook leaves connections as they are.
func (b *nodeBreaker) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook fails single commands while the breaker is open.
func (b *nodeBreaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := b.through(ctx, cmd.Name() == "ping", func(ctx context.Context) error { return next(ctx, cmd) })
		if err != nil && cmd.Err() == nil {
			cmd.SetErr(err)
		}
		return err
	}
}

// ProcessPipelineHook fails batches while the breaker is open.
func (b *nodeBreaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return b.through(ctx, false, func(ctx context.Context) error { return next(ctx, cmds) })
	}
}

type insideKey struct{}

// through calls send unless the breaker is open or the caller's time is over, and counts how it ended.
func (b *nodeBreaker) through(ctx context.Context, always bool, send func(context.Context) error) error {
	if ctx.Value(insideKey{}) != nil { // the greeting on a new connection: its command is already inside
		return send(ctx)
	}
	ctx = callerOf(ctx)
	began := time.Now()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !b.pass(began) && !always {
		return errNodeOut{}
	}
	err := send(context.WithValue(ctx, insideKey{}, true))
	b.count(began, err)
	return err
}

// pass reports whether a command may pass at this moment.
func (b *nodeBreaker) pass(now time.Time) bool {
	next := b.nextTry.Load()
	return next == 0 || now.UnixNano() >= next && b.nextTry.CompareAndSwap(next, now.Add(nodePause).UnixNano())
}

// count takes note of how a round trip ended that began at a moment. A caller that gave up says nothing of the node, and
// round trips that were under way together are one fault: a pause of this process fails them all at once.
func (b *nodeBreaker) count(began time.Time, err error) {
	var reply redis.Error
	if err == nil || errors.As(err, &reply) {
		b.faults.Store(0)
		b.nextTry.Store(0)
		return
	}
	last, now := b.lastFault.Load(), time.Now()
	if errors.Is(err, context.Canceled) || began.UnixNano() < last || !b.lastFault.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if b.faults.Add(1) >= nodeFaults {
		b.nextTry.Store(now.Add(nodePause).UnixNano())
		b.reload()
	}
}

// partialBatch is a hook of a cluster's client. It lets a batch whose time is over keep the answers that some nodes have
// given. Between two attempts at what has failed, go-redis waits, and where the context ends meanwhile, it overwrites the
// answers of all nodes with the context's error. So the caller's context is hidden from go-redis, and nodeBreaker, which
// every attempt passes, puts it back.
type partialBatch struct{}

type callerKey struct{}

func callerOf(ctx context.Context) context.Context {
	if caller, ok := ctx.Value(callerKey{}).(context.Context); ok {
		return caller
	}
	return ctx
}

// DialHook leaves connections as they are.
func (partialBatch) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook leaves single commands as they are.
func (partialBatch) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook hides the context of batches.
func (partialBatch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return next(context.WithValue(context.WithoutCancel(ctx), callerKey{}, ctx), cmds)
	}
}
