package mcpool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// What callers branch on, with errors.Is.
var (
	// ErrClosed reports a call on a pool that is closing or closed.
	ErrClosed = core.ErrClosed
	// ErrReleased reports the use of a Session that was given back.
	ErrReleased = core.ErrReleased
	// ErrMayHaveRun reports a call that failed after the server may have begun to
	// run it: repeating it could do its work twice.
	ErrMayHaveRun = errors.New("mcpool: the call may have run")
	// ErrSessionGone reports that the server does not know the session any more, or
	// that its connection is closed.
	ErrSessionGone = errors.New("mcpool: the session is gone")
	// ErrOrigin reports a request that would have left the endpoint's origin. It
	// was not sent.
	ErrOrigin = errors.New("mcpool: refused to leave the endpoint's origin")
)

// errSuperseded ends an open of a backend that has been replaced.
var errSuperseded = errors.New("mcpool: the endpoint speaks another protocol era")

// ConfigError says which field of a Config is wrong, and why. Open returns all
// of them at once, joined.
type ConfigError struct {
	Field   string
	Value   any // nil where the field is missing or must not be shown
	Problem string
}

func (e *ConfigError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("mcpool: Config.%s %s", e.Field, e.Problem)
	}
	return fmt.Sprintf("mcpool: Config.%s = %v %s", e.Field, e.Value, e.Problem)
}

// OptionError says which option of a call is wrong. Nothing was sent.
type OptionError struct {
	Option  string
	Problem string
}

func (e *OptionError) Error() string { return "mcpool: " + e.Option + " " + e.Problem }

// SessionError says that a call lost its session or its connection: which
// method, on which pool, and whether it may have run. It is ErrMayHaveRun if it
// may have, and ErrSessionGone if the session is of no more use.
type SessionError struct {
	Pool   string
	Method string // the MCP method; empty for the opening of a session
	Gone   bool   // the session is of no more use
	MayRun bool   // the server may have run the call
	Err    error  // what happened
}

func (e *SessionError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mcpool: %s: ", e.Pool)
	if e.Method != "" {
		b.WriteString(e.Method + ": ")
	}
	switch {
	case e.MayRun:
		b.WriteString("no answer, and it may have run")
	case e.Gone:
		b.WriteString("the session is gone, and it did not run")
	default:
		b.WriteString("not sent")
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the sentinels that apply and what happened.
func (e *SessionError) Unwrap() []error {
	var errs []error
	if e.MayRun {
		errs = append(errs, ErrMayHaveRun)
	}
	if e.Gone {
		errs = append(errs, ErrSessionGone)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// ThrottledError says that the server, or something before it, wants fewer
// requests (429 or 503). The call did not run; the session lives on.
type ThrottledError struct {
	Status int
	// RetryAfter is how long to stay away, counted from when the answer came; zero
	// if it did not say.
	RetryAfter time.Duration
}

func (e *ThrottledError) Error() string {
	s := fmt.Sprintf("mcpool: throttled: %d %s", e.Status, http.StatusText(e.Status))
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(", try again in %v", e.RetryAfter)
	}
	return s
}

// AuthError says that a call was refused for its credentials, or that there were
// none to be had. It is for that call alone: the session lives on.
type AuthError struct {
	// Status is 401 or 403, or 0 if nothing was sent because the provider failed.
	Status int
	// NeedsLogin says that a person has to log in; see auth.Interactive.
	NeedsLogin bool
	// Err is the provider's, nil if it did not fail.
	Err error
}

func (e *AuthError) Error() string {
	s := "mcpool: no credentials"
	if e.Status != 0 {
		s = fmt.Sprintf("mcpool: refused: %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.NeedsLogin {
		s += ": a login is required"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the provider's error, and auth.ErrInteractionRequired where a
// login is needed.
func (e *AuthError) Unwrap() []error {
	var errs []error
	if e.NeedsLogin {
		errs = append(errs, auth.ErrInteractionRequired)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// StatusError is an HTTP answer that is neither a result nor a JSON-RPC error.
// The session lives on. It is ErrMayHaveRun for 500 and above, except 501 and 503.
type StatusError struct {
	Status int
	// Message is the beginning of the answer's text, with credentials blotted out.
	Message string
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("mcpool: the server answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		s += fmt.Sprintf(": %q", e.Message)
	}
	return s
}

// Unwrap returns ErrMayHaveRun where that cannot be excluded.
func (e *StatusError) Unwrap() error {
	if e.Status >= 500 && e.Status != http.StatusNotImplemented && e.Status != http.StatusServiceUnavailable {
		return ErrMayHaveRun
	}
	return nil
}

// ProcessError says how a child process ended, or why it did not start.
type ProcessError struct {
	Command string
	// State is the exit status in words, empty if the process did not start.
	State string
	// Stderr is the last of what it wrote there, values of Command.Env blotted out.
	Stderr []string
	Err    error
}

func (e *ProcessError) Error() string {
	s := "mcpool: " + e.Command + ": "
	if e.State != "" {
		s += e.State
	} else {
		s += "not started"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if len(e.Stderr) > 0 {
		s += "; its last words:\n\t" + strings.Join(e.Stderr, "\n\t")
	}
	return s
}

// Unwrap returns the cause.
func (e *ProcessError) Unwrap() error { return e.Err }

// contextError returns the error of an ended context, with its cause where the
// cause says more.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
