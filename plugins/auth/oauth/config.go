package oauth

import (
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Grant is a way to obtain tokens.
type Grant string

const (
	// AuthorizationCode has a person log in with a browser (RFC 6749, 4.1, with PKCE
	// by RFC 7636), or with a device code where the Dialog has no redirect. It is the
	// default.
	AuthorizationCode Grant = "authorization_code"
	// DeviceCode has a person log in on another device (RFC 8628).
	DeviceCode Grant = "device_code"
	// ClientCredentials is for an application that acts for itself (RFC 6749, 4.4).
	// All identities then have tokens of their own, which say the same.
	ClientCredentials Grant = "client_credentials"
	// TokenExchange trades the identity's Subject for a token (RFC 8693).
	TokenExchange Grant = "token_exchange"
	// IdentityAssertion trades the identity's Subject at Config.IDP for an assertion
	// (ID-JAG) and that at the target's authorization server for a token:
	// enterprise-managed authorization, in MCP's words.
	IdentityAssertion Grant = "identity_assertion"
	// JWTBearer hands the identity's Subject, a JWT that was made for the authorization
	// server, to that server for a token (RFC 7523, 2.1): workload identity federation,
	// in MCP's words. The JWT is not looked into.
	JWTBearer Grant = "jwt_bearer"
)

func (g Grant) interactive() bool { return g == AuthorizationCode || g == DeviceCode }

// Config says how tokens are obtained. The zero value of each field has a meaning.
// Package sdk/config reads it from JSON, under the names in the tags.
type Config struct {
	// Grant is the way; default AuthorizationCode.
	Grant Grant `json:"grant"`
	// Issuer is the authorization server, whose metadata is fetched. Empty, the target
	// says which, in the metadata that its 401 points to.
	Issuer string `json:"issuer"`
	// TokenEndpoint makes all discovery superfluous; only for grants without a login.
	// With an Issuer too, that one names the server, and is not asked.
	TokenEndpoint string `json:"token_endpoint"`
	// AnyIssuer sends Client.Secret, or the identity's Subject token, to whichever
	// authorization server a target names. Without it, those need an Issuer or a
	// TokenEndpoint. Set it only if every target is trusted as much as they are.
	AnyIssuer bool `json:"any_issuer"`

	// Client is who the application is to the authorization server. The zero Client
	// registers itself dynamically where the server allows it.
	Client Client `json:"client"`
	// Registration is how the application describes itself when it registers.
	Registration Registration `json:"registration"`

	// Scopes are asked for with every token, besides those of the request. If both are
	// empty, those that the target's 401 or its metadata names are.
	Scopes []string `json:"scopes"`
	// ScopeLimit bounds what is ever asked for, whatever a target demands; nil is no
	// bound.
	ScopeLimit []string `json:"scope_limit"`
	// AuthorizationParams are added to the authorization URL, such as login_hint.
	AuthorizationParams url.Values `json:"authorization_params"`
	// AssumePKCE logs in with servers whose metadata does not say that they support
	// PKCE with S256. MCP wants those refused, some do support it.
	AssumePKCE bool `json:"assume_pkce"`

	// Exchange tunes TokenExchange.
	Exchange Exchange `json:"exchange"`
	// IDP is where IdentityAssertion takes its assertions from.
	IDP IDP `json:"idp"`

	// DPoP binds tokens to a key and signs each request with it (RFC 9449). Servers
	// that answer with a bearer token are then refused.
	DPoP bool `json:"dpop"`
	// DPoPKey is that key (ECDSA P-256 or P-384, Ed25519, RSA). Default: one is
	// generated and kept in Store.
	DPoPKey crypto.Signer `json:"-"`
	// Audiences are accepted in the aud claim of JWT access tokens (RFC 9068), besides
	// the resource itself.
	Audiences []string `json:"audiences"`

	// Store keeps tokens and registrations. Default: a NewMemoryStore of its own. The
	// provider does not close it.
	Store TokenStore `json:"-"`
	// TokenFile is the path of a file to keep them in instead; see OpenFileStore.
	TokenFile string `json:"token_file"`
	// Timeout bounds everything that one renewal does on the network, and one step of
	// a login. Default 25 s, a little less than auth.Cache waits.
	Timeout time.Duration `json:"timeout"`
	// TLS is used with all servers, cloned; nil is Go's default.
	TLS *tls.Config `json:"-"`
	// Transport replaces everything below HTTP, and with it the check of the addresses
	// that are dialled; schemes, redirects and names are still checked. Default: HTTP
	// transports of its own, with the proxy that the environment names. What goes
	// through a proxy is resolved there, and cannot be checked here.
	Transport http.RoundTripper `json:"-"`
	// PrivateNetworks are non-public networks where discovered servers may be.
	// Configured hosts (targets, Issuer, TokenEndpoint, IDP) may be anywhere.
	PrivateNetworks []netip.Prefix `json:"private_networks"`

	// OnFailure is told of failed renewals, also of those that no caller sees because
	// the old token is still valid. It runs in the goroutine of the renewal, without
	// locks; Close waits for it. A panic in it is swallowed. May be nil.
	OnFailure func(req auth.Request, err error) `json:"-"`
}

// Client is an OAuth client. It prints without its secrets.
type Client struct {
	// ID is the client's, registered beforehand.
	ID string `json:"id"`
	// Secret authenticates it, where it is confidential.
	Secret auth.Secret `json:"secret"`
	// PrivateKey authenticates it instead, by private_key_jwt (RFC 7523): ECDSA P-256
	// or P-384, Ed25519, or RSA of at least 2048 bits.
	PrivateKey crypto.Signer `json:"-"`
	// PrivateKeyPEM is that key as text: PEM of a PKCS #8, SEC 1 or PKCS #1 key.
	PrivateKeyPEM auth.Secret `json:"private_key_pem"`
	// KeyID is the "kid" under which the server knows the key; may be empty.
	KeyID string `json:"key_id"`
	// AuthMethod is how it authenticates: client_secret_basic, client_secret_post,
	// private_key_jwt or none. Default: what the server's metadata offers and the
	// fields above allow.
	AuthMethod string `json:"auth_method"`
	// MetadataURL is where the application's client ID metadata document is published.
	// It is the client's ID with servers that support this, unless ID is set.
	MetadataURL string `json:"metadata_url"`
}

// Registration is what dynamic registration tells the server (RFC 7591).
type Registration struct {
	// Disabled forbids dynamic registration.
	Disabled bool `json:"disabled"`
	// Name is shown to the person who logs in; default "mcpool".
	Name string `json:"name"`
	// URI is the application's home page; may be empty.
	URI string `json:"uri"`
}

// Exchange tunes a token exchange.
type Exchange struct {
	// SubjectTokenType is the type of the Subject token; default
	// "urn:ietf:params:oauth:token-type:access_token".
	SubjectTokenType string `json:"subject_token_type"`
	// Audience is added to the request where the server wants one besides the resource.
	Audience string `json:"audience"`
}

// IDP is the enterprise's identity provider.
type IDP struct {
	// Issuer is whose metadata is fetched.
	Issuer string `json:"issuer"`
	// TokenEndpoint is used as it is where there is no Issuer.
	TokenEndpoint string `json:"token_endpoint"`
	// Client is who the application is to the identity provider.
	Client Client `json:"client"`
	// SubjectTokenType is the type of the Subject token; default
	// "urn:ietf:params:oauth:token-type:id_token".
	SubjectTokenType string `json:"subject_token_type"`
}

// String names the grant and the servers.
func (c Config) String() string {
	return fmt.Sprintf("oauth config: grant %q issuer %q token endpoint %q %v",
		c.Grant, redactURL(c.Issuer), redactURL(c.TokenEndpoint), c.Client)
}

// Format writes String for every verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON is String, quoted.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// String names the client.
func (c Client) String() string {
	id := c.ID
	if id == "" {
		id = c.MetadataURL
	}
	if id == "" {
		return "unregistered client"
	}
	return fmt.Sprintf("client %q", id)
}

// Format writes String for every verb.
func (c Client) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON is String, quoted.
func (c Client) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// faults collects what is wrong with a Config.
type faults []error

func (f *faults) addf(field, format string, args ...any) {
	*f = append(*f, &auth.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// setDefaults completes the copy that New took, and says what is wrong with it.
func setDefaults(c *Config) error {
	var f faults
	if c.Grant == "" {
		c.Grant = AuthorizationCode
	}
	grants := []Grant{AuthorizationCode, DeviceCode, ClientCredentials, TokenExchange, IdentityAssertion, JWTBearer}
	if !slices.Contains(grants, c.Grant) {
		f.addf("Grant", "= %q is not one of %q", c.Grant, grants)
	}
	f.url("Issuer", c.Issuer)
	f.url("TokenEndpoint", c.TokenEndpoint)
	if c.TokenEndpoint != "" && c.Grant.interactive() {
		f.addf("TokenEndpoint", "is not enough for grant %q: set Issuer instead", c.Grant)
	}
	if c.AnyIssuer && (c.Issuer != "" || c.TokenEndpoint != "") {
		f.addf("AnyIssuer", "contradicts Issuer and TokenEndpoint: leave it false")
	}
	f.privateKey("Client", &c.Client)
	f.client("Client", c.Client)
	f.trust(c)
	f.privateKey("IDP.Client", &c.IDP.Client)
	if c.Grant == IdentityAssertion {
		f.idp(c.IDP)
	}
	f.scopes("Scopes", c.Scopes)
	f.scopes("ScopeLimit", c.ScopeLimit)
	for name := range c.AuthorizationParams {
		if slices.Contains([]string{
			"client_id", "response_type", "redirect_uri", "state", "scope", "resource",
			"code_challenge", "code_challenge_method",
		}, name) {
			f.addf("AuthorizationParams", "may not set %q", name)
		}
	}
	if c.DPoPKey != nil {
		if !c.DPoP {
			f.addf("DPoPKey", "is set and DPoP is not")
		} else if _, err := algorithm(c.DPoPKey); err != nil {
			f.addf("DPoPKey", "%v", err)
		}
	}
	switch {
	case c.Timeout < 0:
		f.addf("Timeout", "= %v is negative", c.Timeout)
	case c.Timeout == 0:
		c.Timeout = 25 * time.Second
	}
	for i, p := range c.PrivateNetworks {
		if !p.IsValid() {
			f.addf(fmt.Sprintf("PrivateNetworks[%d]", i), "is not a valid prefix")
		}
	}
	if c.Registration.Name == "" {
		c.Registration.Name = "mcpool"
	}
	if c.Exchange.SubjectTokenType == "" {
		c.Exchange.SubjectTokenType = "urn:ietf:params:oauth:token-type:access_token"
	}
	if c.IDP.SubjectTokenType == "" {
		c.IDP.SubjectTokenType = oauthex.TokenTypeIDToken
	}
	f.store(c)
	c.Scopes, c.ScopeLimit = slices.Clone(c.Scopes), slices.Clone(c.ScopeLimit)
	c.Audiences, c.PrivateNetworks = slices.Clone(c.Audiences), slices.Clone(c.PrivateNetworks)
	return errors.Join(f...)
}
