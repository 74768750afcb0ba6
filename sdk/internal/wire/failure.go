package wire

import (
	"context"
	"errors"
	"net"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Error is a failure that crossed the wire.
type Error struct {
	// Plugin is the plugin's name as the host's configuration has it.
	Plugin string
	// Instance is the instance that was called; may be empty.
	Instance string
	// Method is the one that was called.
	Method string
	// Message is what the plugin said, or what happened to it.
	Message string
	// Downstream says that not the plugin failed but what it talks to.
	Downstream bool
	// Ran says that what was asked for may have been done nevertheless.
	Ran bool
	// Causes are what errors.Is and errors.As find.
	Causes []error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("plugin " + e.Plugin)
	if e.Instance != "" {
		b.WriteString(" instance " + e.Instance)
	}
	b.WriteString(": " + e.Method + ": " + e.Message)
	return b.String()
}

// Unwrap returns the causes.
func (e *Error) Unwrap() []error { return e.Causes }

// MayHaveRun reports whether what was asked for may have been done nevertheless.
func (e *Error) MayHaveRun() bool { return e.Ran }

// What only hosts and plugins branch on.
var (
	// ErrNoInstance reports a call on an instance that the plugin does not have.
	ErrNoInstance = errors.New("the plugin has no such instance")
	// ErrPanic reports a panic that the plugin recovered.
	ErrPanic = errors.New("the plugin panicked")
)

// sentinels pairs what can be compared.
var sentinels = []struct {
	code basev1.Code
	err  error
}{
	{basev1.Code_CODE_CREDENTIALS_REJECTED, auth.ErrCredentialsRejected},
	{basev1.Code_CODE_INTERACTION_REQUIRED, auth.ErrInteractionRequired},
	{basev1.Code_CODE_UNSUPPORTED, auth.ErrUnsupported},
	{basev1.Code_CODE_CLOSED, auth.ErrClosed},
	{basev1.Code_CODE_CANCELED, context.Canceled},
	{basev1.Code_CODE_DEADLINE, context.DeadlineExceeded},
	{basev1.Code_CODE_NO_INSTANCE, ErrNoInstance},
	{basev1.Code_CODE_PANIC, ErrPanic},
}

const (
	maxMessage = 4 << 10
	maxCauses  = 64
)

// Failure tells what a caller on the other side can branch on.
func Failure(err error) *basev1.Failure {
	f := &basev1.Failure{Message: Clean(err.Error(), maxMessage), MayHaveRun: true, Origin: basev1.Origin_ORIGIN_PLUGIN}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			f.Causes = append(f.Causes, &basev1.Cause{Code: s.code})
		}
	}
	each(err, func(err error) {
		if len(f.GetCauses()) >= maxCauses {
			return
		}
		switch e := err.(type) { //nolint:errorlint // each unwraps
		case *auth.ConfigError:
			f.Causes = append(f.Causes, configCause(e.Field, e.Problem, e.Err))
		case *transport.ConfigError:
			f.Causes = append(f.Causes, configCause(e.Field, e.Problem, e.Err))
		case *probe.ConfigError:
			f.Causes = append(f.Causes, configCause(e.Field, e.Problem, e.Err))
		case *metrics.ConfigError:
			f.Causes = append(f.Causes, configCause(e.Field, e.Problem, nil))
		case *auth.ThrottledError:
			c := &basev1.Cause{Code: basev1.Code_CODE_THROTTLED}
			if e.RetryAfter > 0 {
				c.RetryAfter = durationpb.New(e.RetryAfter)
			}
			f.Causes = append(f.Causes, c)
		}
	})
	if downstream(err) {
		f.Origin = basev1.Origin_ORIGIN_DOWNSTREAM
	}
	for _, c := range f.GetCauses() {
		switch c.GetCode() {
		case basev1.Code_CODE_CONFIG, basev1.Code_CODE_UNSUPPORTED, basev1.Code_CODE_CLOSED, basev1.Code_CODE_NO_INSTANCE:
			f.MayHaveRun = false
		default:
		}
	}
	return f
}

