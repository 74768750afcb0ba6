package debug

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// local tells whether a request comes from this machine, means this machine and was
// passed on by nobody. The Host matters because a page elsewhere may have a name that
// points here (DNS rebinding), the peer because anybody may write any Host.
func local(r *http.Request) bool {
	for name := range r.Header {
		switch name := http.CanonicalHeaderKey(name); {
		case name == "Forwarded", name == "Via", name == "X-Real-Ip", strings.HasPrefix(name, "X-Forwarded"):
			return false
		}
	}
	if !loopbackName(r.Host) {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err != nil || peer.Addr().Unmap().IsLoopback() // a Unix socket has no address
}

func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// wantsJSON tells whether Accept puts JSON before HTML.
func wantsJSON(accept []string) bool {
	return quality(accept, "application", "json") > quality(accept, "text", "html")
}

// quality is what a type is worth by RFC 9110, section 12.5.1: of the ranges that
// fit it the most specific counts.
func quality(accept []string, kind, sub string) float64 {
	best, worth := -1, 0.0
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			specific := -1
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case kind + "/" + sub:
				specific = 2
			case kind + "/*":
				specific = 1
			case "*/*":
				specific = 0
			}
			if specific > best {
				best, worth = specific, weight(params)
			}
		}
	}
	return worth
}

// weight is the q of a range, 1 if there is none and 0 if it is no number.
func weight(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}
