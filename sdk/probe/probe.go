package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Prober finds out how a resource is. See the package comment for who calls it,
// when, and from how many goroutines.
type Prober interface {
	// Probe looks at the target and returns soon after ctx ends. It keeps nothing of
	// the target. What it calls there must be harmless: it runs again and again.
	Probe(ctx context.Context, target Target) (Verdict, error)
}

// Target is one live resource, as far as a prober may know it.
type Target interface {
	// Describe says what the resource is and which calls it takes. It asks nobody
	// and may be called often.
	Describe() Description
	// Call makes a call that Describe lists, and returns its result as JSON.
	Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)
}

// Description says what a Target is. It is read-only for everybody who did not
// make it. It holds no secret.
type Description struct {
	// Kind says what sort of resource it is, such as "mcp", and with it what its
	// methods mean.
	Kind string `json:"kind"`
	// Pool is the name of the pool that the resource belongs to.
	Pool string `json:"pool,omitempty"`
	// ID names the resource among all that this process has had of that pool.
	ID string `json:"id"`
	// Methods are what Call takes; nil where the resource takes none.
	Methods []string `json:"methods,omitempty"`
	// Attrs are further facts, such as the protocol version.
	Attrs map[string]string `json:"attrs,omitempty"`
}

// Lists tells whether the description names a method.
func (d Description) Lists(method string) bool { return slices.Contains(d.Methods, method) }

// Status is what a Verdict comes down to.
type Status uint8

// The verdicts. The zero Status is Unknown.
const (
	Unknown Status = iota
	Healthy
	Degraded
	Unhealthy
)

var statusNames = [...]string{"unknown", "healthy", "degraded", "unhealthy"}

// String names the status.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// MarshalText is String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Status) UnmarshalText(text []byte) error {
	i := slices.Index(statusNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("probe: %q is no verdict: use one of %q", text, statusNames)
	}
	*s = Status(i) //nolint:gosec // an index of statusNames
	return nil
}

// Verdict is what a Prober found.
type Verdict struct {
	Status Status `json:"status"`
	// Reason says why, for logs: what was tried, what came of it. It is one line and
	// holds no secret and nothing of the resource's data. May be empty for Healthy.
	Reason string `json:"reason,omitempty"`
}

// String is the status and the reason.
func (v Verdict) String() string {
	if v.Reason == "" {
		return v.Status.String()
	}
	return v.Status.String() + ": " + v.Reason
}

// ErrNotListed reports a Call of a method that the target does not list. Nothing
// was sent.
var ErrNotListed = errors.New("probe: the target does not list this method")

// CallError is an error that the resource answered with: it is there.
type CallError struct {
	Method  string
	Code    int64
	Message string
}

func (e *CallError) Error() string {
	return fmt.Sprintf("probe: %s answered with error %d: %s", e.Method, e.Code, e.Message)
}

// ConfigError says which field of a configuration is wrong, and why. Constructors
// return all of them at once, joined.
type ConfigError struct {
	// Field is the path of the field as its author wrote it, such as "Expect.Path".
	Field string
	// Problem completes the sentence that Field begins; it never holds a secret.
	Problem string
	// Err is the cause, nil where there is none.
	Err error
}

func (e *ConfigError) Error() string {
	s := "probe: config: " + e.Field + " " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }
