package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// maxAnswerBytes bounds what is read of any answer. It is a little less than where
// x/oauth2 cuts, so that what is cut is not taken for what was sent.
const maxAnswerBytes = 1<<20 - 1

// post is one POST to an authorization server: an http.RoundTripper that adds what
// x/oauth2 and oauthex have no place for, and notes what they do not hand on.
type post struct {
	p        *Provider
	doing    string // for errors
	endpoint string
	dpop     bool     // sign it with a DPoP proof
	secrets  []string // what was sent and must not come back in an error

	// Of the answer.
	status     int
	sentAt     time.Time
	date       string
	retryAfter time.Duration
	body       *limited
}

// RoundTrip implements http.RoundTripper.
func (r *post) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", "application/json")
	if r.dpop {
		if err := r.p.dpop.prove(req.Context(), req.Header, proofFor{method: req.Method, url: r.endpoint}); err != nil {
			if req.Body != nil {
				req.Body.Close()
			}
			return nil, err
		}
	}
	r.sentAt = time.Now()
	resp, err := r.p.guard.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	r.status, r.date = resp.StatusCode, resp.Header.Get("Date")
	r.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	if r.dpop {
		r.p.dpop.learn(r.endpoint, resp.Header.Get("DPoP-Nonce"))
	}
	r.body = &limited{ReadCloser: resp.Body, left: maxAnswerBytes}
	resp.Body = r.body
	return resp, nil
}

// client follows no redirect: what is posted is for the endpoint and nobody else.
func (r *post) client() *http.Client {
	return &http.Client{
		Transport:     r,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send posts what x/oauth2 has no function for, and returns the body of a success.
func (r *post) send(ctx context.Context, contentType string, body []byte, edit ...func(*http.Request)) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, r.failed("", "", errors.New("the URL does not parse"))
	}
	req.Header.Set("Content-Type", contentType)
	for _, f := range edit {
		f(req)
	}
	resp, err := r.client().Do(req)
	if err != nil {
		return nil, r.failed("", "", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, r.failed("", "", err)
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		return data, nil
	}
	var oe struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(data, &oe) // if it is not JSON, the status has to do
	return nil, r.failed(oe.Code, oe.Description, nil)
}

// failed makes an EndpointError of what went wrong: an OAuth error code, a status,
// or an error of the HTTP client. Text from the answer itself goes no further.
func (r *post) failed(code, description string, err error) *EndpointError {
	e := &EndpointError{
		Doing: r.doing, Endpoint: redactURL(r.endpoint), Status: r.status,
		Code: cleanCode(code), Description: cleanDescription(description, r.secrets),
	}
	e.Hint, e.Err = verdict(e.Code)
	_, slowDown := errors.AsType[*auth.ThrottledError](e.Err)
	switch {
	case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable || slowDown:
		e.Err, e.Hint = &auth.ThrottledError{RetryAfter: r.retryAfter}, "the server wants fewer requests"
	case e.Err != nil:
	case r.status == 0:
		e.Err = cause(err)
		e.Hint = "the server could not be reached"
		if errors.Is(e.Err, context.DeadlineExceeded) {
			e.Hint = "the server did not answer in time"
		}
	case r.status >= 300 && r.status < 400:
		e.Hint = "the server redirects what must not be redirected: configure the URL it redirects to"
	case e.Code == "" && r.status == http.StatusUnauthorized:
		e.Err, e.Hint = auth.ErrCredentialsRejected, "the server did not accept the client: check Config.Client"
	case r.status >= 500 || e.Code == "server_error":
		e.Hint = "the server has a fault of its own"
	case e.Code == "":
		e.Hint = "the answer is not one of an OAuth server: check the URL"
		if r.body != nil && r.body.over { // x/oauth2 flattens the error
			e.Err = errAnswerTooLarge
		}
	}
	return e
}

// parseRetryAfter is RFC 9110, 10.2.3: seconds or a date.
func parseRetryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

var errAnswerTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxAnswerBytes)

// limited ends a body that is too large with an error, where io.LimitReader would
// let the beginning pass for the whole.
type limited struct {
	io.ReadCloser
	left int64
	over bool
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		l.over = true
		return 0, errAnswerTooLarge
	}
	if int64(len(b)) > l.left {
		b = b[:l.left]
	}
	n, err := l.ReadCloser.Read(b)
	l.left -= int64(n)
	return n, err
}

// secretsOf lists what of a form must not be shown.
func secretsOf(params url.Values, more ...string) []string {
	out := more
	for _, name := range []string{
		"client_secret", "client_assertion", "refresh_token", "code", "code_verifier",
		"device_code", "subject_token", "actor_token", "assertion",
	} {
		out = append(out, params[name]...)
	}
	return out
}
