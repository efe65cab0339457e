package changelog

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cache"
)

// ask is a message from an instance to the sequencer. Each has a higher N than those before it.
type ask struct {
	From    string `json:"from"`
	N       uint64 `json:"n"`
	Epoch   uint64 `json:"epoch"`
	Applied uint64 `json:"applied"`         // acknowledges the log up to here
	Renew   bool   `json:"renew,omitempty"` // asks for a grant
	Nudge   bool   `json:"nudge,omitempty"` // a writer waits: move the outbox now
	Bye     bool   `json:"bye,omitempty"`   // gives the grant back
}

// bulletin is a message from the sequencer to all instances. Whatever it says stays true, so one that comes late, or from
// a sequencer that no longer is, does no harm.
type bulletin struct {
	Sequencer string   `json:"sequencer"`
	Epoch     uint64   `json:"epoch"`
	After     uint64   `json:"after"` // the position before the first tag
	Tags      []string `json:"tags,omitempty"`
	// Settled is a position that every instance has applied that may answer from a cache now or ever again. It stands for
	// the list of instances that may hold a grant and for their acknowledgements, which only the sequencer keeps.
	Settled uint64            `json:"settled"`
	Answers map[string]answer `json:"answers,omitempty"`
}

// answer tells an instance that a move of the outbox began after its ask and left nothing behind: what was committed
// before the ask is in the log at or before the bulletin's head.
type answer struct {
	N     uint64 `json:"n"`               // the latest ask that this holds for, and so for those before it
	Grant uint64 `json:"grant,omitempty"` // the latest renewal that is granted; 0 is none
}

func (b *bulletin) head() cache.Position {
	return cache.Position{Epoch: b.Epoch, At: b.After + uint64(len(b.Tags))}
}

func (o *Options) asks() string      { return o.Service + ":changelog:asks" }
func (o *Options) bulletins() string { return o.Service + ":changelog:bulletins" }

// publish gives Redis half a grant's time: a message that takes longer is worth nothing.
func (o *Options) publish(ctx context.Context, channel string, message any) error {
	payload, err := json.Marshal(message)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Grant/2)
	defer cancel()
	return o.Redis.Publish(ctx, channel, payload).Err()
}

// listen calls handle for each message of a channel until ctx ends. Messages wait in Redis while handle works; those that
// are lost are missed silently, as when the connection breaks, and the protocol must find out.
func listen[M any](ctx context.Context, o *Options, channel string, handle func(M)) {
	for ctx.Err() == nil {
		listenOnce(ctx, o, channel, handle)
		sleep(ctx, o.Renew/2)
	}
}

// listenOnce ends with the connection, and when nothing has come for so long that the connection may be dead: each
// instance speaks, and is answered, once in a renewal period.
func listenOnce[M any](ctx context.Context, o *Options, channel string, handle func(M)) {
	subscription := o.subscribe(ctx, channel)
	// A read that waits does not notice the end of ctx.
	stop := context.AfterFunc(ctx, func() { subscription.Close() })
	defer func() {
		if stop() {
			subscription.Close()
		}
	}()
	for {
		received, err := subscription.ReceiveTimeout(ctx, 10*o.Renew)
		if err != nil {
			return
		}
		if m, ok := received.(*redis.Message); ok {
			var message M
			if err := json.Unmarshal([]byte(m.Payload), &message); err != nil {
				o.Logger.Warn("changelog: message not understood", "channel", channel, "error", err)
				continue
			}
			handle(message)
		}
	}
}

// subscribe listens at any node of a cluster that answers: a message reaches all. The client itself would choose by the
// channel's slot, whose primary may be the one that is away.
func (o *Options) subscribe(ctx context.Context, channel string) *redis.PubSub {
	nodes, ok := o.Redis.(*redis.ClusterClient)
	if !ok {
		return o.Redis.Subscribe(ctx, channel)
	}
	asked, cancel := context.WithTimeout(ctx, o.Grant/2)
	defer cancel()
	var first atomic.Pointer[redis.Client]
	_ = nodes.ForEachMaster(asked, func(ctx context.Context, node *redis.Client) error {
		if node.Ping(ctx).Err() == nil && first.CompareAndSwap(nil, node) {
			cancel() // the others need not be waited for
		}
		return nil
	})
	if node := first.Load(); node != nil {
		return node.Subscribe(ctx, channel)
	}
	return nodes.Subscribe(ctx, channel)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
