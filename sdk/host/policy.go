package host

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// policy is what a plugin may set and see.
type policy struct{ headers []string }

// checkHeader refuses headers that no credentials may set, and those that the plugin
// did not declare.
func (p policy) checkHeader(h http.Header) error {
	if err := auth.CheckHeader(h); err != nil {
		return &Error{Message: "it returned something that it may not: " + err.Error()}
	}
	for name := range h {
		if !p.declared(name) {
			return &Error{Message: fmt.Sprintf("it sets the header %s, and declares only %q",
				textproto.CanonicalMIMEHeaderKey(name), p.headers)}
		}
	}
	return nil
}

func (p policy) declared(name string) bool {
	for _, pattern := range p.headers {
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		if strings.EqualFold(name, pattern) ||
			isPrefix && len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// checkQuery refuses a query that would change more than the query.
func checkQuery(q string) error {
	for i := range len(q) {
		if c := q[i]; c <= ' ' || c == '#' || c >= 0x7f {
			return &Error{Message: "it returned a query that is not escaped"}
		}
	}
	return nil
}

// checkOrigin refuses to have anything but a request to the target signed.
func checkOrigin(target auth.Target, raw string) error {
	if target.URL == "" {
		return &Error{Message: "Request.Target has no URL, and only its origin is given credentials"}
	}
	t, terr := url.Parse(target.URL)
	if terr == nil && raw == target.URL {
		return nil
	}
	u, uerr := url.Parse(raw)
	if terr != nil || uerr != nil || originOf(t) != originOf(u) {
		return &Error{Message: fmt.Sprintf("the request is not to the origin of %v, and gets no credentials", target)}
	}
	return nil
}

// originOf is scheme, host and port (RFC 6454), the port made explicit.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		switch strings.ToLower(u.Scheme) {
		case "http":
			port = "80"
		case "https":
			port = "443"
		}
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
