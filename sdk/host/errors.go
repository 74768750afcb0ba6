package host

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Error is what a plugin answered, or what became of it during a call.
type Error = wire.Error

// ErrClosed reports a call on a plugin that is closing or closed.
var ErrClosed = errors.New("host: closed")

// LaunchError says why a binary cannot be used.
type LaunchError struct {
	// Path is the binary's.
	Path string
	// Reason is what is wrong, one clause.
	Reason string
	// Remedy is what to do about it, one sentence.
	Remedy string
	// Err is the cause, nil where there is none.
	Err error
}

func (e *LaunchError) Error() string {
	s := "host: plugin " + e.Path + " " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += ". " + e.Remedy
	}
	return s
}

// Unwrap returns the cause.
func (e *LaunchError) Unwrap() error { return e.Err }

// DownError is returned at once while a plugin that failed too often is left alone.
type DownError struct {
	// Plugin is its name.
	Plugin string
	// RetryAt is when it is started again.
	RetryAt time.Time
	// Failures is how often in a row it failed.
	Failures int
	// Err is the last failure.
	Err error
}

func (e *DownError) Error() string {
	return fmt.Sprintf("host: plugin %s failed %d times in a row, next start at %s: %v",
		e.Plugin, e.Failures, e.RetryAt.UTC().Format("2006-01-02T15:04:05.000Z07:00"), e.Err)
}

// Unwrap returns the last failure.
func (e *DownError) Unwrap() error { return e.Err }

// ConfigError says which field of a Plugin or an Instance is wrong.
type ConfigError struct {
	// Field is its name, such as "Limits.Start".
	Field string
	// Problem completes the sentence that Field begins.
	Problem string
}

func (e *ConfigError) Error() string { return "host: config: " + e.Field + " " + e.Problem }

// errLost is the cause of an Error when the plugin went away during a call.
var errLost = errors.New("the plugin went away")
