package clientaddr

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func proxies(t testing.TB, networks ...string) Proxies {
	t.Helper()
	p, err := ParseProxies(networks)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(peer string, header ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestOf(t *testing.T) {
	t.Parallel()
	trusted := proxies(t, "10.0.0.0/8", " 192.0.2.7", "2001:db8:1::/48")
	for name, c := range map[string]struct {
		peer   string
		header []string
		want   string
	}{
		"no proxy":                            {"203.0.113.9:1", nil, "203.0.113.9"},
		"spoofed by an untrusted peer":        {"203.0.113.9:1", []string{"X-Forwarded-For: 198.51.100.1"}, "203.0.113.9"},
		"spoofed in the other header":         {"203.0.113.9:1", []string{"Forwarded: for=198.51.100.1"}, "203.0.113.9"},
		"one proxy":                           {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		"a trusted single address":            {"192.0.2.7:1", []string{"X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		"its neighbour":                       {"192.0.2.8:1", []string{"X-Forwarded-For: 203.0.113.9"}, "192.0.2.8"},
		"two proxies":                         {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"a client that writes in front":       {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"a client that claims to be a proxy":  {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1, 10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		"a client that sends its own line":    {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		"a list over two lines":               {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 10.0.0.2"}, "203.0.113.9"},
		"no header":                           {"10.0.0.1:1", nil, "10.0.0.1"},
		"an empty header":                     {"10.0.0.1:1", []string{"X-Forwarded-For: "}, "10.0.0.1"},
		"a name for an address":               {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1, unknown"}, "10.0.0.1"},
		"an empty entry":                      {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1,, 10.0.0.2"}, "10.0.0.2"},
		"only proxies":                        {"10.0.0.1:1", []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"a port":                              {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6":                                {"[2001:db8:1::1]:1", []string{"X-Forwarded-For: 2001:db8:2::9"}, "2001:db8:2::9"},
		"IPv6 with a port":                    {"[2001:db8:1::1]:1", []string{"X-Forwarded-For: [2001:db8:2::9]:4711"}, "2001:db8:2::9"},
		"IPv6 in brackets":                    {"[2001:db8:1::1]:1", []string{"X-Forwarded-For: [2001:db8:2::9]"}, "2001:db8:2::9"},
		"IPv6 with a zone":                    {"[fe80::1%eth0]:1", nil, "fe80::1"},
		"an IPv4 peer on an IPv6 socket":      {"[::ffff:10.0.0.1]:1", []string{"X-Forwarded-For: ::ffff:203.0.113.9"}, "203.0.113.9"},
		"a proxy as IPv4 in IPv6":             {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, ::ffff:10.0.0.2"}, "203.0.113.9"},
		"Forwarded":                           {"10.0.0.1:1", []string{"Forwarded: for=198.51.100.1, for=203.0.113.9;proto=https, For=10.0.0.2"}, "203.0.113.9"},
		"Forwarded IPv6":                      {"10.0.0.1:1", []string{`Forwarded: proto=https; for="[2001:db8:2::9]:4711"`}, "2001:db8:2::9"},
		"Forwarded, hidden":                   {"10.0.0.1:1", []string{"Forwarded: for=198.51.100.1, for=_hidden"}, "10.0.0.1"},
		"Forwarded with an open quote":        {"10.0.0.1:1", []string{`Forwarded: for="198.51.100.1, x="for=203.0.113.9`}, "10.0.0.1"},
		"a client's Forwarded beside ours":    {"10.0.0.1:1", []string{"Forwarded: for=198.51.100.1", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		"a very long list":                    {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1" + strings.Repeat(",10.0.0.2", 10_000)}, "10.0.0.2"},
		"a very long entry":                   {"10.0.0.1:1", []string{"X-Forwarded-For: " + strings.Repeat("1", 10_000)}, "10.0.0.1"},
		"no address at all, as from a socket": {"@", []string{"X-Forwarded-For: 198.51.100.1"}, "invalid IP"},
	} {
		if got := trusted.Of(request(c.peer, c.header...)).String(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	if got := (Proxies{}).Of(request("10.0.0.1:1", "X-Forwarded-For: 198.51.100.1")).String(); got != "10.0.0.1" {
		t.Errorf("without trusted proxies: got %s, want the peer", got)
	}
}

func TestParseProxies_Refuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "proxy.example.org", "10.0.0.0/33", "10.0.0.1:80", "fe80::1%eth0", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1"} {
		if _, err := ParseProxies([]string{"10.0.0.0/8", text}); err == nil {
			t.Errorf("%q: got no error, want one", text)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	key := func(text string) uint64 { return Key(netip.MustParseAddr(text)) }
	for _, same := range [][2]string{
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2"}, {"203.0.113.9", "::ffff:203.0.113.9"},
	} {
		if key(same[0]) != key(same[1]) {
			t.Errorf("%s and %s: got two keys, want one", same[0], same[1])
		}
	}
	seen := map[uint64]string{0: "no address"}
	for _, text := range []string{"203.0.113.9", "203.0.113.10", "0.0.0.0", "::cb00:7109", "2001:db8:0:1::", "2001:db8:0:2::", "2001:db8:1:1::"} {
		k := key(text)
		if other, taken := seen[k]; taken && text != "::cb00:7109" {
			t.Errorf("%s: got the key of %s, want its own", text, other)
		}
		seen[k] = text
	}
	if Key(netip.Addr{}) != 0 {
		t.Errorf("no address: got %d, want 0", Key(netip.Addr{}))
	}
}

func BenchmarkOf(b *testing.B) {
	p := proxies(b, "10.0.0.0/8")
	r := request("10.0.0.1:4711", "X-Forwarded-For: 198.51.100.1, 203.0.113.9")
	b.ReportAllocs()
	for b.Loop() {
		Key(p.Of(r))
	}
}
