package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// token is what a token endpoint gave.
type token struct {
	access, kind, refresh string
	obtained, expires     time.Time
	scopes                []string // nil if the server did not say
	issuedType            string   // of a token exchange
}

// tokenRequest asks a token endpoint for something.
type tokenRequest struct {
	doing    string
	endpoint string
	issuer   string
	client   *client
	params   url.Values // grant_type and what belongs to it
	dpop     bool
	resource string // whose token it is to be; empty for what is not an access token
}

// requestToken sends the request, once more if the server first needs a nonce in the
// DPoP proof, and once more if it turned out that the clocks differ.
func (p *Provider) requestToken(ctx context.Context, req tokenRequest) (*token, error) {
	nonces, skewed := 0, false
	for {
		t, r, err := p.tryToken(ctx, req)
		if err == nil {
			return t, nil
		}
		e, ok := errors.AsType[*EndpointError](err)
		if !ok {
			return nil, err
		}
		switch {
		case e.Code == "use_dpop_nonce" && req.dpop && nonces < 2:
			nonces++
			continue
		case e.Code == "invalid_client" && req.client.method == methodPrivateKey, e.Code == "invalid_dpop_proof":
			if !skewed && p.clocks.learn(req.endpoint, r.date, r.sentAt) {
				skewed = true
				continue
			}
		}
		return nil, err
	}
}

func (p *Provider) tryToken(ctx context.Context, req tokenRequest) (*token, *post, error) {
	params := make(url.Values, len(req.params))
	maps.Copy(params, req.params)
	style, secret, err := req.client.authenticate(params, req.issuer, p.clocks.at(req.endpoint))
	if err != nil {
		return nil, nil, err
	}
	r := &post{p: p, doing: req.doing, endpoint: req.endpoint, dpop: req.dpop, secrets: secretsOf(params, secret)}
	// clientcredentials.Config is x/oauth2's only way to send any grant: the others
	// add parameters of theirs, or refresh with a context from long ago.
	config := clientcredentials.Config{
		ClientID: req.client.id, ClientSecret: secret, TokenURL: req.endpoint,
		AuthStyle: style, EndpointParams: params,
	}
	ot, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, r.client()))
	if err != nil {
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			return nil, r, r.failed(re.ErrorCode, re.ErrorDescription, nil)
		}
		return nil, r, r.failed("", "", err)
	}
	t, err := p.accept(ot, r, req)
	return t, r, err
}

// accept checks what came back, before it is kept or sent anywhere.
func (p *Provider) accept(ot *oauth2.Token, r *post, req tokenRequest) (*token, error) {
	refuse := func(problem, hint string, err error) error {
		return &EndpointError{
			Doing: req.doing, Endpoint: redactURL(req.endpoint), Status: r.status,
			Err: both(errors.New(problem), err), Hint: hint,
		}
	}
	t := &token{access: ot.AccessToken, refresh: ot.RefreshToken, obtained: r.sentAt, expires: ot.Expiry}
	if !t.expires.IsZero() {
		// Counted from when it was asked for, not from when the answer was read.
		t.expires = t.expires.Add(-time.Since(r.sentAt)).Round(0)
		if lifetime := t.expires.Sub(t.obtained); lifetime < 0 {
			return nil, refuse("the token had expired when it was issued", "the server's expires_in is negative", nil)
		}
	}
	t.obtained = t.obtained.Round(0)
	if s, ok := ot.Extra("scope").(string); ok {
		t.scopes = parseScopes(s)
	}
	t.issuedType, _ = ot.Extra("issued_token_type").(string)
	if req.resource == "" {
		return t, nil // an assertion, whose type is N_A
	}
	switch {
	case ot.TokenType == "" || strings.EqualFold(ot.TokenType, "bearer"):
		if req.dpop {
			return nil, refuse("the token is not bound to the DPoP key", "the server does not support DPoP: unset Config.DPoP", auth.ErrUnsupported)
		}
		t.kind = "Bearer"
	case strings.EqualFold(ot.TokenType, "dpop") && req.dpop:
		t.kind = "DPoP"
	default:
		return nil, refuse(fmt.Sprintf("the token is of type %q", cleanCode(ot.TokenType)), "", auth.ErrUnsupported)
	}
	if auth.CheckHeader(http.Header{"Authorization": {t.kind + " " + t.access}}) != nil {
		return nil, refuse("the token has characters that no header may have", "", nil)
	}
	if err := p.checkAudience(t.access, req.resource); err != nil {
		return nil, refuse(err.Error(), "if that is as it should be, add it to Config.Audiences", nil)
	}
	return t, nil
}
