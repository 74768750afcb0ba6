package oauth

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Challenge implements auth.Provider.
//
//   - 401: the token that was refused is not handed out again; where the target has
//     not said yet, or not lately, who issues its tokens, that is looked up. Retry if
//     a token can be had without a person, or is already there; else NeedsLogin.
//   - 401 for want of a DPoP nonce, or because of a clock that is off: Retry.
//   - 403 with insufficient_scope: the scopes are remembered, with those of before.
//     Retry where nobody must consent, else NeedsLogin; GiveUp if they were asked for
//     already.
//   - Anything else: GiveUp.
func (p *Provider) Challenge(ctx context.Context, req auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	if p.isClosed() {
		return auth.GiveUp, errClosed()
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	a := readChallenge(ch.Header)
	if p.dpop != nil {
		p.dpop.learn(ch.Sent.URL, ch.Header.Get("DPoP-Nonce"))
		if a.code == "use_dpop_nonce" {
			// Others may have learned it meanwhile: what counts is what was sent.
			if nonce := p.dpop.nonce(ch.Sent.URL); nonce == "" || nonce == proofNonce(ch.Sent.Header.Get("DPoP")) {
				return auth.GiveUp, nil
			}
			return auth.Retry, nil
		}
		if a.code == "invalid_dpop_proof" && p.clocks.learn(ch.Sent.URL, ch.Header.Get("Date"), ch.SentAt) {
			return auth.Retry, nil
		}
	}
	switch {
	case ch.Status == http.StatusForbidden && a.code == "insufficient_scope":
		return p.stepUp(ctx, req, ch, a)
	case ch.Status == http.StatusUnauthorized:
		return p.refused(ctx, req, ch, a)
	default:
		return auth.GiveUp, nil
	}
}

// refused answers a 401.
func (p *Provider) refused(ctx context.Context, req auth.Request, ch auth.Challenge, a asked) (auth.Outcome, error) {
	srv, err := p.serverAfter401(ctx, req, ch, a)
	if err != nil {
		return auth.GiveUp, err
	}
	var rec record
	err = p.cfg.Store.Update(ctx, p.key(srv, req), func(old Entry) (Entry, error) {
		var err error
		if rec, err = p.record(old); err != nil {
			return Entry{}, err
		}
		if !rec.isSent(ch) {
			return old, nil // it is gone already
		}
		rec.Access = ""
		return rec.entry()
	})
	switch {
	case err != nil:
		return auth.GiveUp, err
	case !p.cfg.Grant.interactive() || rec.usable(time.Now()) || rec.Refresh != "":
		return auth.Retry, nil
	default:
		return auth.NeedsLogin, nil
	}
}

// serverAfter401 returns the target's server, looking it up if need be.
func (p *Provider) serverAfter401(ctx context.Context, req auth.Request, ch auth.Challenge, a asked) (*server, error) {
	st := p.target(req.Target)
	if p.configured() {
		p.mu.Lock()
		if len(a.scopes) > 0 {
			st.scopes = a.scopes
		}
		p.mu.Unlock()
		return p.known(ctx, req.Target)
	}
	p.mu.Lock()
	srv, at := st.server, st.at
	p.mu.Unlock()
	if srv == nil || a.metadataURL != "" && a.metadataURL != srv.metadataURL {
		return p.discover(ctx, req.Target, a)
	}
	doubtful, err := p.doubtful(ctx, req, ch, srv, at)
	if err != nil || !doubtful {
		return srv, err
	}
	if a.metadataURL == "" {
		a.metadataURL = srv.metadataURL
	}
	if found, err := p.discover(ctx, req.Target, a); err == nil {
		return found, nil
	}
	return srv, nil // most tokens are refused because they are old: the known server will do
}

// doubtful reports whether a target that refuses a token may have gone to another
// server since its metadata were read: they are old, or older than the token. One
// look is enough for all tokens of before it.
func (p *Provider) doubtful(ctx context.Context, req auth.Request, ch auth.Challenge, srv *server, at time.Time) (bool, error) {
	if ch.Generation == anonymous {
		return false, nil
	}
	if time.Since(at) > rediscoverAfter {
		return true, nil
	}
	rec, err := p.load(ctx, p.key(srv, req))
	if err != nil {
		return false, err
	}
	return rec.isSent(ch) && !rec.Obtained.Before(at), nil
}

// stepUp answers a 403 that asks for more scope (RFC 6750, 3.1; MCP's step-up).
func (p *Provider) stepUp(ctx context.Context, req auth.Request, ch auth.Challenge, a asked) (auth.Outcome, error) {
	srv, err := p.known(ctx, req.Target)
	if err != nil || srv == nil || len(a.scopes) == 0 {
		return auth.GiveUp, err
	}
	missing := p.limit(a.scopes)
	if len(missing) < len(a.scopes) {
		return auth.GiveUp, nil // ScopeLimit forbids to ask for them
	}
	outcome := auth.GiveUp
	err = p.cfg.Store.Update(ctx, p.key(srv, req), func(old Entry) (Entry, error) {
		rec, err := p.record(old)
		if err != nil {
			return Entry{}, err
		}
		switch {
		case rec.Generation != ch.Generation && rec.usable(time.Now()) && rec.covers(missing):
			outcome = auth.Retry // somebody has been through this meanwhile
			return old, nil
		case rec.covers(missing):
			return old, nil // the server was asked and did not grant them
		}
		outcome = auth.Retry
		if p.cfg.Grant.interactive() {
			outcome = auth.NeedsLogin
		}
		if !slices.ContainsFunc(missing, func(s string) bool { return !slices.Contains(rec.StepUp, s) }) {
			return old, nil
		}
		rec.StepUp = union(rec.StepUp, missing)
		return rec.entry()
	})
	if err != nil {
		return auth.GiveUp, err
	}
	return outcome, nil
}
