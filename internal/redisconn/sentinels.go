package redisconn

import (
	"errors"

	"github.com/redis/go-redis/v9"
)

// Sentinels are those that an address names, to be asked one by one.
type Sentinels struct {
	// Master is the name by which they know the primary.
	Master  string
	Clients []*redis.SentinelClient
}

// OpenSentinels makes a client for each Sentinel that an address names, and none where it names another form of Redis. As
// Open, it does not connect, and its errors show no password. The caller closes what it returns.
func OpenSentinels(address string) (*Sentinels, error) {
	t, err := parse(address)
	if err != nil {
		return nil, err
	}
	s := &Sentinels{Master: t.master}
	if t.form != sentinel {
		return s, nil
	}
	for _, host := range t.hosts {
		s.Clients = append(s.Clients, redis.NewSentinelClient(&redis.Options{
			Addr: host, Username: t.sentinelUsername, Password: t.sentinelPassword, ClientName: t.clientName, TLSConfig: t.tls,
			ContextTimeoutEnabled: true,
			DialTimeout:           dialTimeout, DialerRetries: dials,
			MaxRetries: retries, MinRetryBackoff: shortPause, MaxRetryBackoff: longest,
			MaintNotificationsConfig: quiet(),
		}))
	}
	return s, nil
}

// Close closes all clients.
func (s *Sentinels) Close() error {
	var errs []error
	for _, c := range s.Clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