// configCause tells of a faulty field, in whichever kind's words it came.
func configCause(field, problem string, err error) *basev1.Cause {
	if err != nil {
		problem += ": " + err.Error()
	}
	return &basev1.Cause{Code: basev1.Code_CODE_CONFIG, Field: Clean(field, 256), Problem: Clean(problem, maxMessage)}
}

// SayConfigAs gives the faulty fields among e's causes the type that callers of a kind
// look for; the type of package auth is found as well.
func SayConfigAs(e *Error, of func(field, problem string) error) {
	for _, cause := range e.Causes { // as they are now
		if c, ok := cause.(*auth.ConfigError); ok { //nolint:errorlint // as FromFailure made it
			e.Causes = append(e.Causes, of(c.Field, c.Problem))
		}
	}
}

// downstream reports whether something that the plugin talks to failed: an error may
// say so itself; a refusal and a network's error can be nothing else.
func downstream(err error) bool {
	var says interface{ Downstream() bool }
	if errors.As(err, &says) {
		return says.Downstream()
	}
	if errors.Is(err, auth.ErrCredentialsRejected) {
		return true
	}
	if _, ok := errors.AsType[*auth.ThrottledError](err); ok {
		return true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// each visits err and all it wraps, nil too.
func each(err error, visit func(error)) {
	visit(err)
	switch u := err.(type) { //nolint:errorlint // this is what unwraps
	case interface{ Unwrap() error }:
		each(u.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			each(inner, visit)
		}
	}
}

// FromFailure makes the error that the caller sees.
func FromFailure(f *basev1.Failure) *Error {
	e := &Error{
		Message: Clean(f.GetMessage(), maxMessage), Ran: f.GetMayHaveRun(),
		Downstream: f.GetOrigin() == basev1.Origin_ORIGIN_DOWNSTREAM,
	}
	for _, c := range f.GetCauses() {
		if len(e.Causes) >= maxCauses {
			break
		}
		switch c.GetCode() {
		case basev1.Code_CODE_CONFIG:
			e.Causes = append(e.Causes, &auth.ConfigError{
				Field: Clean(c.GetField(), 256), Problem: Clean(c.GetProblem(), maxMessage),
			})
		case basev1.Code_CODE_THROTTLED:
			e.Causes = append(e.Causes, &auth.ThrottledError{RetryAfter: max(0, c.GetRetryAfter().AsDuration())})
		default:
			for _, s := range sentinels {
				if s.code == c.GetCode() {
					e.Causes = append(e.Causes, s.err)
				}
			}
		}
	}
	return e
}

// Status makes the gRPC status of a unary call's error.
func Status(err error) error {
	f := Failure(err)
	code := codes.Unknown
	for _, c := range f.GetCauses() {
		switch c.GetCode() {
		case basev1.Code_CODE_CANCELED:
			code = codes.Canceled
		case basev1.Code_CODE_DEADLINE:
			code = codes.DeadlineExceeded
		case basev1.Code_CODE_CONFIG:
			code = codes.InvalidArgument
		case basev1.Code_CODE_PANIC:
			code = codes.Internal
		case basev1.Code_CODE_NO_INSTANCE:
			code = codes.NotFound
		default:
		}
	}
	s, derr := status.New(code, f.GetMessage()).WithDetails(f)
	if derr != nil {
		return status.Error(code, f.GetMessage())
	}
	return s.Err()
}

// FromStatus finds the failure in a unary call's error; false if it holds none, and
// is gRPC's own.
func FromStatus(err error) (*Error, bool) {
	for _, d := range status.Convert(err).Details() {
		if f, ok := d.(*basev1.Failure); ok {
			return FromFailure(f), true
		}
	}
	return nil, false
}

// Clean makes text from the other side fit for a log or a terminal.
func Clean(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
