package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// EndpointError says what a server made of a request. It never holds the request,
// nor the body of the answer as it came.
type EndpointError struct {
	// Doing is what was tried, such as "refreshing".
	Doing string
	// Endpoint is where, without query.
	Endpoint string
	// Status is that of the answer, 0 if there was none.
	Status int
	// Code is the OAuth error code (RFC 6749, 5.2), empty if there was none.
	Code string
	// Description is the server's own, cut, and empty if it repeated a secret.
	Description string
	// Hint is what to do about it, in plain words; may be empty.
	Hint string
	// Err is the cause, and what callers branch on; may be nil.
	Err error
}

func (e *EndpointError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "oauth: %s at %s", e.Doing, e.Endpoint)
	sep := ": "
	part := func(s string) {
		if s != "" {
			b.WriteString(sep + s)
			sep = ", "
		}
	}
	if e.Status != 0 {
		part(fmt.Sprintf("status %d", e.Status))
	}
	part(e.Code)
	if e.Description != "" {
		part(fmt.Sprintf("%q", e.Description))
	}
	if e.Err != nil {
		part(e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *EndpointError) Unwrap() error { return e.Err }

// Format writes Error for every verb.
func (e *EndpointError) Format(f fmt.State, _ rune) { io.WriteString(f, e.Error()) }

// verdict is what an OAuth error code means to callers, and what to do about it.
func verdict(code string) (hint string, meaning error) {
	switch code {
	case "invalid_client", "unauthorized_client":
		return "the server does not know this client, or not by these credentials: check Config.Client", auth.ErrCredentialsRejected
	case "invalid_grant":
		return "what was exchanged is expired, revoked or for another client", auth.ErrCredentialsRejected
	case "invalid_target":
		return "the server issues no tokens for this resource: check Target.Resource", auth.ErrCredentialsRejected
	case "invalid_scope":
		return "the server does not grant these scopes: check Config.Scopes", auth.ErrCredentialsRejected
	case "access_denied":
		return "the person or the server refused", auth.ErrCredentialsRejected
	case "unsupported_grant_type", "unsupported_response_type":
		return "the server does not offer this grant: check Config.Grant", auth.ErrUnsupported
	case "invalid_dpop_proof":
		return "the server does not accept the DPoP proof: is a clock wrong?", auth.ErrCredentialsRejected
	case "invalid_redirect_uri", "invalid_client_metadata", "invalid_software_statement", "unapproved_software_statement":
		return "the server does not register this client: register it by hand and set Config.Client", auth.ErrCredentialsRejected
	case "interaction_required", "login_required", "consent_required", "account_selection_required",
		"insufficient_user_authentication", "expired_token":
		return "log in", auth.ErrInteractionRequired
	case "slow_down", "temporarily_unavailable":
		return "", &auth.ThrottledError{}
	}
	return "", nil
}

// cleanCode returns an error code as RFC 6749 allows it, so that an answer cannot
// smuggle anything else into a message.
func cleanCode(s string) string {
	if len(s) > 64 {
		return ""
	}
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return ""
		}
	}
	return s
}

// cleanDescription cuts a description that a server gave, and drops it if it
// repeats what was sent in confidence.
func cleanDescription(s string, secrets []string) string {
	const limit = 200
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		if strings.Contains(s, secret) || strings.Contains(s, url.QueryEscape(secret)) {
			return ""
		}
		// The middle of a long secret gives it away too.
		if n := len(secret); n >= 24 && strings.Contains(s, secret[n/3:2*n/3]) {
			return ""
		}
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > limit {
		s = string(runes[:limit]) + "…"
	}
	return strings.TrimSpace(s)
}

// oauthCode is the first error code in a chain, empty if there is none.
func oauthCode(err error) string {
	for {
		e, ok := errors.AsType[*EndpointError](err)
		if !ok {
			return ""
		}
		if e.Code != "" {
			return e.Code
		}
		err = e.Err
	}
}

// both is errors.Join on one line, and of one error that error.
func both(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	default:
		return fmt.Errorf("%w: %w", a, b)
	}
}

// cause reduces an error of the HTTP client to what may be shown: net/http quotes
// URLs, and those may hold codes.
func cause(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		if ue.Timeout() && !errors.Is(ue.Err, context.DeadlineExceeded) {
			return fmt.Errorf("%w: %w", ue.Err, context.DeadlineExceeded)
		}
		return ue.Err
	}
	return err
}
