package oauth

import (
	"context"
	"fmt"
	"net/url"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const (
	grantDevice    = "urn:ietf:params:oauth:grant-type:device_code"
	grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer" //nolint:gosec // a name, no credential
)

// grant obtains a token without a login.
func (p *Provider) grant(ctx context.Context, req auth.Request, srv *server, meta *metadata, us *client, rec *record) error {
	scopes := p.wanted(req, srv, rec)
	ask := tokenRequest{
		endpoint: meta.TokenEndpoint, issuer: assertionAudience(meta), client: us,
		dpop: p.cfg.DPoP, resource: srv.resource,
		params: url.Values{"resource": {srv.resource}},
	}
	setScopes(ask.params, scopes)
	var err error
	switch p.cfg.Grant {
	case ClientCredentials:
		ask.doing = "getting a token with the client's credentials"
		ask.params.Set("grant_type", "client_credentials")
	case TokenExchange:
		ask.doing = fmt.Sprintf("exchanging the subject token of %v", req.Identity)
		err = p.exchangeParams(ctx, req, ask.params)
	case JWTBearer:
		ask.doing = fmt.Sprintf("handing in the assertion of %v", req.Identity)
		err = bearerParams(ctx, req, ask.params)
	case IdentityAssertion:
		ask.doing = fmt.Sprintf("exchanging the identity assertion of %v", req.Identity)
		err = p.assertionParams(ctx, req, srv, meta, scopes, ask.params)
	default:
		err = fmt.Errorf("oauth: grant %q: %w", p.cfg.Grant, auth.ErrUnsupported)
	}
	if err != nil {
		return err
	}
	t, err := p.requestToken(ctx, ask)
	if err != nil {
		return err
	}
	if p.cfg.Grant != TokenExchange {
		// These grants can be repeated as they are: a refresh token, which they should
		// not give (RFC 6749, 4.4.3), would only be one more thing to lose.
		t.refresh = ""
	}
	rec.install(t, scopes, us)
	return nil
}

func subject(ctx context.Context, id auth.Identity) (string, error) {
	if id.Subject == nil {
		return "", fmt.Errorf("oauth: %v has no Subject whose token could be exchanged: %w", id, auth.ErrUnsupported)
	}
	s, err := id.Subject(ctx)
	if err != nil {
		return "", fmt.Errorf("oauth: the Subject of %v: %w", id, err)
	}
	if s.IsEmpty() {
		return "", fmt.Errorf("oauth: the Subject of %v returned no token: %w", id, auth.ErrInteractionRequired)
	}
	return s.Reveal(), nil
}

// exchangeParams are those of RFC 8693, 2.1.
func (p *Provider) exchangeParams(ctx context.Context, req auth.Request, params url.Values) error {
	s, err := subject(ctx, req.Identity)
	if err != nil {
		return err
	}
	params.Set("grant_type", oauthex.GrantTypeTokenExchange)
	params.Set("subject_token", s)
	params.Set("subject_token_type", p.cfg.Exchange.SubjectTokenType)
	params.Set("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
	if p.cfg.Exchange.Audience != "" {
		params.Set("audience", p.cfg.Exchange.Audience)
	}
	return nil
}

// bearerParams are those of RFC 7523, 2.1.
func bearerParams(ctx context.Context, req auth.Request, params url.Values) error {
	s, err := subject(ctx, req.Identity)
	if err != nil {
		return err
	}
	params.Set("grant_type", grantJWTBearer)
	params.Set("assertion", s)
	return nil
}

// assertionParams get an identity assertion from the enterprise's identity provider,
// for exactly this authorization server and resource, and hand it on
// (draft-ietf-oauth-identity-assertion-authz-grant, MCP's SEP-990).
func (p *Provider) assertionParams(
	ctx context.Context, req auth.Request, srv *server, meta *metadata, scopes []string, params url.Values,
) error {
	s, err := subject(ctx, req.Identity)
	if err != nil {
		return err
	}
	idp, err := p.idpMetadata(ctx)
	if err != nil {
		return err
	}
	ask := tokenRequest{
		doing:    fmt.Sprintf("getting an identity assertion for %v", req.Identity),
		endpoint: idp.TokenEndpoint, issuer: assertionAudience(idp),
		client: p.cfg.IDP.Client.configured(idp.TokenEndpointAuthMethodsSupported),
		params: url.Values{
			"grant_type":           {oauthex.GrantTypeTokenExchange},
			"requested_token_type": {oauthex.TokenTypeIDJAG},
			"audience":             {assertionAudience(meta)},
			"resource":             {srv.resource},
			"subject_token":        {s},
			"subject_token_type":   {p.cfg.IDP.SubjectTokenType},
		},
	}
	setScopes(ask.params, scopes)
	t, err := p.requestToken(withReach(ctx, p.idpReach()), ask)
	if err != nil {
		return err
	}
	if t.issuedType != oauthex.TokenTypeIDJAG {
		return &EndpointError{
			Doing: ask.doing, Endpoint: redactURL(ask.endpoint),
			Err:  fmt.Errorf("it issued a token of another type, %.100q", t.issuedType),
			Hint: "the identity provider does not support identity assertions (ID-JAG)",
		}
	}
	params.Del("resource") // it is in the assertion
	params.Set("grant_type", grantJWTBearer)
	params.Set("assertion", t.access)
	return nil
}

func (p *Provider) idpReach() reach { return reachOf(p.cfg.IDP.Issuer, p.cfg.IDP.TokenEndpoint) }

func (p *Provider) idpMetadata(ctx context.Context) (*metadata, error) {
	idp := p.cfg.IDP
	if idp.TokenEndpoint != "" {
		m := &metadata{assumed: true}
		m.Issuer, m.TokenEndpoint = idp.Issuer, idp.TokenEndpoint
		return m, nil
	}
	return p.metadata(ctx, idp.Issuer, p.idpReach())
}
