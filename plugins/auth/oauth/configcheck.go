package oauth

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// How a client authenticates at a token endpoint (RFC 8414 and its registry).
const (
	methodNone       = "none"
	methodBasic      = "client_secret_basic"
	methodPost       = "client_secret_post"
	methodPrivateKey = "private_key_jwt"
)

// url accepts what secrets may be sent to: https, or http to loopback.
func (f *faults) url(field, raw string) {
	if raw == "" {
		return
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		f.addf(field, "does not parse as a URL") // the error would quote it
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		f.addf(field, "is not an absolute https URL")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		f.addf(field, "is http and not loopback: use https")
	case u.User != nil || u.Fragment != "":
		f.addf(field, "has a user or a fragment")
	}
}

func (f *faults) client(field string, c Client) {
	if c.AuthMethod != "" && !slices.Contains([]string{methodNone, methodBasic, methodPost, methodPrivateKey}, c.AuthMethod) {
		f.addf(field+".AuthMethod", "= %q is not known", c.AuthMethod)
	}
	if !c.Secret.IsEmpty() {
		if c.ID == "" {
			f.addf(field+".ID", "is empty and Secret is set")
		}
		if c.PrivateKey != nil {
			f.addf(field+".Secret", "and PrivateKey are both set: choose one")
		}
	}
	if c.PrivateKey != nil {
		if c.ID == "" && c.MetadataURL == "" {
			f.addf(field+".ID", "is empty and PrivateKey is set")
		}
		if _, err := algorithm(c.PrivateKey); err != nil {
			f.addf(field+".PrivateKey", "%v", err)
		}
	}
	switch c.AuthMethod {
	case methodBasic, methodPost:
		if c.Secret.IsEmpty() {
			f.addf(field+".Secret", "is empty and AuthMethod is %q", c.AuthMethod)
		}
	case methodPrivateKey:
		if c.PrivateKey == nil {
			f.addf(field+".PrivateKey", "is nil and AuthMethod is %q", c.AuthMethod)
		}
	}
	if c.MetadataURL != "" {
		u, err := url.Parse(c.MetadataURL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.Path == "" || u.Path == "/" || u.User != nil || u.Fragment != "" {
			f.addf(field+".MetadataURL", "is not an https URL with a path")
		}
	}
}

// privateKey reads PrivateKeyPEM into PrivateKey. Its faults do not show the text.
func (f *faults) privateKey(field string, c *Client) {
	if c.PrivateKeyPEM.IsEmpty() {
		return
	}
	if c.PrivateKey != nil {
		f.addf(field+".PrivateKeyPEM", "and PrivateKey are both set: choose one")
		return
	}
	block, rest := pem.Decode([]byte(c.PrivateKeyPEM.Reveal()))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		f.addf(field+".PrivateKeyPEM", "is not one PEM block")
		return
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		f.addf(field+".PrivateKeyPEM", "is not a private key without a password")
		return
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		f.addf(field+".PrivateKeyPEM", "holds no key that can sign")
		return
	}
	c.PrivateKey = signer
}

// store opens the token file, or makes do without one.
func (f *faults) store(c *Config) {
	switch {
	case c.TokenFile != "" && c.Store != nil:
		f.addf("TokenFile", "and Store are both set: choose one")
	case c.TokenFile != "":
		s, err := OpenFileStore(c.TokenFile)
		if err != nil {
			*f = append(*f, &auth.ConfigError{Field: "TokenFile", Problem: "cannot be used", Err: err})
			return
		}
		c.Store = s
	case c.Store == nil:
		c.Store = NewMemoryStore()
	}
}

// trust refuses to send what is worth stealing to whomever a target names.
func (f *faults) trust(c *Config) {
	if c.Issuer != "" || c.TokenEndpoint != "" || c.AnyIssuer {
		return
	}
	const where = "is empty, so that a target could name any server and be sent %s: set Issuer, or AnyIssuer"
	switch {
	case !c.Client.Secret.IsEmpty():
		f.addf("Issuer", where, "Client.Secret")
	case c.Grant == TokenExchange || c.Grant == JWTBearer:
		f.addf("Issuer", where, "the identity's Subject token")
	}
}

func (f *faults) idp(idp IDP) {
	if idp.Issuer == "" && idp.TokenEndpoint == "" {
		f.addf("IDP.Issuer", "and IDP.TokenEndpoint are empty: IdentityAssertion needs one")
	}
	f.url("IDP.Issuer", idp.Issuer)
	f.url("IDP.TokenEndpoint", idp.TokenEndpoint)
	f.client("IDP.Client", idp.Client)
	if idp.Client.ID == "" {
		f.addf("IDP.Client.ID", "is empty")
	}
}

// scopes follow RFC 6749, 3.3.
func (f *faults) scopes(field string, scopes []string) {
	for i, s := range scopes {
		if !isScope(s) {
			f.addf(fmt.Sprintf("%s[%d]", field, i), "is not a scope: no spaces, quotes or backslashes")
		}
	}
}

// redactURL is what errors show of a URL.
func redactURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "[unparsable URL]"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String()
}

// sameIssuer compares as RFC 8414 says, but for one trailing slash, which the world
// does not agree on.
func sameIssuer(a, b string) bool {
	return oauthex.MatchesResource([]string{a}, b)
}
