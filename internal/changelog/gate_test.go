package changelog

import (
	"sync"
	"testing"

	"freshet/internal/testenv"
)

// gate is a barrier at a named step of a Node.
type gate struct {
	mu     sync.Mutex
	closed map[string]*barrier
	passed map[string]int
}

type barrier struct {
	reached chan struct{} // closed when someone waits
	open    chan struct{}
	once    sync.Once
}

func newGate() *gate { return &gate{closed: map[string]*barrier{}, passed: map[string]int{}} }

func (g *gate) options(o *Options) { o.at = g.at }

func (g *gate) at(step string) {
	g.mu.Lock()
	g.passed[step]++
	b := g.closed[step]
	g.mu.Unlock()
	if b != nil {
		b.once.Do(func() { close(b.reached) })
		<-b.open
	}
}

// shut makes everyone who comes to the step wait until the returned function is called, at the end of the test at the
// latest.
func (g *gate) shut(t testing.TB, step string) (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &barrier{reached: make(chan struct{}), open: make(chan struct{})}
	g.closed[step] = b
	open = sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.closed, step)
		close(b.open)
	})
	t.Cleanup(open)
	return open
}

// reached waits until someone stands at the shut step.
func (g *gate) reached(t testing.TB, step string) {
	t.Helper()
	g.mu.Lock()
	b := g.closed[step]
	g.mu.Unlock()
	testenv.Receive(t, "somebody comes to step "+step, b.reached)
}

func (g *gate) count(step string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passed[step]
}
