// Package server is the HTTP of Freshet: GraphQL in and out, health, metrics, and the errors that clients see.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"freshet/internal/front"
	"freshet/internal/opcache"
	"freshet/internal/operation"
	"freshet/internal/tracing"
	"freshet/models"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
)

// Options of a Server. Schema and Compiler are required.
type Options struct {
	// Addr to listen on; ":8080" if empty. Port 0 takes a free one, which Server.Addr tells.
	Addr string
	// Schema with its resolvers.
	Schema graphql.ExecutableSchema
	// Compiler of operations on that schema.
	Compiler *operation.Compiler
	// Results keeps whole results; nil keeps none.
	Results *opcache.Cache
	// ResultHeaders says how they leave.
	ResultHeaders opcache.Headers
	// Persisted has the operations that clients name by an id.
	Persisted Persisted
	// Authenticate returns the holder of a token, or a *models.Error: CodeUnauthenticated for a token that is unknown or
	// has expired. It runs once a request that has a token, and must end by itself. Nil refuses every token.
	Authenticate func(ctx context.Context, token string) (*models.Viewer, error)
	// Limits on what clients ask for.
	Limits Limits
	// Response puts what lives as long as one response, such as dataloaders, into the context. Nil does nothing. It also
	// runs for responses that only refuse a document.
	Response func(ctx context.Context) context.Context
	// RootField puts what lives as long as one root field of a mutation into the context: what such a field has read
	// must not outlive the write of the next. Nil does nothing.
	RootField func(ctx context.Context) context.Context
	// Inspect tells who may ask what the caches did for a request. Default: holders of the developers' scope.
	Inspect func(*models.Viewer) bool
	// Ready checks what requests need, within the context's two seconds. Nil checks nothing.
	Ready func(ctx context.Context) []Check
	// Playground serves GET /playground and below. Nil leaves it out.
	Playground http.Handler
	// Caches serves what the playground's cache pages ask for. Nil leaves it out; so does a nil Playground.
	Caches *Caches
	// Tracer traces GraphQL requests. Nil traces none.
	Tracer *tracing.Tracer
	// Log gets a line for each error, and for each request: at debug level for those that went well and quickly.
	// slog.Default if nil.
	Log *slog.Logger
	// Registry is served at /metrics and gets the server's own metrics; a new one if nil.
	Registry *prometheus.Registry
	// Origins of pages on other hosts that may call the API, such as "https://app.example.org"; "*" is all. Empty: none.
	Origins []string
	// BodyLimit in bytes; 1 MiB if 0.
	BodyLimit int64
	// RequestTimeout ends the context of a request; 10 s if 0.
	RequestTimeout time.Duration
	// DrainDelay is how long a server that was told to stop goes on accepting requests while /readyz already answers 503,
	// so that load balancers turn away first. 0 stops accepting at once.
	DrainDelay time.Duration
	// DrainTimeout is how long running requests may take to finish after that; 15 s if 0.
	DrainTimeout time.Duration
}

func (o Options) withDefaults() Options {
	o.Addr = cmp.Or(o.Addr, ":8080")
	o.Log = cmp.Or(o.Log, slog.Default())
	o.BodyLimit = cmp.Or(o.BodyLimit, 1<<20)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 10*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 15*time.Second)
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Inspect == nil {
		o.Inspect = isDeveloper
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) []Check { return nil }
	}
	return o
}

// Server listens from New on and answers while Serve runs.
type Server struct {
	options  Options
	metrics  *metrics
	errors   *presenter
	cors     corsPolicy
	draining atomic.Bool
	stopping chan struct{} // closed when draining begins: streams end
	endpoint *endpoint
	http     *http.Server
	front    *front.Front
	listener net.Listener
	after    func(time.Duration) <-chan time.Time // time.After
}

// New listens. It fails if the address is in use, or the registry already holds the server's metrics. Serve closes what
// New has opened, also when its context has already ended.
func New(options Options) (*Server, error) {
	options = options.withDefaults()
	if options.Schema == nil || options.Compiler == nil {
		return nil, errors.New("new server: no schema, or no compiler of it")
	}
	metrics, err := newMetrics(options.Registry)
	if err != nil {
		return nil, fmt.Errorf("new server: %w", err)
	}
	s := &Server{
		options: options,
		metrics: metrics,
		errors:  &presenter{log: options.Log, metrics: metrics},
		cors:    newCORSPolicy(options.Origins),

		stopping: make(chan struct{}),
		after:    time.After,
	}
	s.endpoint = newEndpoint(options, s.errors, metrics)
	handler, err := s.handler()
	if err != nil {
		return nil, fmt.Errorf("new server: %w", err)
	}
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15*time.Second + options.RequestTimeout + 10*time.Second, // from the end of the header: read, work, write
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(options.Log.Handler(), slog.LevelWarn),
	}
	listener, err := net.Listen("tcp", options.Addr)
	if err != nil {
		return nil, fmt.Errorf("new server: %w", err)
	}
	s.listener = listener
	s.front = front.New(listener, s.http, graphqlPath)
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers until ctx ends, and then until running requests have finished or DrainTimeout has passed; what still
// runs then is cancelled, and Serve returns an error. It can be called once.
func (s *Server) Serve(ctx context.Context) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	served := make(chan error, 1)
	go func() { served <- s.front.Serve() }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	err := s.drain(base)
	cancel()
	s.endpoint.close()
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve %s: %w", s.Addr(), stopped))
	}
	return err
}

func (s *Server) drain(ctx context.Context) error {
	s.draining.Store(true)
	if s.options.DrainDelay > 0 {
		<-s.after(s.options.DrainDelay)
	}
	close(s.stopping)
	ctx, cancel := context.WithTimeout(ctx, s.options.DrainTimeout)
	defer cancel()
	err := s.front.Shutdown(ctx)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("stop %s: requests still running after %s: %w", s.Addr(), s.options.DrainTimeout, err),
		s.front.Close())
}
