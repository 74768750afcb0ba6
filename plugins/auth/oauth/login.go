package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// login is one Login under way, and those who wait for it.
type login struct {
	target auth.Target
	scopes []string
	cancel context.CancelFunc
	done   chan struct{} // closed when err stands
	err    error
	left   bool // the caller whose dialog it was gave up
}

// Login implements auth.Interactive, for the grants AuthorizationCode and
// DeviceCode. It asks for the scopes of the configuration and the request, those
// that were granted before, and those that a target demanded since.
//
// A second Login of the same identity waits. It shares the first one's result if it
// wanted the same, and has its own turn if it did not, or if the first one's caller
// gave up.
func (p *Provider) Login(ctx context.Context, req auth.Request, d auth.Dialog) error {
	if !p.cfg.Grant.interactive() {
		return fmt.Errorf("oauth: grant %q has no login: %w", p.cfg.Grant, auth.ErrUnsupported)
	}
	if d == nil {
		return &auth.ConfigError{Field: "Dialog", Problem: "is nil"}
	}
	id := identityKey(req.Identity)
	for {
		// The dialog ends with this context: that is how it learns that Login returned.
		lctx, cancel := context.WithCancel(ctx)
		mine := &login{target: req.Target, scopes: slices.Sorted(slices.Values(req.Scopes)), cancel: cancel, done: make(chan struct{})}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			cancel()
			return errClosed()
		}
		other := p.logins[id]
		if other == nil {
			p.logins[id] = mine
			p.running++
		}
		p.mu.Unlock()
		if other == nil {
			defer cancel()
			return p.lead(ctx, lctx, req, d, id, mine)
		}
		cancel()
		select {
		case <-other.done:
		case <-ctx.Done():
			return fmt.Errorf("oauth: waiting for another login of %v: %w", req.Identity, ctx.Err())
		}
		if !other.left && other.target == mine.target && slices.Equal(other.scopes, mine.scopes) {
			return other.err
		}
	}
}

// lead runs a login for everybody who waits for it.
func (p *Provider) lead(caller, ctx context.Context, req auth.Request, d auth.Dialog, id string, l *login) error {
	l.err = errors.New("oauth: a dialog ended the goroutine of the login")
	defer func() { // also when a dialog panics: that is for the caller to see
		p.mu.Lock()
		delete(p.logins, id)
		p.endLocked()
		p.mu.Unlock()
		close(l.done)
	}()
	l.err = p.logIn(ctx, req, d)
	switch {
	case l.err == nil:
	case caller.Err() != nil:
		l.left = true
	case ctx.Err() != nil:
		l.err = errClosed()
	}
	return l.err
}

func (p *Provider) logIn(ctx context.Context, req auth.Request, d auth.Dialog) error {
	srv, meta, err := p.loginServer(ctx, req)
	if err != nil {
		return err
	}
	rec, err := p.load(ctx, p.key(srv, req))
	if err != nil {
		return err
	}
	ctx = withReach(ctx, srv.reach)
	a := &attempt{p: p, req: req, srv: srv, meta: meta, dialog: d, scopes: p.loginScopes(req, srv, meta, rec)}
	redirect, err := "", auth.ErrUnsupported
	if p.cfg.Grant == AuthorizationCode {
		redirect, err = d.RedirectURL(ctx)
	}
	var t *token
	switch {
	case err == nil:
		t, err = a.byCode(ctx, redirect)
	case errors.Is(err, auth.ErrUnsupported) && meta.DeviceAuthorizationEndpoint != "":
		t, err = a.byDevice(ctx)
	case p.cfg.Grant == DeviceCode:
		err = &EndpointError{
			Doing: "logging in", Endpoint: redactURL(srv.issuer),
			Err:  fmt.Errorf("there is no device_authorization_endpoint: %w", auth.ErrUnsupported),
			Hint: "use the grant AuthorizationCode",
		}
	default:
		err = fmt.Errorf("oauth: logging in at %s: no redirect URL: %w", redactURL(srv.issuer), err)
	}
	if err != nil {
		return a.giveUp(ctx, err)
	}
	return p.keep(ctx, a, t)
}

// attempt is one login and what it needs.
type attempt struct {
	p      *Provider
	req    auth.Request
	srv    *server
	meta   *metadata
	dialog auth.Dialog
	scopes []string
	us     *client // set on the way
}

// giveUp forgets a registration that may be why a login failed: a server that lost
// it tells the person, on a page of its own, and not us.
func (a *attempt) giveUp(ctx context.Context, err error) error {
	if a.us == nil || a.us.registered == nil || oauthCode(err) == "access_denied" {
		return err
	}
	ctx, cancel := a.p.detach(ctx)
	defer cancel()
	return both(err, a.p.forgetRegistration(ctx, a.srv.issuer, a.us.id))
}

// loginServer finds the server, as if the target had just answered 401.
func (p *Provider) loginServer(ctx context.Context, req auth.Request) (*server, *metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	srv, err := p.known(ctx, req.Target)
	if err != nil {
		return nil, nil, err
	}
	if srv == nil {
		// The well-known places would often do, but only the 401 says which scopes.
		if srv, err = p.discover(ctx, req.Target, p.probe(ctx, req.Target)); err != nil {
			return nil, nil, err
		}
	}
	meta, err := p.serverMetadata(ctx, srv)
	return srv, meta, err
}

// scopeOffline asks for a refresh token where a server has it (OpenID Connect Core,
// 11; MCP's SEP-2207).
const scopeOffline = "offline_access"

func (p *Provider) loginScopes(req auth.Request, srv *server, meta *metadata, rec *record) []string {
	scopes := p.wanted(req, srv, rec)
	if slices.Contains(meta.ScopesSupported, scopeOffline) {
		scopes = union(scopes, p.limit([]string{scopeOffline}))
	}
	return scopes
}

// keep stores what a login brought.
func (p *Provider) keep(ctx context.Context, a *attempt, t *token) error {
	ctx, cancel := p.detach(ctx)
	defer cancel()
	key := p.key(a.srv, a.req)
	err := p.cfg.Store.Update(ctx, key, func(old Entry) (Entry, error) {
		rec, err := p.record(old)
		if err != nil {
			return Entry{}, err
		}
		rec.Refresh = "" // an earlier one was for less
		rec.install(t, a.scopes, a.us)
		return rec.entry()
	})
	if err != nil {
		return fmt.Errorf("oauth: keeping the tokens of a login: %w", err)
	}
	p.succeeded(key)
	return nil
}

// exchange asks for the token that a login has earned. It does not end with the
// dialog: a code works once.
func (a *attempt) exchange(ctx context.Context, doing string, params url.Values) (*token, error) {
	ctx, cancel := a.p.detach(ctx)
	defer cancel()
	params.Set("resource", a.srv.resource)
	return a.p.requestToken(ctx, tokenRequest{
		doing: doing, endpoint: a.meta.TokenEndpoint, issuer: assertionAudience(a.meta), client: a.us,
		params: params, dpop: a.p.cfg.DPoP, resource: a.srv.resource,
	})
}
