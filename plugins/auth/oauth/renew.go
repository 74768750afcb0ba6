package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// renew returns a record that is fresh and covers the scopes, by refreshing or by a
// grant that needs nobody. It holds the store's lock of the key meanwhile, so that
// whoever comes second finds what the first one brought.
func (p *Provider) renew(ctx context.Context, req auth.Request, srv *server, key Key, needed []string) (*record, error) {
	rec, err := p.load(ctx, key)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	valid := rec.usable(now) && rec.covers(needed)
	if valid && rec.fresh(now) {
		return rec, nil
	}
	if at := p.postponed(key, now); valid && !at.IsZero() {
		return rec.until(at), nil
	}
	if p.cfg.Grant.interactive() && (rec.Refresh == "" || !rec.covers(needed)) {
		if valid {
			return rec.until(rec.Expires), nil // nothing can be done about it yet
		}
		return nil, p.loginNeeded(req, srv, rec, nil)
	}
	renewed, err := p.renewLocked(ctx, req, srv, key, needed)
	if rec.Client != nil && oauthCode(err) == "invalid_client" {
		// The server forgot us; the next login registers anew.
		err = both(err, p.forgetRegistration(ctx, srv.issuer, rec.Client.ID))
	}
	switch {
	case err == nil:
		p.succeeded(key)
		return renewed, nil
	case valid && rec.usable(time.Now()) && p.cfg.Grant.interactive() && errors.Is(err, auth.ErrInteractionRequired):
		p.report(req, err)
		return rec.until(rec.Expires), nil
	case valid && rec.usable(time.Now()) && !rejected(err):
		p.report(req, err)
		return rec.until(p.postpone(key, err, rec.Expires)), nil
	default:
		return nil, err
	}
}

// until is the record with another time to come back.
func (r *record) until(t time.Time) *record {
	c := *r
	c.retry = t
	return &c
}

func (p *Provider) loginNeeded(req auth.Request, srv *server, rec *record, cause error) error {
	why := "nobody has logged in yet"
	switch {
	case cause != nil:
		why = "the last login is not valid any more"
	case rec.usable(time.Now()):
		why = "more scopes are wanted than the last login was for"
	case rec.Access != "" || rec.Generation != "":
		why = "the token has expired and there is no refresh token"
	}
	return &EndpointError{
		Doing: fmt.Sprintf("getting a token for %v", req), Endpoint: redactURL(srv.issuer),
		Err: both(auth.ErrInteractionRequired, cause), Hint: why + ": log in",
	}
}

// renewLocked does the network part.
func (p *Provider) renewLocked(ctx context.Context, req auth.Request, srv *server, key Key, needed []string) (*record, error) {
	ctx = withReach(ctx, srv.reach)
	meta, err := p.serverMetadata(ctx, srv)
	if err != nil {
		return nil, err
	}
	for again := false; ; again = true {
		var us *client
		if !p.cfg.Grant.interactive() {
			if us, err = p.client(ctx, srv, meta, ""); err != nil {
				return nil, err
			}
		}
		rec, err := p.underLock(ctx, req, srv, meta, us, key, needed)
		if oauthCode(err) == "invalid_client" && us != nil && us.registered != nil && !again {
			// The server forgot us, which is easily mended.
			if err := p.forgetRegistration(ctx, srv.issuer, us.id); err != nil {
				return nil, err
			}
			continue
		}
		return rec, err
	}
}

func (p *Provider) underLock(
	ctx context.Context, req auth.Request, srv *server, meta *metadata, us *client, key Key, needed []string,
) (*record, error) {
	var rec record
	var failed error // beside what is kept all the same
	err := p.cfg.Store.Update(ctx, key, func(old Entry) (Entry, error) {
		var err error
		if rec, err = p.record(old); err != nil {
			return Entry{}, err
		}
		if rec.fresh(time.Now()) && rec.covers(needed) {
			return old, nil // somebody was faster
		}
		failed = p.obtain(ctx, req, srv, meta, us, &rec, needed)
		return rec.entry()
	})
	if err := both(failed, err); err != nil {
		return nil, err
	}
	return &rec, nil
}

// obtain refreshes, or uses a grant that needs nobody. It changes the record also
// when it fails: what a server has refused is not kept.
func (p *Provider) obtain(
	ctx context.Context, req auth.Request, srv *server, meta *metadata, us *client, rec *record, needed []string,
) error {
	if rec.Refresh != "" && rec.covers(needed) {
		err := p.refresh(ctx, srv, meta, us, rec)
		if !errors.Is(err, auth.ErrCredentialsRejected) && !errors.Is(err, auth.ErrInteractionRequired) {
			return err
		}
		code := oauthCode(err)
		if code == "invalid_grant" || rec.Client != nil && code == "invalid_client" || errors.Is(err, auth.ErrInteractionRequired) {
			// The access token may live on; if it was revoked too, a 401 will tell.
			rec.Refresh = ""
			if p.cfg.Grant.interactive() {
				return p.loginNeeded(req, srv, rec, err)
			}
		} else {
			return err
		}
	}
	if p.cfg.Grant.interactive() {
		return p.loginNeeded(req, srv, rec, nil)
	}
	return p.grant(ctx, req, srv, meta, us, rec)
}

// refresh is RFC 6749, 6. The scopes are those of before: leaving them out says so.
func (p *Provider) refresh(ctx context.Context, srv *server, meta *metadata, us *client, rec *record) error {
	switch { // a refresh token belongs to the client that obtained it
	case rec.Client != nil:
		us = rec.Client.client()
	case us == nil: // p.client would use the store, whose lock is held
		us = p.staticClient(meta)
	}
	if us == nil {
		return fmt.Errorf("oauth: refreshing at %s: the client that logged in is gone: %w", redactURL(srv.issuer), auth.ErrInteractionRequired)
	}
	t, err := p.requestToken(ctx, tokenRequest{
		doing: "refreshing", endpoint: meta.TokenEndpoint, issuer: assertionAudience(meta), client: us,
		params: url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {rec.Refresh}, "resource": {srv.resource},
		},
		dpop: p.cfg.DPoP, resource: srv.resource,
	})
	if err != nil {
		return err
	}
	rec.install(t, rec.Requested, us)
	return nil
}

// serverMetadata are those of the server's issuer, or what stands for them.
func (p *Provider) serverMetadata(ctx context.Context, srv *server) (*metadata, error) {
	if p.cfg.TokenEndpoint != "" {
		m := &metadata{assumed: true}
		m.Issuer, m.TokenEndpoint = p.cfg.Issuer, p.cfg.TokenEndpoint
		return m, nil
	}
	meta, err := p.metadata(ctx, srv.issuer, srv.reach)
	if srv.legacy && errors.Is(err, errNoDocument) {
		return assumedMetadata(srv.issuer), nil
	}
	return meta, err
}

func assertionAudience(meta *metadata) string {
	if meta.Issuer != "" {
		return meta.Issuer
	}
	return meta.TokenEndpoint
}

func setScopes(params url.Values, scopes []string) {
	if len(scopes) > 0 {
		params.Set("scope", strings.Join(scopes, " "))
	}
}
