package auth

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// HTTPRequest describes one attempt, as a Signer and a Challenge see it.
type HTTPRequest struct {
	Method string
	// URL is absolute, and its path and query are exactly as on the wire: escapes
	// stay as they are.
	URL string
	// Host is what the Host header will say; empty means the host of URL.
	Host string
	// Header is what will be sent, the credentials of this attempt included.
	Header http.Header
	// ContentLength is the length of the body; 0 means that there is none.
	ContentLength int64
	// BodySHA256 is the digest of the body, of no bytes where there is none. In the
	// Challenge of a provider that does not sign it may be left out.
	BodySHA256 [32]byte
}

// String shows method, URL without query, and header names.
func (r HTTPRequest) String() string {
	return fmt.Sprintf("%s %s %s %d bytes", r.Method, redactURL(r.URL), headerNames(r.Header), r.ContentLength)
}

// Format writes String for every verb.
func (r HTTPRequest) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue is String.
func (r HTTPRequest) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalJSON is String, quoted.
func (r HTTPRequest) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

// MaxChallengeBody is how much of a refusal's body a Challenge carries.
const MaxChallengeBody = 4 << 10

// Challenge is a refusal: what was sent, and what came back. Printing, logging or
// marshalling one shows no header value and no body.
type Challenge struct {
	// Sent is the refused attempt, its credentials included.
	Sent HTTPRequest
	// SentAt is when it was sent, by the sender's clock: with the answer's Date it
	// tells how far the clocks are apart. For a provider that does not sign it may be
	// when the answer came, which tells the same.
	SentAt time.Time
	// Generation is that of the Signature or, if it has none, of the Credentials
	// that were sent.
	Generation string
	// Status is 401 or 403.
	Status int
	// Header is the answer's.
	Header http.Header
	// Body is the beginning of the answer's body, at most MaxChallengeBody bytes.
	Body []byte
}

// String shows the status, the generation and the request without secrets.
func (c Challenge) String() string {
	return fmt.Sprintf("challenge %d to %v generation %q %s", c.Status, c.Sent, c.Generation, headerNames(c.Header))
}

// Format writes String for every verb.
func (c Challenge) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String.
func (c Challenge) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON is String, quoted.
func (c Challenge) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// Reason returns what the refusal is about, as far as its headers say.
func (c Challenge) Reason() Reason {
	asked := strings.Join(c.Header.Values("WWW-Authenticate"), ", ")
	switch {
	case strings.Contains(asked, "use_dpop_nonce") && c.Header.Get("DPoP-Nonce") != "":
		return NonceWanted
	case c.Status == http.StatusForbidden && strings.Contains(asked, "insufficient_scope"):
		return ScopeWanted
	}
	return Refused
}

// Reason is what a refusal is about.
type Reason int

const (
	// Refused means that the credentials are not good, or that there were none.
	Refused Reason = iota
	// ScopeWanted means that they are good, and for less than is wanted (RFC 6750, 3.1).
	ScopeWanted
	// NonceWanted means that they are good, and that the proof which goes with them
	// must contain what the answer says (RFC 9449, 9).
	NonceWanted
)

// Outcome is a provider's answer to a Challenge.
type Outcome int

const (
	// GiveUp means that the answer stands: the caller gets it.
	GiveUp Outcome = iota
	// Retry means that the same request, with new Credentials and a new Signature,
	// has a chance. The caller tries once more, and not again when the answer to that
	// is a refusal of the same kind; see the package comment.
	Retry
	// NeedsLogin means that it has a chance after a person logged in.
	NeedsLogin
)

// String is the name of the constant.
func (o Outcome) String() string {
	switch o {
	case GiveUp:
		return "GiveUp"
	case Retry:
		return "Retry"
	case NeedsLogin:
		return "NeedsLogin"
	default:
		return fmt.Sprintf("Outcome(%d)", int(o))
	}
}
