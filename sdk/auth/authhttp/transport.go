package authhttp

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

var _ http.RoundTripper = (*Transport)(nil)

// Config says whose credentials a Transport uses, for what, and how.
type Config struct {
	// Base sends the requests; default http.DefaultTransport.
	Base http.RoundTripper
	// Provider is where the credentials come from. The Transport does not close it.
	Provider auth.Provider
	// Request is for whom and for what. Its Target.URL must be absolute, http or
	// https: its origin is the only one that gets credentials.
	Request auth.Request
	// MaxBodyBytes bounds what is kept of a request's body, to hash it and to send it
	// again. A larger one cannot be signed; without a signer it is sent once and not
	// repeated. Default 4 MiB.
	MaxBodyBytes int64
	// CredentialHeaders are removed from requests before the provider's are set, so
	// that nothing from outside speaks for somebody else. Default
	// DefaultCredentialHeaders(); an empty non-nil slice removes nothing.
	CredentialHeaders []string
	// Refused decides what becomes of a 401 or 403 that the provider could not better:
	// it returns the response, or closes its body and returns an error. It is called
	// in the goroutine of the request. Nil returns the response.
	Refused func(resp *http.Response, outcome auth.Outcome, err error) (*http.Response, error)
}

// DefaultCredentialHeaders returns the headers by which requests commonly say who
// they are from.
func DefaultCredentialHeaders() []string {
	return []string{
		"Authorization", "Proxy-Authorization", "Cookie", "Dpop", "X-Api-Key", "X-Access-Token",
		"X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token",
	}
}

// Transport is an http.RoundTripper that authenticates requests.
type Transport struct {
	cfg      Config
	scheme   string // of the target, and host as written there: most requests match
	host     string // both, and need no parsing
	origin   string
	signer   auth.Signer   // nil if the provider does not sign
	reader   auth.Observer // nil if the provider does not read along
	observed []string      // canonical names of the headers it reads
	cached   bool          // the provider has checked its headers already
	strip    []string      // canonical names
}

// New returns a Transport. The error joins an *auth.ConfigError per fault.
func New(cfg Config) (*Transport, error) {
	var errs []error
	bad := func(field, problem string, err error) {
		errs = append(errs, &auth.ConfigError{Field: field, Problem: problem, Err: err})
	}
	if cfg.Base == nil {
		cfg.Base = http.DefaultTransport
	}
	t := &Transport{}
	if cfg.Provider == nil {
		bad("Provider", "is nil", nil)
	} else {
		t.signer, _ = auth.AsSigner(cfg.Provider)
		_, t.cached = cfg.Provider.(*auth.Cache)
		if t.reader, _ = auth.AsObserver(cfg.Provider); t.reader != nil {
			for _, name := range t.reader.ObservedHeaders() {
				t.observed = append(t.observed, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	u, err := url.Parse(cfg.Request.Target.URL)
	switch {
	case err != nil:
		bad("Request.Target.URL", "does not parse", nil) // the error would quote it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		bad("Request.Target.URL", "is not an absolute http or https URL", nil)
	default:
		t.scheme, t.host, t.origin = u.Scheme, u.Host, originOf(u)
	}
	switch {
	case cfg.MaxBodyBytes < 0:
		bad("MaxBodyBytes", fmt.Sprintf("= %d is negative", cfg.MaxBodyBytes), nil)
	case cfg.MaxBodyBytes == 0:
		cfg.MaxBodyBytes = 4 << 20
	}
	if cfg.CredentialHeaders == nil {
		cfg.CredentialHeaders = DefaultCredentialHeaders()
	}
	for _, name := range cfg.CredentialHeaders {
		t.strip = append(t.strip, textproto.CanonicalMIMEHeaderKey(name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Request = cfg.Request.Clone()
	t.cfg = cfg
	return t, nil
}

// RoundTrip sends the request with credentials, and again with others if the target
// refuses those and the provider has better: once for each kind of refusal that
// package auth tells apart.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if (req.URL.Scheme != t.scheme || req.URL.Host != t.host) && originOf(req.URL) != t.origin {
		out := req.Clone(req.Context())
		t.removeCredentials(out.Header)
		return t.cfg.Base.RoundTrip(out)
	}
	var body body
	if err := t.takeBody(req, &body); err != nil {
		return nil, fmt.Errorf("authhttp: %s %s: %w", req.Method, t.cfg.Request.Target, err)
	}
	// Every turn but the last adds a bit, and there are four.
	for met := refusals(0); ; {
		out, try, err := t.prepare(req, &body, met != 0)
		if err != nil {
			body.discard()
			return nil, fmt.Errorf("authhttp: %s %s: %w", req.Method, t.cfg.Request.Target, err)
		}
		var sentAt time.Time
		if t.signer != nil { // else nothing in the request is dated, and a clock is dear
			sentAt = time.Now()
		}
		resp, err := t.cfg.Base.RoundTrip(out)
		if err != nil {
			return resp, err
		}
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			t.observe(out, resp)
			return resp, nil
		}
		ch := auth.Challenge{SentAt: sentAt, Generation: try.generation, Status: resp.StatusCode, Header: resp.Header}
		kind := kindOf(ch, try.bare)
		outcome, err := auth.GiveUp, error(nil)
		if met&kind != 0 { // it stands
			t.observe(out, resp)
		} else {
			met |= kind
			if sentAt.IsZero() {
				ch.SentAt = time.Now()
			}
			ch.Sent, ch.Header, ch.Body = describe(out, &body), resp.Header.Clone(), peek(resp, auth.MaxChallengeBody)
			outcome, err = t.cfg.Provider.Challenge(req.Context(), t.cfg.Request, ch)
			if outcome == auth.Retry && err == nil && body.replayable() {
				drain(resp)
				continue
			}
		}
		if t.cfg.Refused != nil {
			return t.cfg.Refused(resp, outcome, err)
		}
		return resp, nil
	}
}

// refusals is a set of kinds of refusal.
type refusals uint8

const (
	bare refusals = 1 << iota // nothing was sent that could have been refused
	refused
	scopeWanted
	nonceWanted
)

func kindOf(ch auth.Challenge, sentNothing bool) refusals {
	switch reason := ch.Reason(); {
	case reason == auth.NonceWanted:
		return nonceWanted
	case sentNothing:
		return bare
	case reason == auth.ScopeWanted:
		return scopeWanted
	default:
		return refused
	}
}

// CloseIdleConnections closes those of the base, for http.Client.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.cfg.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// observe shows the provider an answer that it gets no challenge for.
func (t *Transport) observe(sent *http.Request, resp *http.Response) {
	var seen http.Header
	for _, name := range t.observed {
		if values := resp.Header[name]; len(values) > 0 {
			if seen == nil {
				seen = make(http.Header, len(t.observed))
			}
			seen[name] = slices.Clone(values)
		}
	}
	if seen != nil {
		t.reader.Observe(t.cfg.Request, auth.Observation{URL: wireURL(sent), Status: resp.StatusCode, Header: seen})
	}
}

// attempt is what the challenge to one has to know of it.
type attempt struct {
	generation string
	bare       bool // the provider put nothing on it
}

// prepare makes one attempt: a copy of the request with a reader of its own for the
// body, the credentials, and the signature over all of it.
func (t *Transport) prepare(req *http.Request, body *body, again bool) (*http.Request, attempt, error) {
	out := req.WithContext(req.Context()) // a shallow copy
	out.Header = t.cleaned(req.Header)
	creds, err := t.cfg.Provider.Credentials(req.Context(), t.cfg.Request)
	if err == nil && !t.cached {
		err = auth.CheckHeader(creds.Header)
	}
	if err != nil {
		return nil, attempt{}, err
	}
	t.set(out.Header, creds.Header)
	if err := body.attach(out, again); err != nil {
		return nil, attempt{}, err
	}
	try := attempt{generation: creds.Generation, bare: len(creds.Header) == 0}
	if t.signer == nil {
		return out, try, nil
	}
	hr := describe(out, body)
	sig, err := t.signer.Sign(req.Context(), t.cfg.Request, hr)
	if err == nil {
		err = auth.CheckHeader(sig.Header)
	}
	if err == nil {
		err = checkQuery(sig.RawQuery)
	}
	if err != nil {
		return nil, attempt{}, err
	}
	set(out.Header, sig.Header)
	if sig.RawQuery != "" {
		u := *out.URL
		u.RawQuery = sig.RawQuery
		out.URL = &u
	}
	if sig.Generation != "" {
		try.generation = sig.Generation
	}
	try.bare = try.bare && len(sig.Header) == 0 && sig.RawQuery == ""
	return out, try, nil
}

// cleaned returns a copy of the headers of a request without those that say who it
// is from.
func (t *Transport) cleaned(h http.Header) http.Header {
	one := make([]string, len(h)) // for the values: nearly always one each
	out := make(http.Header, len(h)+1)
	for name, values := range h {
		if slices.Contains(t.strip, name) { // a comparison of lengths, nearly always
			continue
		}
		if len(values) == 1 {
			one[0] = values[0]
			out[name], one = one[:1:1], one[1:]
			continue
		}
		out[name] = slices.Clone(values)
	}
	return out
}

// set replaces headers by those of the provider, whose names a cache has made
// canonical.
func (t *Transport) set(dst, src http.Header) {
	if t.cached {
		maps.Copy(dst, src)
		return
	}
	set(dst, src)
}

func (t *Transport) removeCredentials(h http.Header) {
	for _, name := range t.strip {
		delete(h, name)
	}
}

// describe tells a signer what will be on the wire.
func describe(req *http.Request, b *body) auth.HTTPRequest {
	return auth.HTTPRequest{
		Method: req.Method, Host: req.Host, Header: req.Header,
		URL:           wireURL(req),
		ContentLength: req.ContentLength, BodySHA256: b.sum,
	}
}

func wireURL(req *http.Request) string {
	return req.URL.Scheme + "://" + req.URL.Host + req.URL.RequestURI()
}

// set replaces headers under their canonical names. The values are shared, which is
// safe as long as nobody writes to them, and appending makes a copy.
func set(dst, src http.Header) {
	for name, values := range src {
		dst[textproto.CanonicalMIMEHeaderKey(name)] = slices.Clip(values)
	}
}

// originOf is scheme, host and port (RFC 6454), the port made explicit.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

func checkQuery(q string) error {
	for i := range len(q) {
		if c := q[i]; c <= ' ' || c == '#' || c >= 0x7f {
			return errors.New("the signer returned a query that is not escaped")
		}
	}
	return nil
}
