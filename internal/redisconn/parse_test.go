package redisconn

import (
	"slices"
	"strings"
	"testing"
)

func TestParse_Understands(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]target{
		"redis://cache":                     {hosts: []string{"cache:6379"}},
		"redis://u:p%40ss@cache:1/2":        {hosts: []string{"cache:1"}, username: "u", password: "p@ss", db: 2},
		"redis://:p@[::1]:7/0":              {hosts: []string{"[::1]:7"}, password: "p"},
		"redis+cluster://u:p@a:1,b,[::1]":   {form: cluster, hosts: []string{"a:1", "b:6379", "[::1]:6379"}, username: "u", password: "p"},
		"redis+cluster://a/0?client_name=x": {form: cluster, hosts: []string{"a:6379"}, clientName: "x"},
		"redis+sentinel://u:p@a:1,b/3?master_name=m&sentinel_username=s&sentinel_password=t%3D": {
			form: sentinel, hosts: []string{"a:1", "b:26379"}, username: "u", password: "p", db: 3, master: "m", sentinelUsername: "s", sentinelPassword: "t=",
		},
	} {
		got, err := parse(address)
		if err != nil {
			t.Errorf("parse(%q): got %v", address, err)
			continue
		}
		if !slices.Equal(got.hosts, want.hosts) {
			t.Errorf("parse(%q): got hosts %q, want %q", address, got.hosts, want.hosts)
		}
		got.hosts, want.hosts = nil, nil
		if got.form != want.form || got.username != want.username || got.password != want.password || got.db != want.db ||
			got.master != want.master || got.sentinelUsername != want.sentinelUsername || got.sentinelPassword != want.sentinelPassword ||
			got.clientName != want.clientName || got.tls != nil {
			t.Errorf("parse(%q): got %+v, want %+v", address, *got, want)
		}
	}
	for _, address := range []string{"rediss://a", "redis://a?tls=true", "rediss+sentinel://a?master_name=m&tls=true", "redis+cluster://a?tls=true&server_name=b"} {
		if got, err := parse(address); err != nil || got.tls == nil {
			t.Errorf("parse(%q): got %v, want TLS", address, err)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                                                             "can't be read",
		"cache:6379":                                                   "can't be read",
		"http://cache":                                                 "can't be read",
		"redis+other://cache":                                          "can't be read",
		"redis+cluster+sentinel://cache":                               "can't be read",
		"redis://u:hunter2@":                                           "can't be read",
		"redis://u:hunter2@cache:port":                                 "can't be read",
		"redis://u:hunter2@cache:0":                                    "can't be read",
		"redis://u:hun/ter2@cache":                                     "percent-encode",
		"redis://u:1?hunter2=1@cache":                                  "percent-encode",
		"redis://u:hunt%er2@cache":                                     "can't be read",
		"redis://u:hunter2@a,b":                                        "several hosts",
		"redis://u:hunter2@a/x":                                        "no database",
		"redis+cluster://u:hunter2@a/1":                                "database 0 alone",
		"redis+sentinel://u:hunter2@a":                                 "master_name",
		"redis://u:hunter2@a?pool_size=3":                              `"pool_size", which is unknown`,
		"redis://u:hunter2@a?master_name=m":                            `"master_name", which is unknown`,
		"redis://u:hunter2@a?ca=/x":                                    "no TLS",
		"redis://u:hunter2@a?tls=maybe":                                `"tls" is true`,
		"rediss://u:hunter2@a?tls=false":                               `"tls" is true`,
		"rediss://u:hunter2@a?ca=/no/such/file":                        "/no/such/file",
		"rediss://u:hunter2@a?cert=/x":                                 "cert and key",
		"redis://u:hunter2@a?client_name=x&client_name=y":              `"client_name" 2 times`,
		"redis+cluster://u:hunter2@a?route_by_latency=true":            "does not read from replicas",
		"redis+cluster://u:hunter2@a?read_only=1":                      "does not read from replicas",
		"redis+cluster://u:hunter2@a?routeRandomly=1":                  "does not read from replicas",
		"redis+sentinel://u:hunter2@a?master_name=m&replica_only=true": "does not read from replicas",
	} {
		_, err := Open(address, 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): got %v, want an error with %q", address, err, want)
			continue
		}
		for _, secret := range []string{"hunter2", "ter2", "hunt"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("Open(%q): got %q, which shows the password", address, err)
			}
		}
	}
}
