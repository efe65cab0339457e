package redisconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// form is what kind of Redis an address names.
type form int

const (
	single form = iota
	sentinel
	cluster
)

// target is an address that was understood.
type target struct {
	form                               form
	hosts                              []string
	username, password                 string
	sentinelUsername, sentinelPassword string
	master                             string // the name that Sentinel knows it by
	db                                 int
	clientName                         string
	tls                                *tls.Config // nil: none
}

// schemes maps each to its form, and to whether it asks for TLS.
func schemes(scheme string) (f form, secure, ok bool) {
	base, kind, _ := strings.Cut(scheme, "+")
	secure = base == "rediss"
	if base != "redis" && !secure {
		return 0, false, false
	}
	switch kind {
	case "":
		f = single
	case "sentinel":
		f = sentinel
	case "cluster":
		f = cluster
	default:
		return 0, false, false
	}
	return f, secure, strings.Count(scheme, "+") <= 1 && !strings.HasSuffix(scheme, "+")
}

// errForm shows nothing of the address: what can't be read may be a password.
var errForm = errors.New("the Redis URL can't be read: it has the form " + Usage)

func parse(address string) (*target, error) {
	rest, hosts, err := takeHosts(address)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(rest)
	if err != nil {
		return nil, errForm
	}
	f, secure, ok := schemes(u.Scheme)
	if !ok || u.Fragment != "" {
		return nil, errForm
	}
	t := &target{form: f, username: u.User.Username()}
	t.password, _ = u.User.Password()
	if t.hosts, err = complete(hosts, f); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the options of the Redis URL can't be read: write them as ?name=value&name=value, percent-encoded")
	}
	if err := t.setDatabase(strings.Trim(u.Path, "/")); err != nil {
		return nil, err
	}
	return t, t.setOptions(query, secure)
}

// takeHosts cuts the list of hosts out of an address, of which net/url takes only one.
func takeHosts(address string) (rest string, hosts []string, err error) {
	scheme, after, ok := strings.Cut(address, "://")
	if !ok {
		return "", nil, errForm
	}
	authority, tail := after, ""
	if end := strings.IndexAny(after, "/?#"); end >= 0 {
		authority, tail = after[:end], after[end:]
	}
	if strings.Contains(tail, "@") { // a password that is not percent-encoded ends here
		return "", nil, errors.New("the Redis URL can't be read: percent-encode what is no letter or digit in user, password and options")
	}
	user := ""
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, authority = authority[:at+1], authority[at+1:]
	}
	return scheme + "://" + user + "host" + tail, strings.Split(authority, ","), nil
}

// complete checks hosts, and gives the usual port to those without.
func complete(hosts []string, f form) ([]string, error) {
	port := "6379"
	if f == sentinel {
		port = "26379"
	}
	for i, host := range hosts {
		name, its, err := net.SplitHostPort(host)
		if err != nil {
			name, its = strings.Trim(host, "[]"), port
			if strings.Contains(name, ":") && !strings.HasPrefix(host, "[") {
				return nil, errForm
			}
		}
		number, err := strconv.ParseUint(its, 10, 16)
		if err != nil || number == 0 || name == "" {
			return nil, errForm
		}
		hosts[i] = net.JoinHostPort(name, its)
	}
	if f == single && len(hosts) > 1 {
		return nil, errors.New("the Redis URL names several hosts: for a cluster it begins with redis+cluster://, with Sentinel redis+sentinel://")
	}
	return hosts, nil
}

func (t *target) setDatabase(text string) (err error) {
	if text == "" {
		return nil
	}
	if t.db, err = strconv.Atoi(text); err != nil || t.db < 0 {
		return errors.New("the Redis URL names no database by number after its hosts, as /0 does")
	}
	if t.form == cluster && t.db != 0 {
		return errors.New("a Redis cluster has database 0 alone: leave the number out of the Redis URL")
	}
	return nil
}

// stale are options, by which clients of Redis read from replicas, in any spelling.
var stale = []string{
	"readonly", "replicaonly", "slaveonly", "routebylatency", "routebylatencytolerance", "routerandomly",
	"usedisconnectedreplicas", "usedisconnectedslaves", "readfrom", "readfromreplicas", "readpreference", "failovercluster",
}

const whyNotStale = "Freshet does not read from replicas: one that lags makes misses and broken locks of what the primary has, " +
	"and saves the primary little"

// setOptions takes each option of the query, and refuses what it does not know: a misspelt one would be without effect.
func (t *target) setOptions(query url.Values, secure bool) error {
	var files tlsFiles
	names := map[string]*string{"client_name": &t.clientName, "ca": &files.ca, "cert": &files.cert, "key": &files.key, "server_name": &files.serverName}
	if t.form == sentinel {
		names["master_name"], names["sentinel_username"], names["sentinel_password"] = &t.master, &t.sentinelUsername, &t.sentinelPassword
	}
	for name, values := range query {
		to := names[name]
		switch {
		case slices.Contains(stale, strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))):
			return fmt.Errorf("the Redis URL has the option %q: %s", name, whyNotStale)
		case name != "tls" && to == nil:
			return fmt.Errorf("the Redis URL has the option %q, which is unknown here", name)
		case len(values) != 1:
			return fmt.Errorf("the Redis URL has the option %q %d times", name, len(values))
		case to != nil:
			*to = values[0]
		case values[0] == "true":
			secure = true
		case values[0] != "false" || secure:
			return errors.New(`the Redis URL's option "tls" is true, or left out`)
		}
	}
	if t.form == sentinel && t.master == "" {
		return errors.New("the Redis URL lacks ?master_name=, the name by which Sentinel knows the primary")
	}
	return t.setTLS(files, secure)
}

type tlsFiles struct{ ca, cert, key, serverName string }

func (t *target) setTLS(f tlsFiles, secure bool) error {
	if !secure {
		if f != (tlsFiles{}) {
			return errors.New("the Redis URL has options of TLS, but no TLS: begin it with rediss")
		}
		return nil
	}
	if (f.cert == "") != (f.key == "") {
		return errors.New("the Redis URL has one of the options cert and key: a client's certificate needs both")
	}
	// Without a name of its own, each connection is checked for the host that it is made to.
	t.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.serverName}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return fmt.Errorf("the Redis URL's CA: %w", err)
		}
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("the Redis URL's CA: %s has no certificate in PEM form", f.ca)
		}
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return fmt.Errorf("the Redis URL's client certificate: %w", err)
		}
		t.tls.Certificates = []tls.Certificate{pair}
	}
	return nil
}
