// Package clientaddr tells which address a request came from, also behind proxies that are trusted.
package clientaddr

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks whose word about where a request came from is taken. The zero value trusts none.
type Proxies struct{ trusted []netip.Prefix }

// ParseProxies reads networks such as 10.0.0.0/8, and single addresses.
func ParseProxies(networks []string) (Proxies, error) {
	var p Proxies
	for _, text := range networks {
		network, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			addr, alone := netip.ParseAddr(strings.TrimSpace(text))
			if alone != nil || addr.Zone() != "" {
				return Proxies{}, fmt.Errorf("%q is not a network such as 10.0.0.0/8", text)
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		if network.Addr().Is4In6() {
			return Proxies{}, fmt.Errorf("%q: write the IPv4 network itself", text)
		}
		p.trusted = append(p.trusted, network.Masked())
	}
	return p, nil
}

func (p Proxies) trusts(addr netip.Addr) bool {
	for _, network := range p.trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// Of is the address that a request came from: the peer's, or if that is a trusted proxy what the proxies say, from the
// last to the first that is not trusted. What an untrusted peer says counts for nothing. An entry that is no address
// ends the search: the last proxy before it is then as far as is known. The result is not valid if the peer has no
// address, as on a unix socket.
func (p Proxies) Of(r *http.Request) netip.Addr {
	peer := peerOf(r.RemoteAddr)
	if len(p.trusted) == 0 || !p.trusts(peer) {
		return peer
	}
	// A proxy that sets one header may let a client's other one through, so only one of them may count: the usual one.
	lines, read := r.Header["X-Forwarded-For"], addrOf
	if len(lines) == 0 {
		lines, read = r.Header["Forwarded"], forwardedAddr
	}
	client := peer
	const most = 32 // of proxies one behind the other
	for seen := 0; len(lines) > 0 && seen < most; {
		line := lines[len(lines)-1]
		lines = lines[:len(lines)-1]
		for more := true; more && seen < most; seen++ {
			var entry string
			line, entry, more = cutLast(line)
			addr, ok := read(strings.TrimSpace(entry))
			if !ok {
				return client
			}
			if client = addr; !p.trusts(addr) {
				return client
			}
		}
	}
	return client
}

// cutLast splits a list at its last comma.
func cutLast(list string) (before, last string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", list, false
	}
	return list[:i], list[i+1:], true
}

func peerOf(remote string) netip.Addr {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// addrOf reads an address, also with a port, as some proxies write it.
func addrOf(text string) (netip.Addr, bool) {
	const longest = 64
	if len(text) > longest {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		host, _, split := net.SplitHostPort(text)
		if split != nil {
			return netip.Addr{}, false
		}
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.Addr{}, false
		}
	}
	return addr.Unmap().WithZone(""), true
}

// forwardedAddr reads the for= of one element of RFC 7239's header. An element whose quotes hold a comma is cut in two,
// and neither half is read as an address.
func forwardedAddr(element string) (netip.Addr, bool) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if quoted, ok := strings.CutPrefix(value, `"`); ok {
			if value, ok = strings.CutSuffix(quoted, `"`); !ok {
				return netip.Addr{}, false
			}
		}
		return addrOf(value)
	}
	return netip.Addr{}, false
}

// Key is what counts as one client: an IPv4 address, or an IPv6 network of 64 bits, all of which one household has.
// Different ones have different keys. It is 0 for what is no address.
func Key(addr netip.Addr) uint64 {
	if !addr.IsValid() {
		return 0
	}
	bytes := addr.As16()
	if addr.Is4() || addr.Is4In6() {
		// No IPv6 address that sends begins with these bits: they are of multicast.
		return 0xffffffff<<32 | uint64(bytes[12])<<24 | uint64(bytes[13])<<16 | uint64(bytes[14])<<8 | uint64(bytes[15])
	}
	var key uint64
	for _, b := range bytes[:8] {
		key = key<<8 | uint64(b)
	}
	return key
}
