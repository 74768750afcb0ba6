package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
)

// Dialer opens connections. See the package comment for who calls it, when, and
// from how many goroutines.
type Dialer interface {
	// Dial opens one connection and returns it once messages can be sent. It may
	// block until ctx ends; what it began is then undone. The Dialer may keep what
	// open refers to, and writes to none of it.
	Dial(ctx context.Context, open Open) (Conn, error)
}

// Conn carries the messages of one session. See the package comment.
type Conn interface {
	// Send sends one message, which it does not change and does not keep after it
	// has returned. Nil means that the medium has it whole, not that the peer has
	// read it. The connection lives on after an error that is ErrTooLarge or that
	// is ErrNotSent and no CloseError.
	Send(ctx context.Context, message []byte) error

	// Receive returns the next message, which belongs to the caller from then on.
	// Messages come in the order they were sent. After the end of the connection it
	// returns what had arrived whole before, then a *CloseError each time. A message
	// that is too large ends the connection: its rest cannot be told from the next.
	Receive(ctx context.Context) ([]byte, error)

	// Close ends the connection and everything that belongs to it, and returns when
	// that is gone or ctx ends, with an error saying what was left. The peer is told
	// the reason where the medium has a way. Calls of Send and Receive that block
	// return a *CloseError. A second Close waits for the first and returns the same.
	Close(ctx context.Context, reason Reason) error
}

// DefaultMaxBytes is the limit on a message where Open.MaxBytes is 0: 16 MiB.
const DefaultMaxBytes = 16 << 20

// Open says which connection is wanted.
type Open struct {
	// Target is what to connect to.
	Target Target
	// Identity is whose connection it is. Connections are never shared across
	// identities.
	Identity Identity
	// Header is sent when the connection is opened, where the medium has headers;
	// others ignore it. It may hold credentials.
	Header http.Header
	// MaxBytes bounds one message in either direction. Default: DefaultMaxBytes.
	MaxBytes int64
}

// Limit returns MaxBytes or its default.
func (o Open) Limit() int64 {
	if o.MaxBytes > 0 {
		return o.MaxBytes
	}
	return DefaultMaxBytes
}

// Clone returns a copy that shares no map or slice with o.
func (o Open) Clone() Open {
	o.Identity.Attrs = maps.Clone(o.Identity.Attrs)
	o.Header = o.Header.Clone()
	return o
}

// String names the target and the identity, and the names of the headers.
func (o Open) String() string {
	s := fmt.Sprintf("%v for %v", o.Target, o.Identity)
	if len(o.Header) > 0 {
		s += fmt.Sprintf(" with headers %q", slices.Sorted(maps.Keys(o.Header)))
	}
	return s
}

// Format writes String for every verb.
func (o Open) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// LogValue is String.
func (o Open) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalJSON is String, quoted: an Open is described, not transported, this way.
func (o Open) MarshalJSON() ([]byte, error) { return quote(o.String()) }

// Target says what to connect to.
type Target struct {
	// Name is the endpoint's name in the host's configuration, for messages.
	Name string
	// URL is the endpoint in the words of the medium. Empty means the one in the
	// dialer's own configuration; a dialer that has one there may refuse another.
	URL string
}

// String is the name and the URL, without what a URL may hide: user and query.
func (t Target) String() string {
	switch u := redactURL(t.URL); {
	case t.Name == "":
		return u
	case u == "":
		return t.Name
	default:
		return t.Name + " (" + u + ")"
	}
}

// Format writes String for every verb.
func (t Target) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// LogValue is String.
func (t Target) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalJSON is String, quoted.
func (t Target) MarshalJSON() ([]byte, error) { return quote(t.String()) }

// Identity says whose connection it is. The zero Identity is the application's own.
type Identity struct {
	// ID names the identity. It is shown in errors and logs, so it is a name, never
	// a token.
	ID string
	// Attrs are facts about the identity, and part of it.
	Attrs map[string]string
	// Subject returns the token that proves the identity to the application, for a
	// transport that exchanges it for credentials; nil where there is none. It may
	// block until ctx ends and be called from any goroutine. The token must not
	// reach logs or errors.
	Subject func(ctx context.Context) (token string, err error)
}

// String is the ID and the names of the Attrs.
func (i Identity) String() string {
	id := i.ID
	if id == "" {
		id = "default"
	}
	s := fmt.Sprintf("identity %q", id)
	if len(i.Attrs) > 0 {
		s += fmt.Sprintf(" with %q", slices.Sorted(maps.Keys(i.Attrs)))
	}
	return s
}

// Format writes String for every verb.
func (i Identity) Format(f fmt.State, _ rune) { io.WriteString(f, i.String()) }

// LogValue is String.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// MarshalJSON is String, quoted.
func (i Identity) MarshalJSON() ([]byte, error) { return quote(i.String()) }
