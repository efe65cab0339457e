package doctor

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

func TestExamine_SeesSettingsOfRedis(t *testing.T) {
	t.Parallel()
	db := openDatabase(t, testenv.EmptyDatabase(t))
	faulty := testenv.Redis(t, map[string]string{"maxmemory": "0", "maxmemory-policy": "noeviction", "appendonly": "yes"})
	client := openRedis(t, faulty.URL)
	wanted := func() map[string]expected {
		return map[string]expected{
			"migrations":               {Mend, "missing: ", "freshet migrate up"},
			"redis 1 maxmemory":        {Mend, "0 bytes", "set maxmemory"},
			"redis 1 maxmemory-policy": {Mend, "noeviction", "allkeys-lru"},
			"redis 1 persistence":      {Warning, "on", "appendonly no"},
		}
	}
	want(t, examine(t.Context(), Deployment{DB: db, Redis: client}, patient()), wanted())
	must(t, client.ConfigSet(t.Context(), "save", "3600 1").Err(), client.ConfigSet(t.Context(), "appendonly", "no").Err())
	want(t, examine(t.Context(), Deployment{DB: db, Redis: client}, patient()), wanted())
	must(t, client.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	also := wanted()
	also["redis 1 role"] = expected{Mend, "slave", "redis+sentinel://"}
	want(t, examine(t.Context(), Deployment{DB: db, Redis: client}, patient()), also)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// disguise passes on what a Redis says, with its replies changed: each as long as before.
func disguise(t *testing.T, to string, change func([]byte) []byte) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			real, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				return
			}
			go func() { io.Copy(real, from); real.Close() }()
			go func() {
				defer from.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := real.Read(buffer)
					if _, failed := from.Write(change(buffer[:n])); err != nil || failed != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// A Redis of another time and release: none can be had here, so the replies of one say so.
func TestExamine_SeesAnOldRedisWithAnotherClock(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testenv.SharedRedis(t))
	must(t, err)
	clock, version := regexp.MustCompile(`^\*2\r\n\$10\r\n\d{10}\r\n`), regexp.MustCompile(`redis_version:\d`)
	u.Host = disguise(t, u.Host, func(reply []byte) []byte {
		reply = clock.ReplaceAllFunc(reply, func(is []byte) []byte {
			seconds, _ := strconv.Atoi(string(is[9:19]))
			return fmt.Appendf(nil, "*2\r\n$10\r\n%d\r\n", seconds-3600)
		})
		return version.ReplaceAll(reply, []byte("redis_version:6"))
	})
	d := Deployment{DB: openDatabase(t, testenv.Database(t)), Redis: openRedis(t, u.String())}
	want(t, examine(t.Context(), d, patient()), noSequencer(map[string]expected{
		"redis 1 clock": {Warning, "host's by -", "NTP"}, "redis 1 version": {Mend, "6.", "Redis 7.0 or newer"},
	}))
}

func TestExamine_SeesAReplicaThatLags(t *testing.T) {
	t.Parallel()
	primary := testenv.Redis(t, nil)
	host, port, err := net.SplitHostPort(primary.Addr)
	must(t, err)
	u, err := url.Parse(primary.URL)
	must(t, err)
	password, _ := u.User.Password()
	replica := testenv.Redis(t, map[string]string{"replicaof": host + " " + port, "masterauth": password})
	client := openRedis(t, primary.URL)
	d := Deployment{DB: openDatabase(t, testenv.Database(t)), Redis: client}
	testenv.Eventually(t, "the replica follows", func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "state=online")
	})
	want(t, examine(t.Context(), d, patient()), noSequencer(nil))
	replica.Pause()
	defer replica.Resume()
	must(t, client.Set(t.Context(), "big", strings.Repeat("x", 17<<20), time.Minute).Err())
	want(t, examine(t.Context(), d, patient()), noSequencer(map[string]expected{"redis 1 replica " + replica.Addr: {Warning, "online, 178", "see that it runs"}}))
}

// unwell are the findings that are not fine.
func unwell(found []Finding) (all []Finding) {
	for _, f := range found {
		if f.Level != Fine {
			all = append(all, f)
		}
	}
	return all
}

// A primary with Sentinel loses its replicas, then a Sentinel, then one of the others forgets that, then all are gone but that.
func TestExamine_SeesFaultsOfSentinel(t *testing.T) {
	t.Parallel()
	g := testenv.Sentinel(t, 2*time.Second)
	d := Deployment{DB: openDatabase(t, testenv.Database(t)), Redis: openRedis(t, g.URL), Sentinels: openSentinels(t, g.URL)}
	wanted := noSequencer(nil)
	// exactly looks for all that is in wanted, and nothing else.
	exactly := func(check string, x expected) {
		t.Helper()
		wanted[check] = x
		var found []Finding
		testenv.Eventually(t, check+" "+x.seen, func() bool {
			found = examine(t.Context(), d, patient())
			bad := unwell(found)
			return len(bad) == len(wanted) && !slices.ContainsFunc(bad, func(f Finding) bool { return !wanted[f.Check].is(f) })
		})
		want(t, found, maps.Clone(wanted))
	}
	g.Nodes[1].Kill()
	g.Nodes[2].Kill()
	exactly("redis 1 role", expected{Warning, "primary with 0 replicas", "start its replica again"})
	g.Sentinels[2].Kill()
	exactly("redis sentinel 3", expected{Away, g.Sentinels[2].Addr, "start it again"})
	must(t, d.Sentinels.Clients[0].Reset(t.Context(), d.Sentinels.Master).Err())
	exactly("redis sentinel 1", expected{Warning, "knows of 2 Sentinels, REDIS_URL names 3", "reach each other"})
	g.Sentinels[1].Kill()
	wanted["redis sentinel 1"] = expected{Warning, "NOQUORUM", "start the other Sentinels again"}
	exactly("redis sentinel 2", expected{Away, g.Sentinels[1].Addr, "start it again"})
}

// A cluster loses a slot, then a replica, then the primary that had none any more.
func TestExamine_SeesFaultsOfACluster(t *testing.T) {
	t.Parallel()
	g := testenv.Cluster(t, 2*time.Second)
	d := Deployment{DB: openDatabase(t, testenv.Database(t)), Redis: openRedis(t, g.URL)}
	// one looks for findings beside the sequencer's, whatever number the server has.
	one := func(check string, wanted expected) {
		t.Helper()
		var found []Finding
		testenv.Eventually(t, check+" "+wanted.seen, func() bool {
			found = examine(t.Context(), d, patient())
			for _, f := range found {
				if strings.HasPrefix(f.Check, "redis") && strings.HasSuffix(f.Check, check) && wanted.is(f) {
					return true
				}
			}
			return false
		})
	}
	first := redis.NewClient(&redis.Options{Addr: g.Nodes[0].Addr, Password: g.Password})
	defer first.Close()
	must(t, first.ClusterDelSlots(t.Context(), 7).Err())
	one("cluster", expected{Mend, "16383 of 16384", "redis-cli --cluster check"})
	must(t, first.ClusterAddSlots(t.Context(), 7).Err())
	g.Nodes[3].Kill()
	one("role", expected{Warning, "primary with 0 replicas", "start its replica again"})
	g.Nodes[0].Kill()
	one("", expected{Away, g.Nodes[0].Addr + " can't be asked", "start it again"})
	one("cluster", expected{Mend, "10923 of 16384", "redis-cli --cluster check"})
	must(t, g.Nodes[0].Restart(t.Context()), g.Nodes[3].Restart(t.Context()))
}
