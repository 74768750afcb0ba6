package auth

import (
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// CheckHeader returns an error naming the first header that credentials may not
// set: those that frame or route the message (Host, Content-*, Connection,
// Transfer-Encoding and the other hop-by-hop ones), those of MCP itself (Mcp-*),
// names that are not HTTP tokens, and values with control characters. The error
// never shows a value. Providers need not call it: caches and transports do.
func CheckHeader(h http.Header) error {
	for name, values := range h {
		if !isToken(name) {
			return fmt.Errorf("auth: header name %q is not an HTTP token", name)
		}
		if reservedHeader(name) {
			return fmt.Errorf("auth: header %s is not for credentials to set", textproto.CanonicalMIMEHeaderKey(name))
		}
		for _, v := range values {
			if !isFieldValue(v) {
				return fmt.Errorf("auth: header %s has a value with a control character or surrounding space", name)
			}
		}
	}
	return nil
}

func reservedHeader(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Host", "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Expect", "Accept", "Last-Event-Id":
		return true
	}
	return strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "Mcp-")
}

// isToken is RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue is RFC 9110, 5.5. It is on the path of every signed request, so it
// looks at eight bytes at once as long as they are plain.
func isFieldValue(s string) bool {
	i := 0
	for i+8 <= len(s) && plain8(load8(s[i:])) {
		i += 8
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == "" || !isSpace(s[0]) && !isSpace(s[len(s)-1])
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// load8 is one load to the compiler.
func load8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// plain8 reports whether none of eight bytes is below a space, DEL, or above it. In
// bytes without the high bit, adding 0x60 sets it from the space on, and adding 1 sets
// it for DEL alone; neither carries into the next byte.
func plain8(x uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	return x&high == 0 && (x+0x60*ones)&high == high && (x+ones)&high == 0
}

// headerNames lists the names and nothing else.
func headerNames(h http.Header) string {
	return fmt.Sprintf("%q", slices.Sorted(maps.Keys(h)))
}

// redactURL drops user and query, where secrets live, and what does not parse.
func redactURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "[unparsable URL]"
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	if u.RawQuery != "" {
		u.RawQuery = "redacted"
	}
	return u.String()
}
