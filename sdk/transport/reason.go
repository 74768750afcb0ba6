package transport

import (
	"encoding/json"
	"net/url"
)

// Reason says why a connection ended.
type Reason uint8

const (
	// Done is the ordinary end: the side that closed needs the session no more.
	Done Reason = iota
	// PeerGone is a peer that vanished: a cut line, a process that ended, pings
	// without an answer. What it was sent may have run.
	PeerGone
	// SessionGone is a peer that does not know the session any more and says so.
	// Messages without an answer did not run: the peer refused the connection's
	// whole purpose. Do not report it for a peer that merely went away.
	SessionGone
	// ShuttingDown is a side that is about to end and says so. What it was sent may
	// have run.
	ShuttingDown
	// ProtocolError is a peer that broke the rules of the medium or of JSON-RPC, or
	// sent a message beyond the limit. What it was sent may have run.
	ProtocolError
)

// String names the reason.
func (r Reason) String() string {
	names := [...]string{"done", "peer gone", "session gone", "shutting down", "protocol error"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown reason"
}

// MarshalText is String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// quote is a JSON string.
func quote(s string) ([]byte, error) { return json.Marshal(s) }

// redactURL returns a URL without user, query and fragment, and nothing of one
// that does not parse.
func redactURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "[unreadable URL]"
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", "", false
	return u.String()
}
