package mcpool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

const sessionHeader = "Mcp-Session-Id"

// chain is the RoundTripper of one identity: classify, then headers, then auth,
// then the wire. Whose credentials it sends is fixed when it is made; a request's
// context adds headers and takes notes, and chooses nothing.
type chain struct {
	id     *identity
	origin string
	auth   http.RoundTripper // puts the provider's credentials on; wire if there is no provider
	wire   http.RoundTripper
}

// newChain builds the chain of an identity. creds are the credential headers that
// formed it, nil for others.
func newChain(id *identity) (*chain, error) {
	p := id.pool
	w := &wire{base: p.base}
	t := &chain{id: id, origin: originOf(p.endpoint), auth: w, wire: w}
	if p.provider == nil || id.formed {
		return t, nil
	}
	a, err := authhttp.New(authhttp.Config{
		Base:              w,
		Provider:          p.provider,
		Request:           auth.Request{Identity: id.auth, Target: auth.Target{Name: p.cfg.Name, URL: p.address}},
		CredentialHeaders: slices.Concat(authhttp.DefaultCredentialHeaders(), p.cfg.CredentialHeaders),
		Refused: func(resp *http.Response, outcome auth.Outcome, err error) (*http.Response, error) {
			if resp.Request.Method != http.MethodPost {
				return resp, nil // an error would end the session
			}
			discard(resp)
			return nil, &AuthError{Status: resp.StatusCode, NeedsLogin: outcome == auth.NeedsLogin, Err: err}
		},
	})
	if err != nil {
		return nil, err
	}
	t.auth = a
	return t, nil
}

// RoundTrip is the outermost link: it sends the request and says what became of
// it. The answer to a POST that is no answer to the call becomes an error, because
// the SDK would end the session over some of them; a GET gets its response as it
// is, because there it is the other way round.
func (t *chain) RoundTrip(req *http.Request) (*http.Response, error) {
	if opening := openingOf(req); opening != nil {
		ctx, cancel := context.WithCancelCause(req.Context())
		defer context.AfterFunc(opening, func() { cancel(context.Cause(opening)) })()
		req = req.WithContext(ctx)
	}
	resp, err := t.roundTrip(req)
	if l := listenOf(req); l != nil {
		return l.answeredBy(resp, err)
	}
	return resp, err
}

// CloseIdleConnections is for http.Client.
func (t *chain) CloseIdleConnections() {}

// roundTrip is RoundTrip without the look at streams.
func (t *chain) roundTrip(req *http.Request) (*http.Response, error) {
	if home := t.id.pool.endpoint; (req.URL.Host != home.Host || req.URL.Scheme != home.Scheme) && originOf(req.URL) != t.origin {
		closeBody(req)
		return nil, ErrOrigin
	}
	c, session := callOf(req.Context()), connOf(req.Context())
	if req.Method == http.MethodDelete && session != nil && session.gone.Load() {
		return emptyResponse(req), nil // the server has forgotten it already
	}
	resp, err := t.send(req, c)
	if err != nil {
		return nil, t.failed(c, err)
	}
	if req.Method != http.MethodPost {
		if session != nil && c == nil && req.Method == http.MethodGet {
			session.gotStream(req, resp)
		}
		if c != nil && resp.StatusCode/100 != 2 {
			return t.resumeFailed(req, c, resp)
		}
		if c != nil {
			resp.Body = t.guardEvents(c, c.keep(resp.Body))
		}
		return resp, nil
	}
	switch {
	case resp.StatusCode/100 == 3:
		return resp, nil // for http.Client to follow, or not
	case resp.StatusCode/100 != 2:
		return t.refused(req, resp)
	case resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusNoContent:
		return resp, nil // taken note of: what has no body may have any type
	case mediaType(resp) == "application/json":
		return t.wholeBody(resp)
	}
	if c != nil {
		resp.Body = c.keep(resp.Body)
	}
	if c != nil && mediaType(resp) == "text/event-stream" {
		resp.Body = t.guardEvents(c, resp.Body)
	}
	return resp, nil
}

// send puts headers on and chooses whether the provider is asked.
func (t *chain) send(req *http.Request, c *call) (*http.Response, error) {
	next := t.auth
	creds := t.id.credentials()
	if c != nil && c.credentials {
		creds, next = nil, t.wire // the call brought its own
	} else if creds != nil {
		next = t.wire
	}
	if creds == nil && (c == nil || len(c.header) == 0) {
		return next.RoundTrip(req)
	}
	out := req.WithContext(req.Context()) // a RoundTripper changes nothing of what it gets
	out.Header = req.Header.Clone()
	maps.Copy(out.Header, creds)
	if c != nil {
		maps.Copy(out.Header, c.header)
	}
	return next.RoundTrip(out)
}

// failed names an error of the inner links: nothing was sent because there were
// no credentials, or the connection failed.
func (t *chain) failed(c *call, err error) error {
	var w *wireError
	var refusal *AuthError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &w):
		sent := !w.dial && (c == nil || c.wrote.Load())
		return &SessionError{Pool: t.id.pool.cfg.Name, MayRun: sent, Err: w.err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	default:
		return &AuthError{Err: err, NeedsLogin: errors.Is(err, auth.ErrInteractionRequired)}
	}
}

// resumeFailed ends a call whose stream could not be taken up again. The SDK would
// end the session, and with it the calls beside this one, unless the call's own
// context is over by then.
func (t *chain) resumeFailed(req *http.Request, c *call, resp *http.Response) (*http.Response, error) {
	gone := lostStatus(resp.StatusCode) && req.Header.Get(sessionHeader) != ""
	discard(resp)
	err := &SessionError{
		Pool: t.id.pool.cfg.Name, Gone: gone, MayRun: true,
		Err: fmt.Errorf("resuming the stream: %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)),
	}
	c.fail(err)
	return nil, err
}

// wholeBody reads an answer that is one document: cut off or too large, it would
// end the session if the SDK found that out.
func (t *chain) wholeBody(resp *http.Response) (*http.Response, error) {
	limit := t.id.pool.cfg.HTTP.MaxBodyBytes
	var buf bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= limit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	_ = resp.Body.Close() // read, or of no use
	if err == nil && int64(buf.Len()) > limit {
		err = fmt.Errorf("the answer has more than the %d bytes of HTTP.MaxBodyBytes", limit)
	}
	if err == nil && !oneMessage(buf.Bytes()) {
		err = errors.New("the answer is not a JSON-RPC message")
	}
	if err != nil {
		return nil, &SessionError{Pool: t.id.pool.cfg.Name, MayRun: true, Err: err}
	}
	resp.Body = io.NopCloser(&buf)
	return resp, nil
}

// wire is the innermost link. It marks the errors of the connection, so that they
// can be told from those of a provider.
type wire struct{ base http.RoundTripper }

// wireError is a failure of the connection.
type wireError struct {
	err  error
	dial bool // there was no connection to write to
}

func (e *wireError) Error() string { return e.err.Error() }
func (e *wireError) Unwrap() error { return e.err }

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, &wireError{err: err, dial: isDialError(err)}
	}
	if resp.Request == nil {
		resp.Request = req
	}
	return resp, nil
}

// originOf is scheme, host and port (RFC 6454), the port made explicit.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// checkRedirect follows redirects within the origin that keep the method: a POST
// that comes back as a GET has lost its call.
func checkRedirect(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		switch {
		case originOf(req.URL) != originOf(via[0].URL):
			return ErrOrigin
		case req.Method != via[0].Method:
			return errors.New("mcpool: refused a redirect that would drop the call")
		case next != nil:
			return next(req, via)
		case len(via) >= 10:
			return errors.New("mcpool: stopped after 10 redirects")
		}
		return nil
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // it is not sent
	}
}

// discard lets the connection of a response that nobody wants be used again, if
// little is left of it.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // a broken body is of no interest either
	_ = resp.Body.Close()
}

func emptyResponse(req *http.Request) *http.Response {
	return &http.Response{
		Status: "204 No Content", StatusCode: http.StatusNoContent, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, Request: req,
	}
}
