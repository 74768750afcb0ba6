package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// What callers branch on, with errors.Is.
var (
	// ErrCredentialsRejected reports that the source of credentials refused: a wrong
	// client secret, a revoked refresh token, a role that may not be assumed. The
	// same configuration will be refused again.
	ErrCredentialsRejected = errors.New("auth: credentials rejected")
	// ErrInteractionRequired reports that a person must log in first; see Interactive.
	ErrInteractionRequired = errors.New("auth: a login is required")
	// ErrUnsupported reports that the provider, or the host, cannot do what was asked.
	ErrUnsupported = errors.New("auth: not supported")
	// ErrClosed reports a call on something that is closing or closed.
	ErrClosed = errors.New("auth: closed")
)

// ConfigError says which field of a configuration is wrong, and why. Constructors
// return all of them at once, joined.
type ConfigError struct {
	// Field is the path of the field as its author wrote it, such as "Command.Args".
	Field string
	// Problem completes the sentence that Field begins; it never holds a secret.
	Problem string
	// Err is the cause, nil where there is none.
	Err error
}

func (e *ConfigError) Error() string {
	s := "auth: config: " + e.Field + " " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ThrottledError says that the source of credentials wants fewer requests.
type ThrottledError struct {
	// RetryAfter is how long to stay away, counted from when the error was made;
	// zero if the source did not say.
	RetryAfter time.Duration
	// Err is what the source answered, nil where there is no more to say.
	Err error
}

func (e *ThrottledError) Error() string {
	s := "auth: throttled"
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(", try again in %v", e.RetryAfter)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns what the source answered.
func (e *ThrottledError) Unwrap() error { return e.Err }

// BackoffError is what a Cache returns while it remembers a failure: the failure,
// and when it will try again. Nothing was asked of the provider for this answer.
type BackoffError struct {
	// RetryAt is when the next call will reach the provider.
	RetryAt time.Time
	// Failures is how many attempts in a row have failed.
	Failures int
	// Err is the last of them.
	Err error
}

func (e *BackoffError) Error() string {
	return fmt.Sprintf("auth: failed %d times, next try at %s: %v",
		e.Failures, e.RetryAt.UTC().Format("2006-01-02T15:04:05.000Z07:00"), e.Err)
}

// Unwrap returns the remembered failure.
func (e *BackoffError) Unwrap() error { return e.Err }

// PanicError reports a panic in a provider, recovered by a Cache. Its text leaves
// out the value, which may hold a secret, unless it is one of the runtime's own.
type PanicError struct {
	// Method is the one that panicked.
	Method string
	// Value is what it panicked with. Treat it as a secret.
	Value any
	// Stack is the goroutine's, as debug.Stack gives it.
	Stack []byte
}

func (e *PanicError) Error() string {
	if r, ok := e.Value.(runtime.Error); ok {
		return fmt.Sprintf("auth: provider panicked in %s: %v", e.Method, r)
	}
	return fmt.Sprintf("auth: provider panicked in %s with a %T", e.Method, e.Value)
}

// Format writes Error for every verb, so that no verb prints Value.
func (e *PanicError) Format(f fmt.State, _ rune) { fmt.Fprint(f, e.Error()) }

// MarshalJSON is Error, quoted.
func (e *PanicError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }
