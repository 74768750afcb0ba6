package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// Identity says whose credentials are wanted. The zero Identity is the
// application's own.
type Identity struct {
	// ID names the identity: two requests with the same ID and Attrs share
	// credentials, and no others do. It is shown in errors and logs, so it is a
	// name (a user or tenant id), never a token.
	ID string
	// Attrs are facts about the identity that a provider may put into its
	// credentials, as session tags or claims. They belong to the identity: the same
	// ID with other Attrs is somebody else.
	Attrs map[string]string
	// Subject returns the token that proves the identity to the application, for
	// providers that exchange it for one the target accepts; nil where there is
	// none. It is called at each exchange, so that it can return a fresh one, from
	// the provider's goroutine, and may block until ctx ends. It is not part of
	// what tells identities apart.
	Subject func(ctx context.Context) (Secret, error)
}

// Target says what the credentials are for.
type Target struct {
	// Name is the endpoint's name in the host's configuration, for messages.
	Name string
	// URL is the endpoint: scheme, host and path. Only its origin is ever sent
	// credentials.
	URL string
	// Resource is the RFC 8707 resource indicator where it differs from URL; empty
	// means that URL is meant.
	Resource string
}

// Request asks for credentials: for whom, for what, and how much.
type Request struct {
	Identity Identity
	Target   Target
	// Scopes are wanted at least; nil leaves the choice to the provider. The order
	// means nothing to providers, but a Cache keeps one entry per order.
	Scopes []string
}

// Clone returns a copy that shares no map or slice with r.
func (r Request) Clone() Request {
	r.Identity.Attrs = maps.Clone(r.Identity.Attrs)
	r.Scopes = slices.Clone(r.Scopes)
	return r
}

// String names the identity and the target. Values of Attrs are left out.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v at %v", r.Identity, r.Target)
	if len(r.Scopes) > 0 {
		fmt.Fprintf(&b, " scopes %q", r.Scopes)
	}
	return b.String()
}

// Format writes String for every verb.
func (r Request) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue is String.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalJSON is String, quoted: a Request is described, not transported, this way.
func (r Request) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

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
func (i Identity) MarshalJSON() ([]byte, error) { return json.Marshal(i.String()) }

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
func (t Target) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }
