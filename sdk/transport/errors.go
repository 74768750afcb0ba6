package transport

import (
	"errors"
	"fmt"
	"net/http"
)

// What callers branch on, with errors.Is.
var (
	// ErrNotSent reports that the peer did not get the message whole and will not
	// act on it, so that it can be sent again elsewhere.
	ErrNotSent = errors.New("transport: not sent")
	// ErrTooLarge reports a message beyond the limit; see SizeError.
	ErrTooLarge = errors.New("transport: message too large")
	// ErrClosed reports a connection that has ended; see CloseError.
	ErrClosed = errors.New("transport: connection closed")
)

// SizeError says that a message is larger than may be sent or received. It is
// ErrTooLarge, and ErrNotSent if it was to be sent.
type SizeError struct {
	Sending bool
	Bytes   int64 // 0 if it is only known to be more than Max
	Max     int64
}

func (e *SizeError) Error() string {
	direction, size := "received", "more"
	if e.Sending {
		direction = "to be sent"
	}
	if e.Bytes > 0 {
		size = fmt.Sprintf("%d", e.Bytes)
	}
	return fmt.Sprintf("transport: the message %s has %s bytes, at most %d are allowed: raise MaxBytes at both ends", direction, size, e.Max)
}

// Unwrap returns ErrTooLarge, and ErrNotSent where that is so.
func (e *SizeError) Unwrap() []error {
	if e.Sending {
		return []error{ErrTooLarge, ErrNotSent}
	}
	return []error{ErrTooLarge}
}

// CloseError says that the connection has ended and why. It is ErrClosed, and
// ErrNotSent if NotSent says so.
type CloseError struct {
	Reason Reason
	// NotSent says that the message of this very Send did not reach the peer whole.
	// It means nothing from Receive.
	NotSent bool
	// Err is what happened, nil where there is no more to say.
	Err error
}

func (e *CloseError) Error() string {
	s := "transport: connection closed: " + e.Reason.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns ErrClosed, ErrNotSent where that is so, and what happened.
func (e *CloseError) Unwrap() []error {
	errs := []error{ErrClosed}
	if e.NotSent {
		errs = append(errs, ErrNotSent)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// RefusedError says that there is no connection because somebody said no: another
// attempt with the same configuration will be refused too.
type RefusedError struct {
	// Status is that of HTTP where the refusal came as one, else 0. After 401 and
	// 403 the caller may have other credentials to try.
	Status int
	// Header is that of an HTTP answer, for what a refusal of credentials says there.
	Header http.Header
	// Problem says what was refused, by whom; it never holds a secret.
	Problem string
	// Err is the cause, nil where there is none.
	Err error
}

func (e *RefusedError) Error() string {
	s := "transport: refused"
	if e.Status != 0 {
		s += fmt.Sprintf(": %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Problem != "" {
		s += ": " + e.Problem
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// ConfigError says which field of a configuration is wrong, and why. Constructors
// return all of them at once, joined.
type ConfigError struct {
	// Field is the path of the field as its author wrote it, such as "TLS.CAFile".
	Field string
	// Problem completes the sentence that Field begins; it never holds a secret.
	Problem string
	// Err is the cause, nil where there is none.
	Err error
}

func (e *ConfigError) Error() string {
	s := "transport: config: " + e.Field + " " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }
