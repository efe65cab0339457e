// Package changelog turns committed changes into ordered log positions and keeps each instance's cache.Log up to date
// with them.
//
// Triggers write the tags of each change to an outbox. One instance at a time, the sequencer, moves them into the log and
// publishes them; every instance applies them and holds its grant, the right to answer from caches, only while it keeps
// up. docs/freshness.md draws the protocol and the races that it closes.
package changelog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/cache"
)

// Options configure a Node. DB, Redis and Log are required; the zero value of the rest works. Instances of one service
// must agree on all durations.
type Options struct {
	// DB is the primary, reached without a pooler that shares sessions between transactions: the sequencer's office is a
	// session's lock. Give it a small pool of its own, 4 connections or more, so that a store that has used up its pool
	// does not keep the instance from following the log.
	DB *sql.DB
	// Redis carries messages only; any of them may be lost. It needs ContextTimeoutEnabled.
	Redis redis.UniversalClient
	// Log is fed by the Node alone.
	Log *cache.Log

	Service string // names the channels; one for each database. Default "freshet".
	Name    string // of the instance, for operators. Default "instance".

	Grant      time.Duration // how long a grant lasts. Default 500 ms.
	Renew      time.Duration // between renewals. Default 100 ms.
	Poll       time.Duration // between the sequencer's looks at the outbox when no writer nudges. Default 20 ms.
	Election   time.Duration // between attempts to become sequencer. Default 100 ms.
	Stuck      time.Duration // silence in PostgreSQL after which a sequencer's session is ended. Default 1.5 s.
	Batch      int           // outbox rows moved at a time; while that leaves some, ten times as many. Default 2000.
	MaxLag     int           // positions that an instance may be behind and still get a grant. Default 10,000.
	Window     time.Duration // how long the log is kept. Default 15 min.
	WindowSize int           // how many positions of it at most. Default 500,000.

	// Applied is told of the tags of changes once this instance has applied them, in order, a batch at a time, on the
	// goroutine that follows the log: it must not block. It hears of each change since the start, by message or from
	// PostgreSQL; where that can't be had any more, of "*". Nil tells nobody.
	Applied func(tags []string)

	Logger *slog.Logger // default slog.Default()

	// at, in tests, is told of each step by name, and may block there.
	at func(step string)
}

func (o Options) withDefaults() Options {
	setDefault(&o.Service, "freshet")
	setDefault(&o.Name, "instance")
	setDefault(&o.Grant, 500*time.Millisecond)
	setDefault(&o.Renew, 100*time.Millisecond)
	setDefault(&o.Poll, 20*time.Millisecond)
	setDefault(&o.Election, 100*time.Millisecond)
	setDefault(&o.Stuck, 1500*time.Millisecond)
	setDefault(&o.Batch, 2000)
	setDefault(&o.MaxLag, 10_000)
	setDefault(&o.Window, 15*time.Minute)
	setDefault(&o.WindowSize, 500_000)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Applied == nil {
		o.Applied = func([]string) {}
	}
	if o.at == nil {
		o.at = func(string) {}
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// patience is how long after a moment no grant asked for before it can live, whoever's clock measures it: clocks may run
// at rates that differ by a hundredth.
func (o *Options) patience() time.Duration { return o.Grant + o.Grant/100 }

// Node is one instance's part in the change log: it follows the log, and stands ready to be the sequencer.
type Node struct {
	Options
	id     string
	tail   *tail
	office atomic.Pointer[Office]
	waited atomic.Uint64 // calls of Committed
	lapsed atomic.Uint64 // of these, those that had to wait for old grants to end
}

// New returns a Node that does nothing before Run. Its id is fresh: to the others it is a new instance.
func New(o Options) *Node {
	n := &Node{Options: o.withDefaults()}
	n.id = n.Name + "-" + rand.Text()[:10]
	n.tail = newTail(&n.Options, n.id)
	return n
}

// Run follows the log, renews the grant and stands for sequencer until ctx ends; then it gives grant and office back.
// PostgreSQL or Redis out of reach is no failure: the grant lapses, and Run goes on trying.
func (n *Node) Run(ctx context.Context) {
	var tail, office sync.WaitGroup
	// The office outlives the grant: it can then say that this instance has none.
	inOffice, resign := context.WithCancel(context.WithoutCancel(ctx))
	office.Go(func() { n.stand(inOffice) })
	tail.Go(func() { n.tail.receive(ctx) })
	tail.Go(func() { n.tail.send(ctx) })
	tail.Wait()
	resign()
	office.Wait()
}

// Stats is what operators want to know of a Node at one moment.
type Stats struct {
	Position  cache.Position // how far this instance has applied the log
	Granted   bool           // whether it may answer from caches
	Lag       uint64         // positions that it knows of and has not applied
	Silence   time.Duration  // since the sequencer was last heard
	Sequencer string         // the name of the instance last heard as sequencer
	Waited    uint64         // calls of Committed since the start
	Lapsed    uint64         // of these, those that returned only because every older grant had ended
	Office    *Office        // what the sequencer knows; nil on other instances
}

// Office is what a sequencer knows of the log as a whole.
type Office struct {
	Term              uint64
	Head              cache.Position
	Settled           uint64         // every instance that may answer from caches has applied the log up to here
	Instances         map[string]Lag // of those that may hold a grant
	OutboxRows        int64          // not yet moved, counted up to 100,000
	OldestTransaction time.Duration  // that is still open; it keeps moved outbox rows from being cleaned up
}

// Lag is how far an instance is behind the log.
type Lag struct {
	Positions uint64
	For       time.Duration // since the first of them is in the log
}

// Stats returns a snapshot. It does no I/O.
func (n *Node) Stats() Stats {
	s := n.tail.stats()
	s.Waited, s.Lapsed, s.Office = n.waited.Load(), n.lapsed.Load(), n.office.Load()
	return s
}
