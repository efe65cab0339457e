package redisconn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

// fakeNode is a node behind a breaker. It counts what reaches it, and fails with fault.
type fakeNode struct {
	breaker *nodeBreaker
	reached int
	reloads int
	fault   error
}

func newFakeNode() *fakeNode {
	n := &fakeNode{fault: context.DeadlineExceeded}
	n.breaker = newNodeBreaker(func() { n.reloads++ })
	return n
}

func (n *fakeNode) batch() error {
	return n.breaker.ProcessPipelineHook(func(context.Context, []redis.Cmder) error { n.reached++; return n.fault })(context.Background(), nil)
}

func (n *fakeNode) command(name string) error {
	return n.breaker.ProcessHook(func(context.Context, redis.Cmder) error { n.reached++; return n.fault })(
		context.Background(), redis.NewCmd(context.Background(), name))
}

func (n *fakeNode) want(t *testing.T, what string, reached int) {
	t.Helper()
	if n.reached != reached {
		t.Errorf("%s: got %d that reached the node, want %d", what, n.reached, reached)
	}
}

func TestNodeBreaker_LeavesADeadNodeAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		for range 20 {
			if err := n.batch(); err == nil {
				t.Fatal("a batch to a dead node: got no error")
			}
			if err := n.command("get"); err == nil {
				t.Fatal("a command to a dead node: got no error")
			}
			time.Sleep(nodePause / 100)
		}
		n.want(t, "while it is dead", nodeFaults)
		if n.reloads != 1 {
			t.Errorf("topology read anew: got %d times, want once", n.reloads)
		}
		for try := 1; try <= 3; try++ {
			time.Sleep(nodePause)
			for range 20 {
				n.batch()
			}
			n.want(t, "still dead after a pause", nodeFaults+try)
		}
		n.fault = nil
		n.want(t, "back, and not yet tried", nodeFaults+3)
		time.Sleep(nodePause)
		for range 20 {
			if err := n.batch(); err != nil {
				t.Errorf("once the node is back: got %v", err)
			}
		}
	})
}

func TestNodeBreaker_PingAlwaysPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		for range nodeFaults {
			n.batch()
			time.Sleep(time.Nanosecond)
		}
		if err := n.batch(); !errors.Is(err, errNodeOut{}) {
			t.Fatalf("after %d faults: got %v, want %v", nodeFaults, err, errNodeOut{})
		}
		n.fault = nil
		if err := n.command("ping"); err != nil {
			t.Errorf("PING while the breaker is open: got %v, want the node's answer", err)
		}
		if err := n.batch(); err != nil {
			t.Errorf("after the answer: got %v, want the breaker closed", err)
		}
	})
}

// A pause of this process fails all round trips that are under way: they are one fault. An answer ends the row.
func TestNodeBreaker_CountsFaultsInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		slow := n.breaker.ProcessPipelineHook(func(context.Context, []redis.Cmder) error { time.Sleep(time.Second); return n.fault })
		var together sync.WaitGroup
		for range 10 {
			together.Go(func() { slow(t.Context(), nil) })
		}
		together.Wait()
		n.fault = nil
		if err := n.batch(); err != nil {
			t.Fatalf("after ten faults at once: got %v, want the breaker closed", err)
		}
		for range 10 {
			n.fault = context.DeadlineExceeded
			n.batch()
			time.Sleep(time.Nanosecond)
			n.fault = redis.Nil // also an answer
			n.batch()
		}
		n.fault = nil
		if err := n.batch(); err != nil {
			t.Errorf("faults with answers between them: got %v, want the breaker closed", err)
		}
		n.fault = context.Canceled
		for range 10 {
			n.batch()
			time.Sleep(time.Nanosecond)
		}
		n.fault = nil
		if err := n.batch(); err != nil {
			t.Errorf("callers that gave up: got %v, want the breaker closed", err)
		}
	})
}

// slowNode is a hook of all nodes. The node at addr answers nothing: once the others have answered, the caller's time is over.
type slowNode struct {
	addr     string
	answered chan struct{}
	timeOver context.CancelFunc
}

type slowNodeHook struct {
	*slowNode
	addr string // of the node that it is a hook of
}

func (slowNodeHook) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (slowNodeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h slowNodeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() != "get" {
			return next(ctx, cmds)
		}
		if h.addr != h.slowNode.addr {
			defer func() { h.answered <- struct{}{} }()
			return next(ctx, cmds)
		}
		<-h.answered
		<-h.answered
		h.timeOver()
		return next(ctx, cmds)
	}
}

// A batch whose time is over, since one node does not answer, has the answers of the others.
func TestCluster_SlowNodeCostsNoOtherAnswers(t *testing.T) {
	t.Parallel()
	client := open(t, testenv.SharedCluster(t).URL).(*redis.ClusterClient)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow := &slowNode{answered: make(chan struct{}, 2), timeOver: cancel}
	client.OnNewNode(func(node *redis.Client) { node.AddHook(slowNodeHook{slow, node.Options().Addr}) })
	owner := func(key string) string {
		node, err := client.MasterForKey(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return node.Options().Addr
	}
	pipe := client.Pipeline()
	gets := make(map[string]*redis.StringCmd)
	for i := range 30 {
		key := fmt.Sprintf("redisconn:slow:%d", i)
		if err := client.Set(ctx, key, "there", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		gets[key] = pipe.Get(ctx, key)
	}
	slow.addr = owner("redisconn:slow:0")
	if _, err := pipe.Exec(ctx); err == nil {
		t.Error("the batch: got no error, want that of the slow node")
	}
	for key, get := range gets {
		var want error
		if owner(key) == slow.addr {
			want = context.Canceled
		}
		if err := get.Err(); !errors.Is(err, want) {
			t.Errorf("%s: got %q, %v, want %v", key, get.Val(), err, want)
		}
	}
}

// A node that was away, and whose connections are all gone, is in use again. It is the whole of its cluster.
func TestNodeBreaker_NodeComesBack(t *testing.T) {
	t.Parallel()
	node := testenv.Redis(t, map[string]string{
		"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-port": strconv.Itoa(freePort(t)),
	})
	admin := open(t, node.URL)
	if err := admin.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	client := open(t, "redis+cluster"+node.URL[len("redis"):])
	send := func() error {
		pipe := client.Pipeline()
		pipe.Set(t.Context(), "key", 1, time.Minute)
		_, err := pipe.Exec(t.Context())
		return err
	}
	answers := func() bool { // a cluster that is just up refuses writes for two seconds: that is an answer too
		var reply redis.Error
		err := send()
		return err == nil || errors.As(err, &reply)
	}
	testenv.Eventually(t, "the node is in use", answers)
	node.Kill()
	testenv.Eventually(t, "the node is left alone", func() bool { return errors.Is(send(), errNodeOut{}) })
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the node is in use again", answers)
}
