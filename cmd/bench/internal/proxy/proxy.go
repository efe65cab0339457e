// Package proxy stands between a program and a server it talks to, and fails as networks do.
package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy forwards TCP connections from a free port of 127.0.0.1. It is safe for concurrent use; Close ends it.
type Proxy struct {
	mu       sync.Mutex
	server   *toxiproxy.ApiServer
	proxy    *toxiproxy.Proxy
	addr     string
	upstream string
}

// Open forwards to upstream, a host and port.
func Open(upstream string) (*Proxy, error) {
	p := &Proxy{
		server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), addr: "127.0.0.1:0", upstream: upstream,
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	p.addr = p.proxy.Listen
	return p, nil
}

// start takes a new proxy each time: to take a toxic out of one can take 5 s.
func (p *Proxy) start() error {
	p.proxy = toxiproxy.NewProxy(p.server, "bench", p.addr, p.upstream)
	if err := p.proxy.Start(); err != nil {
		return fmt.Errorf("proxy on %s to %s: %w", p.addr, p.upstream, err)
	}
	return nil
}

// Addr is the host and port to connect to. It stays.
func (p *Proxy) Addr() string { return p.addr }

// Point breaks all connections, and forwards new ones to another server.
func (p *Proxy) Point(upstream string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Stop()
	p.upstream = upstream
	return p.start()
}

// Cut breaks all connections and refuses new ones until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Stop()
}

// Mend ends Cut, Stall and Delay. It breaks the connections that there are.
func (p *Proxy) Mend() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Stop()
	return p.start()
}

// Stall swallows all that is sent in both directions: connections stay open, and nothing arrives.
func (p *Proxy) Stall() error { return p.add("timeout", map[string]any{"timeout": 0}) }

// Delay holds what is sent, in each direction, back for d, and up to jitter more or less.
func (p *Proxy) Delay(d, jitter time.Duration) error {
	return p.add("latency", map[string]any{"latency": d.Milliseconds(), "jitter": jitter.Milliseconds()})
}

func (p *Proxy) add(kind string, attributes map[string]any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stream := range []string{"upstream", "downstream"} {
		toxic, err := json.Marshal(map[string]any{
			"name": kind + "_" + stream, "type": kind, "stream": stream, "attributes": attributes,
		})
		if err == nil {
			_, err = p.proxy.Toxics.AddToxicJson(bytes.NewReader(toxic))
		}
		if err != nil {
			return fmt.Errorf("%s on the proxy: %w", kind, err)
		}
	}
	return nil
}

// Close breaks all connections.
func (p *Proxy) Close() { p.Cut() }
