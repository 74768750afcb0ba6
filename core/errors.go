package core

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What callers branch on, with errors.Is. Where there is more to say, a typed
// error wraps the sentinel: ExhaustedError, CircuitOpenError.
var (
	// ErrClosed reports a call on a pool that is closing or closed.
	ErrClosed = errors.New("core: pool is closed")
	// ErrExhausted reports that no resource came free in the time allowed.
	ErrExhausted = errors.New("core: pool is exhausted")
	// ErrCircuitOpen reports that opens kept failing and none is tried for now.
	ErrCircuitOpen = errors.New("core: circuit is open")
	// ErrReleased reports the use of a lease that was already given back.
	ErrReleased = errors.New("core: lease was already released")
	// ErrNotAlone reports a Detach of a resource that others hold leases on.
	ErrNotAlone = errors.New("core: resource has other leases")
	// ErrTooManyKeys reports that Keyed serves as many keys as it may, all in use.
	ErrTooManyKeys = errors.New("core: too many keys in use")
	// ErrNilContext reports a nil context.
	ErrNilContext = errors.New("core: context is nil: pass context.Background() if there is none")
)

var errNilFunc = errors.New("core: the function given to Do is nil")

// ConfigError says which field of a Config is wrong, and why. New returns all
// of them at once, joined.
type ConfigError struct {
	Field   string
	Value   any // nil where the field is missing
	Problem string
}

func (e *ConfigError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("core: Config.%s %s", e.Field, e.Problem)
	}
	return fmt.Sprintf("core: Config.%s = %v %s", e.Field, e.Value, e.Problem)
}

// ExhaustedError says why a caller left without a lease: how long it waited and
// what the pool was doing. It is ErrExhausted, and also the error and the cause
// of the caller's context where that is what ended the wait.
type ExhaustedError struct {
	Pool    string
	Waited  time.Duration
	Max     int   // the limit on resources, -1 for none
	Live    int   // resources alive
	Leased  int   // leases out
	Waiting int   // callers still waiting
	Open    error // why the last open failed, nil if it did not
	Cause   error // the context's, nil where AcquireTimeout or NoWait ended the wait
}

func (e *ExhaustedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "core: %s is exhausted: waited %v; %d leases on %d ", e.Pool, e.Waited.Round(time.Microsecond), e.Leased, e.Live)
	if e.Max >= 0 {
		fmt.Fprintf(&b, "of at most %d ", e.Max)
	}
	fmt.Fprintf(&b, "resources, %d more waiting", e.Waiting)
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	if e.Open != nil {
		fmt.Fprintf(&b, "; last open failed: %v", e.Open)
	}
	return b.String()
}

// Unwrap returns ErrExhausted, the context's error and the last open's.
func (e *ExhaustedError) Unwrap() []error {
	errs := []error{ErrExhausted}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	if e.Open != nil {
		errs = append(errs, e.Open)
	}
	return errs
}

// OpenError says that a resource could not be opened, all retries included.
type OpenError struct {
	Pool     string
	Attempts int
	Elapsed  time.Duration
	Err      error // of the last attempt
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("core: %s: open failed after %d attempts in %v: %v",
		e.Pool, e.Attempts, e.Elapsed.Round(time.Microsecond), e.Err)
}

// Unwrap returns the last attempt's error.
func (e *OpenError) Unwrap() error { return e.Err }

// CircuitOpenError says that opens kept failing, why, and when the next is tried.
type CircuitOpenError struct {
	Pool  string
	Next  time.Time // of the next trial
	Cause error     // the failure that opened the circuit, or the last trial's
}

func (e *CircuitOpenError) Error() string {
	return fmt.Sprintf("core: %s: circuit is open, next trial at %s: %v",
		e.Pool, e.Next.Format(time.RFC3339Nano), e.Cause)
}

// Unwrap returns ErrCircuitOpen and the failure behind it.
func (e *CircuitOpenError) Unwrap() []error { return []error{ErrCircuitOpen, e.Cause} }

// PinLostError says that the resource a key was pinned to is gone. The key stays
// lost until a call with Prefer or PinOrRebind gives it another resource.
type PinLostError struct {
	Pool string
	Key  string
	ID   uint64 // of the resource that is gone
}

func (e *PinLostError) Error() string {
	return fmt.Sprintf("core: %s: resource %d pinned by key %q is gone; acquire with PinOrRebind to take another",
		e.Pool, e.ID, e.Key)
}

// CloseError says what Close could not end in good order.
type CloseError struct {
	Pool      string
	Revoked   int   // leases taken back because the context ended
	Abandoned int   // callbacks that still run, ignoring their context
	Cause     error // of the context, nil if it did not end first
}

func (e *CloseError) Error() string {
	msg := fmt.Sprintf("core: %s closed: %d leases taken back, %d callbacks still running", e.Pool, e.Revoked, e.Abandoned)
	if e.Cause != nil {
		msg += ": " + e.Cause.Error()
	}
	return msg
}

// Unwrap returns the error of the context that ended Close's patience.
func (e *CloseError) Unwrap() error { return e.Cause }

// PanicError is a recovered panic or runtime.Goexit of a callback.
type PanicError struct {
	Callback string // "Open", "Warmup", "Close", "Probe", "Reset", or a hook's name
	Value    any    // what was given to panic; nil for Goexit
	Goexit   bool
	Stack    []byte
}

func (e *PanicError) Error() string {
	if e.Goexit {
		return fmt.Sprintf("core: %s called runtime.Goexit", e.Callback)
	}
	return fmt.Sprintf("core: %s panicked: %v", e.Callback, e.Value)
}

// Unwrap returns the value given to panic if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// TimeoutError says that a callback was abandoned because it outlived its deadline.
type TimeoutError struct {
	Callback string
	After    time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("core: %s did not return within %v and was abandoned", e.Callback, e.After)
}

// Timeout reports true, as in net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Unwrap returns context.DeadlineExceeded.
func (e *TimeoutError) Unwrap() error { return context.DeadlineExceeded }

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
