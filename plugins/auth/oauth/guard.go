package oauth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// guard is the http.RoundTripper below everything this package sends. It decides
// where requests may go: URLs come from servers which may lie, and what answers
// behind a firewall is not for them to reach (server-side request forgery).
type guard struct {
	networks []netip.Prefix    // besides public ones
	base     http.RoundTripper // the caller's; nil for the three below

	// One transport per kind of trust, because they keep connections: one that was
	// allowed to dial an address must not serve those that are not.
	public, named, local *http.Transport
}

// reach says where a chain of documents may lead, besides public addresses.
type reach struct {
	hosts    []string // configured: may be anywhere
	loopback bool     // the chain began on loopback: may lead to it, and over HTTP
}

// reachOf starts a chain at URLs that were configured.
func reachOf(urls ...string) reach {
	var r reach
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			continue
		}
		host := strings.ToLower(u.Hostname())
		if isLoopback(host) {
			r.loopback = true
		} else {
			r.hosts = append(r.hosts, host)
		}
	}
	return r
}

type reachKey struct{}

func withReach(ctx context.Context, r reach) context.Context {
	return context.WithValue(ctx, reachKey{}, r)
}

func newGuard(tlsConfig *tls.Config, base http.RoundTripper, networks []netip.Prefix, resolver *net.Resolver) *guard {
	g := &guard{base: base, networks: networks}
	if base != nil {
		return g
	}
	transport := func(control func(network, address string, _ syscall.RawConn) error) *http.Transport {
		dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second, Control: control, Resolver: resolver}
		t := &http.Transport{
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}
		if tlsConfig != nil {
			t.TLSClientConfig = tlsConfig.Clone()
		}
		return t
	}
	g.public = transport(g.control(g.isPublic))
	g.local = transport(g.control(netip.Addr.IsLoopback))
	g.named = transport(nil)
	g.named.Proxy = http.ProxyFromEnvironment
	return g
}

// AddressError reports a server, named by another server, at an address where it
// has no business to be.
type AddressError struct{ Address netip.Addr }

func (e *AddressError) Error() string {
	return fmt.Sprintf("address %v is not public: if the server belongs there, add its network to Config.PrivateNetworks", e.Address)
}

// RoundTrip sends the request if it may go where it wants to.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := g.route(req)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	return t.RoundTrip(req)
}

// control is asked with the address that a name resolved to, right before it is
// dialled: no later answer of a DNS server can differ.
func (g *guard) control(allowed func(netip.Addr) bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return errors.New("is not an IP address")
		}
		if ip := ap.Addr().Unmap().WithZone(""); !allowed(ip) {
			return &AddressError{Address: ip}
		}
		return nil
	}
}

func (g *guard) route(req *http.Request) (http.RoundTripper, error) {
	r, _ := req.Context().Value(reachKey{}).(reach)
	host := strings.ToLower(req.URL.Hostname())
	if from := req.Response; from != nil && from.Request != nil && from.Request.URL.Host != req.URL.Host {
		r = reach{} // whoever redirects elsewhere has no trust to pass on
	}
	local := isLoopback(host)
	switch {
	case host == "":
		return nil, errors.New("the URL has no host")
	case local && !r.loopback:
		return nil, fmt.Errorf("%s is loopback, and it was not loopback that named it", req.URL.Host)
	case req.URL.Scheme != "https" && (!local || req.URL.Scheme != "http"):
		return nil, fmt.Errorf("%s is not https", redactURL(req.URL.String()))
	}
	named := slices.Contains(r.hosts, host)
	if ip, err := netip.ParseAddr(host); err == nil && !local && !named && !g.isPublic(ip.Unmap().WithZone("")) {
		return nil, &AddressError{Address: ip}
	}
	switch {
	case g.base != nil:
		return g.base, nil
	case local:
		return g.local, nil
	case named || g.proxied(req):
		return g.named, nil
	default:
		return g.public, nil
	}
}

func (g *guard) proxied(req *http.Request) bool {
	proxy, err := http.ProxyFromEnvironment(req)
	return err != nil || proxy != nil // an error is for the transport to report
}

// isPublic reports whether an address is on the public internet, or in a network
// that the configuration allows.
func (g *guard) isPublic(ip netip.Addr) bool {
	for _, p := range g.networks {
		if p.Contains(ip) {
			return true
		}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// reserved are the IANA special-purpose blocks that netip has no method for. Those
// of IPv6 that embed an IPv4 address are left out of reach whole.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // future use, broadcast
	netip.MustParsePrefix("::/96"),           // IPv4-compatible
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64, local
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4
	netip.MustParsePrefix("5f00::/16"),       // segment routing
}

// isLoopback reports whether a host is this machine by its very name.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (g *guard) closeIdle() {
	for _, t := range []*http.Transport{g.public, g.named, g.local} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
}

// discoveryRedirects bounds how often a document may have moved.
const discoveryRedirects = 5

// discoveryClient fetches documents. The guard looks at every hop.
func (g *guard) discoveryClient() *http.Client {
	return &http.Client{Transport: g, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > discoveryRedirects {
			return fmt.Errorf("more than %d redirects", discoveryRedirects)
		}
		if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return errors.New("redirected from https to " + req.URL.Scheme)
		}
		return nil
	}}
}
