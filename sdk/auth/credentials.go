package auth

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Credentials are what to send with a request. Printing, logging or marshalling
// one shows the names of the headers and never their values.
type Credentials struct {
	// Header is set on the request, replacing what is there under the same names.
	// CheckHeader says which names and values are allowed. It may be empty.
	Header http.Header
	// Expires is when the credentials stop working; zero if that is not known.
	Expires time.Time
	// RefreshAfter is from when on new ones are worth fetching while these still
	// work; zero leaves it to the cache.
	RefreshAfter time.Time
	// Generation names these credentials among all that the provider gave for the
	// same request: it changes when they do, and comes back in a Challenge. It is
	// not a secret and not derived from one. Empty, the cache numbers them itself.
	Generation string
}

// Expired reports whether the credentials have stopped working at now.
func (c Credentials) Expired(now time.Time) bool {
	return !c.Expires.IsZero() && !now.Before(c.Expires)
}

// String shows the header names, the generation and the times.
func (c Credentials) String() string {
	s := fmt.Sprintf("credentials %s generation %q", headerNames(c.Header), c.Generation)
	if !c.Expires.IsZero() {
		s += " expires " + c.Expires.UTC().Format(time.RFC3339)
	}
	return s
}

// Format writes String for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON is String, quoted.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// Signature is what a Signer returns for one request. It prints like Credentials.
type Signature struct {
	// Header is set on the request, replacing what is there under the same names;
	// see CheckHeader.
	Header http.Header
	// RawQuery is the query to send, without "?", exactly as it was signed. Empty
	// means that the request's own query is sent as it is.
	RawQuery string
	// Generation names the keys that signed, as Credentials.Generation does; empty
	// means that the generation of the Credentials stands.
	Generation string
}

// String shows the header names and the generation.
func (s Signature) String() string {
	return fmt.Sprintf("signature %s generation %q", headerNames(s.Header), s.Generation)
}

// Format writes String for every verb.
func (s Signature) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String.
func (s Signature) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON is String, quoted.
func (s Signature) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }
