package plugintest

import (
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Auth checks that the providers of a factory keep the contract of package auth. It
// is in process: the factory is what sdk.Auth takes, and what a program calls that
// compiles the plugin in.
//
// Providers are printed when they are made and when they are closed, to see that they
// show no secret. Goroutines are counted by the calls that started them, so that other
// tests may run at the same time.
func Auth[C any, P auth.Provider](t *testing.T, open func(ctx context.Context, cfg C) (P, error), opts AuthOptions[C]) {
	t.Helper()
	runAll(t, authInProcess(open, opts))
}

// authInProcess lists the checks of Auth.
func authInProcess[C any, P auth.Provider](
	open func(ctx context.Context, cfg C) (P, error), opts AuthOptions[C],
) []check {
	s := newAuthSuite(opts)
	s.open, s.headers = factoryOf[auth.Provider](open), s.opts.Headers
	return append(s.contract(), s.check("Printing", s.printing), s.check("Goroutines", s.goroutines))
}

// authSuite checks providers, wherever they run.
type authSuite[C any] struct {
	suite

	opts    AuthOptions[C]
	headers []string // declared
	open    factory[C, auth.Provider]
}

func newAuthSuite[C any](opts AuthOptions[C]) *authSuite[C] {
	opts = opts.withDefaults()
	return &authSuite[C]{suite: suite{opts.Patience, opts.lull, newSecrets(opts.Secrets)}, opts: opts}
}

// contract lists the checks that hold in process and through a host.
func (s *authSuite[C]) contract() []check {
	return []check{
		s.check("Credentials", s.credentials),
		s.check("Sign", s.sign),
		s.check("Challenge", s.challenge),
		s.check("Observe", s.observe),
		s.check("Login", s.login),
		s.check("Failures", s.failures),
		s.check("Cancellation", s.cancellation),
		s.check("Deadline", s.deadline),
		s.check("Alone", s.alone),
		s.check("Concurrent", s.concurrent),
		s.check("Close", s.closing),
	}
}

// use makes a provider that is closed at the end of the check.
func (s *authSuite[C]) use(r *report, cfg C) *subject {
	r.Helper()
	p, err := s.make(r, cfg)
	if err != nil {
		r.Fatalf("the factory: %v", err)
	}
	r.Cleanup(func() {
		if !p.closed {
			ctx, cancel := short()
			defer cancel()
			_ = p.Close(ctx)
		}
	})
	return p
}

// make calls the factory.
func (s *authSuite[C]) make(r *report, cfg C) (*subject, error) {
	r.Helper()
	p, err := s.open.make(r, cfg)
	if err != nil {
		return nil, err
	}
	return s.subject(r, p), nil
}

// subject looks at each call of a provider.
func (s *authSuite[C]) subject(r *report, p auth.Provider) *subject {
	u := &subject{r: r, p: p, headers: s.headers}
	u.signer, u.signs = auth.AsSigner(p)
	u.observer, u.observes = auth.AsObserver(p)
	u.interactive, u.logsIn = auth.AsInteractive(p)
	return u
}

// subject is a provider, each call of which is looked at.
type subject struct {
	r       *report
	p       auth.Provider
	headers []string
	closed  bool

	signer      auth.Signer
	signs       bool
	observer    auth.Observer
	observes    bool
	interactive auth.Interactive
	logsIn      bool
}

// Credentials asks, and checks the answer.
func (u *subject) Credentials(ctx context.Context, req auth.Request) (c auth.Credentials, err error) {
	lent := req.Clone()
	c, err = u.p.Credentials(ctx, lent)
	u.unchanged("Credentials", req, lent)
	u.checkError(ctx, "Credentials", err)
	if err == nil {
		u.checkHeader("Credentials", c.Header)
	}
	return c, err
}

// Sign asks, and checks the answer.
func (u *subject) Sign(ctx context.Context, req auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	lent, sent := req.Clone(), hr.Header.Clone()
	sig, err := u.signer.Sign(ctx, lent, hr)
	u.unchanged("Sign", req, lent)
	if !reflect.DeepEqual(sent, hr.Header) {
		u.r.faultf("Sign changed the header of the request, which is lent")
	}
	u.checkError(ctx, "Sign", err)
	if err == nil {
		u.checkHeader("Sign", sig.Header)
		if strings.ContainsAny(sig.RawQuery, " #\r\n\t") {
			u.r.faultf("Sign returned a query that is not escaped")
		}
	}
	return sig, err
}

// Challenge tells of a refusal, and checks the answer.
func (u *subject) Challenge(ctx context.Context, req auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	lent := req.Clone()
	outcome, err := u.p.Challenge(ctx, lent, ch)
	u.unchanged("Challenge", req, lent)
	u.checkError(ctx, "Challenge", err)
	switch {
	case outcome < auth.GiveUp || outcome > auth.NeedsLogin:
		u.r.faultf("Challenge returned %v, which is no outcome", outcome)
	case err != nil && outcome == auth.Retry:
		u.r.faultf("Challenge returned Retry with an error (%v): with an error the outcome is GiveUp or NeedsLogin", err)
	}
	return outcome, err
}

// Close closes the provider.
func (u *subject) Close(ctx context.Context) error {
	u.closed = true
	var err error
	if !u.r.within("Close", func() { err = u.p.Close(ctx) }) {
		return nil // reported
	}
	u.r.inspectError("Close", err)
	return err
}

// send does what a transport does before it sends: Credentials, and Sign if there is
// a signer. It returns what is sent and its generation.
func (u *subject) send(ctx context.Context, req auth.Request) (auth.HTTPRequest, string, error) {
	c, err := u.Credentials(ctx, req)
	if err != nil {
		return auth.HTTPRequest{}, "", err
	}
	hr, generation := httpRequest(req, c.Header), c.Generation
	if u.signs {
		sig, err := u.Sign(ctx, req, hr)
		if err != nil {
			return hr, generation, err
		}
		signed := hr.Header.Clone()
		for name, values := range sig.Header {
			signed[textproto.CanonicalMIMEHeaderKey(name)] = values
		}
		if hr.Header = signed; sig.Generation != "" {
			generation = sig.Generation
		}
	}
	return hr, generation, nil
}

// unchanged reports a request that the provider wrote to.
func (u *subject) unchanged(method string, before, after auth.Request) {
	if !reflect.DeepEqual(before.Identity.Attrs, after.Identity.Attrs) || !reflect.DeepEqual(before.Scopes, after.Scopes) {
		u.r.faultf("%s changed the request, which is read-only", method)
	}
}

// checkError reports an error that says too much, and a cancellation of somebody else.
func (u *subject) checkError(ctx context.Context, method string, err error) {
	u.r.inspectError(method, err)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		u.r.faultf("%s returned context.Canceled, and its context has not ended", method)
	}
}

// checkHeader reports headers that a host would refuse, and remembers the values.
func (u *subject) checkHeader(method string, h http.Header) {
	if err := auth.CheckHeader(h); err != nil {
		u.r.faultf("%s returned headers that no plugin may set: %v", method, err)
	}
	for name, values := range h {
		if !declared(u.headers, name) {
			u.r.faultf("%s set the header %s, and only %q are declared", method, textproto.CanonicalMIMEHeaderKey(name), u.headers)
		}
		for _, v := range values {
			u.r.secrets.hide(v)
			if _, token, ok := strings.Cut(v, " "); ok {
				u.r.secrets.hide(token)
			}
		}
	}
}

// declared is what a host understands by sdk.Headers.
func declared(patterns []string, name string) bool {
	for _, pattern := range patterns {
		prefix, isPrefix := strings.CutSuffix(strings.ToLower(pattern), "*")
		if strings.EqualFold(name, pattern) || isPrefix && strings.HasPrefix(strings.ToLower(name), prefix) {
			return true
		}
	}
	return false
}

// requests are all that credentials can be asked for.
func (s *authSuite[C]) requests() []auth.Request {
	return append([]auth.Request{s.opts.Request}, s.opts.Others...)
}

// authField is the field that a configuration error of this kind names.
func authField(err error) (string, bool) {
	e, ok := err.(*auth.ConfigError) //nolint:errorlint // faulty unwraps
	if !ok {
		return "", false
	}
	return e.Field, true
}
