package oauth

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// record is what a TokenStore holds for an identity at a resource.
type record struct { //nolint:recvcheck // Format must work on values too
	Access     string        `json:"access_token,omitempty"`
	Type       string        `json:"token_type,omitempty"` // Bearer or DPoP
	Obtained   time.Time     `json:"obtained,omitzero"`
	Expires    time.Time     `json:"expires,omitzero"`
	Refresh    string        `json:"refresh_token,omitempty"`
	Requested  []string      `json:"requested,omitempty"` // scopes asked for, when Access was
	Granted    []string      `json:"granted,omitempty"`   // scopes that Access has, where the server said so
	StepUp     []string      `json:"step_up,omitempty"`   // scopes that the target demanded later
	Generation string        `json:"generation,omitempty"`
	Client     *registration `json:"client,omitempty"` // who obtained it, if registered dynamically

	retry time.Time // when to come back after a renewal that failed; not kept
}

// Format keeps a record out of messages.
func (r record) Format(f fmt.State, _ rune) { io.WriteString(f, "token record "+r.Generation) }

// registration is a client that a server made for us.
type registration struct { //nolint:recvcheck // Format must work on values too
	ID        string    `json:"client_id"`
	Secret    string    `json:"client_secret,omitempty"`
	Method    string    `json:"method,omitempty"`
	Expires   time.Time `json:"expires,omitzero"` // of the secret
	Redirects []string  `json:"redirects,omitempty"`
}

// Format keeps a registration out of messages.
func (r registration) Format(f fmt.State, _ rune) { io.WriteString(f, "registration of "+r.ID) }

func decode[T any](e Entry) (T, error) {
	var v T
	if e.Value.IsEmpty() {
		return v, nil
	}
	if err := json.Unmarshal([]byte(e.Value.Reveal()), &v); err != nil {
		// Not wrapped: it may quote what it does not understand.
		return v, errors.New("oauth: an entry of the token store is not readable: remove it and log in again")
	}
	return v, nil
}

func encode(v any, expires time.Time) (Entry, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Entry{}, fmt.Errorf("oauth: entry for the token store: %w", err)
	}
	return Entry{Value: auth.NewSecret(string(data)), Expires: expires}, nil
}

// entry says when the record may go: with a refresh token, nobody knows.
func (r *record) entry() (Entry, error) {
	if r.Access == "" && r.Refresh == "" && len(r.StepUp) == 0 {
		return Entry{}, nil
	}
	var expires time.Time
	if r.Refresh == "" && len(r.StepUp) == 0 {
		expires = r.Expires
	}
	return encode(r, expires)
}

const (
	// usualDue is how much of a lifetime passes before a new token is worth fetching;
	// shortDue if that would leave a server too little time.
	usualDue, shortDue = 0.7, 0.5
	shortLifetime      = 10 * time.Second
	// expiryMargin is how early a token counts as expired, so that it does not expire
	// on its way; a tenth of the lifetime if that is less.
	expiryMargin = 5 * time.Second
	// clockTolerance is how far in the future a token can have been obtained before
	// the clock must have been set back, and its expiry means nothing.
	clockTolerance = time.Minute
)

// usable reports whether the access token is worth sending.
func (r *record) usable(now time.Time) bool {
	if r.Access == "" || r.Obtained.Sub(now) > clockTolerance {
		return false
	}
	if r.Expires.IsZero() {
		return true
	}
	return now.Before(r.Expires.Add(-min(expiryMargin, r.Expires.Sub(r.Obtained)/10)))
}

// isSent reports whether a challenge is about this token.
func (r *record) isSent(ch auth.Challenge) bool {
	if ch.Generation != "" {
		return r.Generation == ch.Generation
	}
	return r.Access != "" && ch.Sent.Header.Get("Authorization") == r.Type+" "+r.Access
}

// due is from when on a new token is worth fetching; zero if that is never.
func (r *record) due() time.Time {
	if r.Expires.IsZero() {
		return time.Time{}
	}
	lifetime := r.Expires.Sub(r.Obtained)
	part := usualDue
	if lifetime < shortLifetime {
		part = shortDue
	}
	return r.Obtained.Add(time.Duration(part * float64(lifetime)))
}

// fresh reports whether there is nothing to fetch.
func (r *record) fresh(now time.Time) bool {
	due := r.due()
	return r.usable(now) && (due.IsZero() || now.Before(due))
}

// covers reports whether the token was asked for with all these scopes. What the
// server made of them is its affair: asking again would give the same.
func (r *record) covers(scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(r.Requested, s) })
}

// credentials are what the record means to a caller.
func (r *record) credentials() auth.Credentials {
	after := r.due()
	if !r.retry.IsZero() {
		after = r.retry
	}
	return auth.Credentials{
		Header:  http.Header{"Authorization": {r.Type + " " + r.Access}},
		Expires: r.Expires, RefreshAfter: after, Generation: r.Generation,
	}
}

// install takes over a token that was just obtained.
func (r *record) install(t *token, requested []string, client *client) {
	r.Access, r.Type, r.Obtained, r.Expires = t.access, t.kind, t.obtained, t.expires
	if t.refresh != "" {
		r.Refresh = t.refresh
	}
	r.Requested, r.Granted = requested, t.scopes
	r.StepUp = slices.DeleteFunc(slices.Clone(r.StepUp), func(s string) bool { return slices.Contains(requested, s) })
	r.Generation = rand.Text()
	r.Client = client.registered
}
