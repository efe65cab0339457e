package command

import (
	"log/slog"
	"time"

	"freshet/internal/auth"
	"freshet/internal/opcache"
	"freshet/internal/server"
)

// ServeOptions says what an instance serves, to whom, and from where. DatabaseURL and RedisURL have no default.
type ServeOptions struct {
	Addr          string
	DatabaseURL   string
	DatabaseConns int
	// LogDatabaseURL leads the change log past a pooler: it needs sessions of its own. Default: DatabaseURL.
	LogDatabaseURL string
	// ReplicaURL leads to a streaming replica, for the heavy reads that promise their age alone. Default: none.
	ReplicaURL string
	RedisURL   string
	RedisConns int
	// Service begins every key in Redis and names the change log's channels: one for each database.
	Service string
	// Name of this instance, for operators. Default: a random one.
	Name           string
	Playground     bool
	Introspection  bool
	Origins        []string
	BodyLimit      int64
	RequestTimeout time.Duration
	DrainDelay     time.Duration
	DrainTimeout   time.Duration
	// Memory bounds this process's tiers of cached values and of whole results, in bytes each; negative: none.
	Memory, ResultMemory int64
	ResultHeaders        opcache.Headers
	// Automatic lets clients register the texts of operations by their hash.
	Automatic bool
	// Enforcement says which operations are executed.
	Enforcement server.Enforcement
	Guards      Guards
	External    ExternalOptions
	// TraceEndpoint is the base address of an OpenTelemetry collector, and TraceSample the share of requests that are
	// traced; empty: none.
	TraceEndpoint string
	TraceSample   float64
	Log           *slog.Logger

	tuning tuning
}

// tuning replaces defaults of an instance's parts, in tests. The zero value replaces none.
type tuning struct {
	redisBudget time.Duration // of each round trip that a request waits for
	lease       time.Duration // of fill locks, and of the right to answer from caches
	startWait   time.Duration // for a replica, or for the right to answer from caches
	outboxPoll  time.Duration // of the sequencer, while no writer waits
	buildsPoll  time.Duration // for operations of builds, should the change log not have told of them
	hashCost    auth.HashCost
}

const defaultStartWait = 2 * time.Second

// ExternalOptions say whom the server asks in turn; without an address a source is not asked.
type ExternalOptions struct {
	// ECB and Nominatim are addresses as in external.Options; Contact is whom they may write to.
	ECB, Nominatim, Contact string
}
