package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// byCode is the authorization code grant with PKCE.
func (a *attempt) byCode(ctx context.Context, redirect string) (*token, error) {
	if a.meta.AuthorizationEndpoint == "" {
		return nil, a.fail("there is no authorization_endpoint", "use the grant DeviceCode", auth.ErrUnsupported)
	}
	if !a.meta.supportsPKCE() && !a.p.cfg.AssumePKCE {
		return nil, a.fail("its metadata do not say that it supports PKCE with S256",
			"set Config.AssumePKCE if it does", auth.ErrUnsupported)
	}
	if err := a.chooseClient(ctx, redirect); err != nil {
		return nil, err
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	authURL, err := a.authorizationURL(ctx, redirect, state, verifier)
	if err != nil {
		return nil, err
	}
	if err := a.dialog.Show(ctx, auth.Prompt{
		URL: authURL, Message: fmt.Sprintf("Log in to %v to continue.", a.req.Target),
	}); err != nil {
		return nil, fmt.Errorf("oauth: showing the login: %w", err)
	}
	query, err := a.dialog.Callback(ctx, state)
	if err != nil {
		return nil, fmt.Errorf("oauth: waiting for the login: %w", err)
	}
	code, err := a.readCallback(query.Reveal(), state)
	if err != nil {
		return nil, err
	}
	return a.exchange(ctx, "exchanging the authorization code", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	})
}

// chooseClient is bounded: the person waits, but has not been asked anything yet.
func (a *attempt) chooseClient(ctx context.Context, redirect string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, a.p.cfg.Timeout)
	defer cancel()
	a.us, err = a.p.client(ctx, a.srv, a.meta, redirect)
	return err
}

func (a *attempt) authorizationURL(ctx context.Context, redirect, state, verifier string) (string, error) {
	config := oauth2.Config{
		ClientID: a.us.id, RedirectURL: redirect, Scopes: a.scopes,
		Endpoint: oauth2.Endpoint{AuthURL: a.meta.AuthorizationEndpoint},
	}
	options := []oauth2.AuthCodeOption{
		oauth2.S256ChallengeOption(verifier),
		oauth2.SetAuthURLParam("resource", a.srv.resource),
	}
	if slices.Contains(a.scopes, scopeOffline) {
		options = append(options, oauth2.SetAuthURLParam("prompt", "consent")) // or it is ignored
	}
	if d := a.p.dpop; d != nil { // bind the code too (RFC 9449, 10)
		_, jwk, err := d.proofKey(ctx)
		if err != nil {
			return "", err
		}
		jkt, err := thumbprint(jwk)
		if err != nil {
			return "", err
		}
		options = append(options, oauth2.SetAuthURLParam("dpop_jkt", jkt))
	}
	for name, values := range a.p.cfg.AuthorizationParams {
		options = append(options, oauth2.SetAuthURLParam(name, strings.Join(values, " ")))
	}
	return config.AuthCodeURL(state, options...), nil
}

// readCallback checks the authorization response before its code is sent anywhere.
func (a *attempt) readCallback(raw, state string) (code string, err error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return "", a.fail("the browser came back with a query that does not parse", "", nil)
	}
	for _, name := range []string{"code", "state", "iss", "error"} {
		if len(q[name]) > 1 {
			return "", a.fail(fmt.Sprintf("the browser came back with %q twice", name), "", nil)
		}
	}
	if q.Get("state") != state {
		return "", a.fail("the browser came back with another state", "somebody may be trying to log you in as themselves: start again", nil)
	}
	// RFC 9207: a code of one server must not be sent to another, which a false server
	// that mixed itself in would have us do. An issuer in the answer counts whether it
	// was announced or not.
	iss, given := q.Get("iss"), q.Has("iss")
	switch {
	case given && iss != a.meta.Issuer && a.meta.Issuer != "":
		return "", a.fail(fmt.Sprintf("the browser came back from another issuer, %q", redactURL(iss)),
			"do not trust the target: it mixes up its servers", nil)
	case !given && a.meta.AuthorizationResponseIssParameterSupported:
		return "", a.fail("the browser came back without the issuer that the server promised", "", nil)
	}
	if c := cleanCode(q.Get("error")); c != "" || q.Has("error") {
		e := &EndpointError{
			Doing: "logging in", Endpoint: redactURL(a.meta.AuthorizationEndpoint), Code: c,
			Description: cleanDescription(q.Get("error_description"), []string{state, q.Get("code")}),
		}
		e.Hint, e.Err = verdict(c)
		if e.Err == nil {
			e.Err = auth.ErrCredentialsRejected
		}
		return "", e
	}
	if q.Get("code") == "" {
		return "", a.fail("the browser came back without a code", "", nil)
	}
	return q.Get("code"), nil
}

func (a *attempt) fail(problem, hint string, cause error) error {
	return &EndpointError{
		Doing: "logging in", Endpoint: redactURL(a.srv.issuer),
		Err: both(errors.New(problem), cause), Hint: hint,
	}
}
