package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Provider is a source of credentials. See the package comment for who calls it,
// when, and from how many goroutines.
type Provider interface {
	// Credentials returns what to send so that the target accepts a request from
	// the identity. It may take as long as a token endpoint does: a Cache keeps
	// the result and calls again only when it must be renewed. It never talks to a
	// person: where only a login would help it returns ErrInteractionRequired.
	//
	// A provider that signs each request instead returns Credentials without
	// headers, and does its work in Sign.
	Credentials(ctx context.Context, req Request) (Credentials, error)

	// Challenge is told that the target answered 401 or 403, and decides what the
	// caller does next. It is the place to learn from the answer: a clock that is
	// off, a scope that is missing, where the authorization server is. It drops
	// what it knows to be refused, but need not fetch anew: the Credentials call
	// that follows a Retry does that. With an error the outcome is GiveUp, or
	// NeedsLogin where it says so.
	Challenge(ctx context.Context, req Request, ch Challenge) (Outcome, error)

	// Close ends what the provider started and forgets its secrets. It returns
	// when nothing of the provider runs any more, or when ctx ends, with an error
	// saying what was left.
	Close(ctx context.Context) error
}

// Signer is what a Provider also implements when its headers depend on the
// request they are for. Find one with [AsSigner], never by a type assertion.
type Signer interface {
	// Sign is called for every attempt, right before it is sent: retries,
	// redirects within the origin and reconnects of a stream each get a signature
	// of their own. It is on the path of every request: it answers from memory
	// whenever it can, and honours ctx, which is the request's, when it cannot. The
	// header map of hr is lent: it is not to be touched once Sign has returned.
	Sign(ctx context.Context, req Request, hr HTTPRequest) (Signature, error)
}

// Observer is what a Provider also implements when it learns from answers that refuse
// nothing, such as those that bring the next DPoP nonce (RFC 9449, 8.2). Find one with
// [AsObserver], never by a type assertion.
type Observer interface {
	// ObservedHeaders returns the names of the response headers that matter. It is
	// called once and always says the same: a host far from the provider leaves out all
	// other answers.
	ObservedHeaders() []string

	// Observe is told of an answer that no Challenge is about and that has at least one
	// of those headers, before the caller gets it. A host may leave out one that says
	// the same as the last. It is on the path of every request: it takes note in memory
	// and returns.
	Observe(req Request, o Observation)
}

// Observation is what an Observer gets to see of an answer. Printing, logging or
// marshalling one shows no header value.
type Observation struct {
	// URL is that of the request, exactly as it was on the wire.
	URL string
	// Status is that of the answer.
	Status int
	// Header holds the observed headers of the answer, under canonical names.
	Header http.Header
}

// String shows the status, the URL without query, and the header names.
func (o Observation) String() string {
	return fmt.Sprintf("answer %d of %s %s", o.Status, redactURL(o.URL), headerNames(o.Header))
}

// Format writes String for every verb.
func (o Observation) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// LogValue is String.
func (o Observation) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalJSON is String, quoted.
func (o Observation) MarshalJSON() ([]byte, error) { return json.Marshal(o.String()) }

// Interactive is what a Provider also implements when a person can log in. Find
// one with [AsInteractive], never by a type assertion.
type Interactive interface {
	// Login takes the identity through a login with the dialog's help and returns
	// nil once Credentials can answer for it. One login at a time runs per
	// identity: a second call waits for the first and shares its result. It may
	// take minutes, and ends with ctx.
	Login(ctx context.Context, req Request, d Dialog) error
}

// Dialog is the host's side of a login: it knows the person and the browser, the
// provider knows the protocol. It is used by one Login call and ends with it.
type Dialog interface {
	// RedirectURL returns the URL to which the authorization server is to send the
	// browser back, reserving it for this login until Login returns. A host that
	// cannot be reached by a browser returns ErrUnsupported; the provider then
	// uses a flow without redirect, or returns the error.
	RedirectURL(ctx context.Context) (string, error)

	// Show puts a prompt in front of the person and returns at once. Later prompts
	// of the same login replace earlier ones.
	Show(ctx context.Context, p Prompt) error

	// Callback waits until the browser came back to the redirect URL with the
	// given state parameter. It returns the raw query exactly as it arrived, in a
	// Secret because it may hold an authorization code.
	Callback(ctx context.Context, state string) (query Secret, err error)
}

// Prompt is what a person needs to see in order to log in.
type Prompt struct {
	// URL is what to open in a browser; it holds no secret, but is for this person
	// only. Hosts may open it themselves when it is https or loopback.
	URL string
	// UserCode is what to type there, for flows without redirect; else empty.
	UserCode string
	// Message is one plain sentence for the person, without markup; may be empty.
	Message string
	// Expires is when the prompt stops being of use; zero if it does not.
	Expires time.Time
}

// AsSigner returns the provider's Signer, if it has one.
//
// A wrapper whose powers depend on what it wraps (Cache does, and so does a
// plugin host) has no Sign method of its own. It has a method
//
//	Signer() (Signer, bool)
//
// instead, which AsSigner asks first.
func AsSigner(p Provider) (Signer, bool) {
	if w, ok := p.(interface{ Signer() (Signer, bool) }); ok {
		return w.Signer()
	}
	s, ok := p.(Signer)
	return s, ok
}

// AsInteractive returns the provider's Interactive, if it has one. A wrapper has a
// method Interactive() (Interactive, bool), as described at AsSigner.
func AsInteractive(p Provider) (Interactive, bool) {
	if w, ok := p.(interface{ Interactive() (Interactive, bool) }); ok {
		return w.Interactive()
	}
	i, ok := p.(Interactive)
	return i, ok
}

// AsObserver returns the provider's Observer, if it has one. A wrapper has a method
// Observer() (Observer, bool), as described at AsSigner.
func AsObserver(p Provider) (Observer, bool) {
	if w, ok := p.(interface{ Observer() (Observer, bool) }); ok {
		return w.Observer()
	}
	o, ok := p.(Observer)
	return o, ok
}
