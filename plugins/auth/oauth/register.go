package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// clientKey is what stands in Key.Client for tokens: it must be known before the
// server was asked anything.
func (p *Provider) clientKey() string {
	switch {
	case p.cfg.Client.ID != "":
		return p.cfg.Client.ID
	case p.cfg.Client.MetadataURL != "":
		return p.cfg.Client.MetadataURL
	default:
		return clientDynamic
	}
}

// client returns who we are to a server, in the order that MCP prescribes:
// registered beforehand, client ID metadata document, dynamic registration. With a
// redirect, a dynamic registration is one that covers it.
func (p *Provider) client(ctx context.Context, srv *server, meta *metadata, redirect string) (*client, error) {
	c := p.cfg.Client
	switch {
	case c.ID != "", c.MetadataURL != "" && meta.ClientIDMetadataDocumentSupported:
		return p.staticClient(meta), nil
	case meta.RegistrationEndpoint != "" && !p.cfg.Registration.Disabled:
		return p.registeredClient(ctx, srv, meta, redirect)
	}
	hint := "register the application with that server and set Config.Client.ID"
	if c.MetadataURL != "" {
		hint += "; it does not support client ID metadata documents"
	}
	return nil, &EndpointError{
		Doing: "registering the client", Endpoint: redactURL(srv.issuer),
		Err: fmt.Errorf("it registers no clients: %w", auth.ErrUnsupported), Hint: hint,
	}
}

// staticClient is the client that is known without asking the store or the server;
// nil if there is none.
func (p *Provider) staticClient(meta *metadata) *client {
	c := p.cfg.Client
	if c.ID == "" {
		c.ID = c.MetadataURL
	}
	if c.ID == "" {
		return nil
	}
	return c.configured(meta.TokenEndpointAuthMethodsSupported)
}

func (r *registration) client() *client {
	return &client{id: r.ID, secret: auth.NewSecret(r.Secret), method: r.Method, registered: r}
}

func (r *registration) serves(redirect string, now time.Time) bool {
	if r.ID == "" || !r.Expires.IsZero() && !now.Before(r.Expires) {
		return false
	}
	// Exactly: servers may let the port of a loopback redirect differ (RFC 8252, 7.3),
	// but those that do not tell the person and not us.
	return redirect == "" || slices.Contains(r.Redirects, redirect)
}

// grantKey keeps what was obtained for the application itself apart from what a
// person consented to, where both use the same client.
func (p *Provider) grantKey() string {
	if p.cfg.Grant.interactive() {
		return "login"
	}
	return string(p.cfg.Grant)
}

func (p *Provider) registrationKey(issuer string) Key {
	return Key{Issuer: issuer, Client: clientRegistration, Grant: p.grantKey()}
}

// registeredClient returns the stored registration, or registers.
func (p *Provider) registeredClient(ctx context.Context, srv *server, meta *metadata, redirect string) (*client, error) {
	var reg registration
	err := p.cfg.Store.Update(ctx, p.registrationKey(srv.issuer), func(old Entry) (Entry, error) {
		var err error
		if reg, err = decode[registration](old); err != nil {
			return Entry{}, err
		}
		if reg.serves(redirect, time.Now()) {
			return old, nil
		}
		if reg, err = p.register(ctx, srv, meta, redirect); err != nil {
			return Entry{}, err
		}
		return encode(reg, reg.Expires)
	})
	if err != nil {
		return nil, err
	}
	return reg.client(), nil
}

// forgetRegistration drops a registration that the server no longer knows.
func (p *Provider) forgetRegistration(ctx context.Context, issuer, id string) error {
	return p.cfg.Store.Update(ctx, p.registrationKey(issuer), func(old Entry) (Entry, error) {
		if reg, err := decode[registration](old); err == nil && reg.ID != id {
			return old, nil
		}
		return Entry{}, nil
	})
}

// registrationRequest is what a client says of itself (RFC 7591, 2). It is not oauthex's type, which
// leaves an empty response_types out: that means "code", and servers then want a
// redirect from clients that have none.
type registrationRequest struct {
	Name          string   `json:"client_name,omitempty"`
	URI           string   `json:"client_uri,omitempty"`
	Type          string   `json:"application_type,omitempty"`
	Redirects     []string `json:"redirect_uris"`
	ResponseTypes []string `json:"response_types"`
	GrantTypes    []string `json:"grant_types"`
	Method        string   `json:"token_endpoint_auth_method"`
}

func (p *Provider) registrationRequest(meta *metadata, redirect string) registrationRequest {
	ask := registrationRequest{
		Name: p.cfg.Registration.Name, URI: p.cfg.Registration.URI,
		Redirects: []string{}, ResponseTypes: []string{},
	}
	if !p.cfg.Grant.interactive() {
		ask.GrantTypes = []string{map[Grant]string{
			ClientCredentials: "client_credentials", TokenExchange: oauthex.GrantTypeTokenExchange, IdentityAssertion: grantJWTBearer,
			JWTBearer: grantJWTBearer,
		}[p.cfg.Grant]}
		ask.Method = secretMethod(meta.TokenEndpointAuthMethodsSupported)
		return ask
	}
	ask.Method, ask.Type, ask.GrantTypes = methodNone, "native", []string{"refresh_token"}
	if meta.DeviceAuthorizationEndpoint != "" {
		ask.GrantTypes = append(ask.GrantTypes, grantDevice)
	}
	if redirect != "" {
		ask.GrantTypes = append(ask.GrantTypes, "authorization_code")
		ask.Redirects, ask.ResponseTypes = []string{redirect}, []string{"code"}
		if u, err := url.Parse(redirect); err == nil && u.Scheme == "https" && !isLoopback(u.Hostname()) {
			ask.Type = "web"
		}
	}
	return ask
}

// register is RFC 7591, 3. It is not oauthex's, whose errors quote the answer, and
// with it a secret.
func (p *Provider) register(ctx context.Context, srv *server, meta *metadata, redirect string) (registration, error) {
	ask := p.registrationRequest(meta, redirect)
	body, err := json.Marshal(ask)
	if err != nil {
		return registration{}, fmt.Errorf("oauth: registering the client: %w", err)
	}
	r := &post{p: p, doing: "registering the client", endpoint: meta.RegistrationEndpoint}
	answer, err := r.send(withReach(ctx, srv.reach), "application/json", body)
	if err != nil {
		return registration{}, err
	}
	var got oauthex.ClientRegistrationResponse
	if err := json.Unmarshal(answer, &got); err != nil || got.ClientID == "" {
		return registration{}, r.failed("", "", nil)
	}
	reg := registration{ID: got.ClientID, Secret: got.ClientSecret, Method: got.TokenEndpointAuthMethod, Redirects: ask.Redirects}
	if reg.Secret != "" {
		reg.Expires = got.ClientSecretExpiresAt
	}
	if reg.Method == "" {
		reg.Method = ask.Method
	}
	if reg.Secret == "" {
		reg.Method = methodNone
	}
	return reg, nil
}
