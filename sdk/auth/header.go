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
		alnum := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue is RFC 9110, 5.5.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
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
