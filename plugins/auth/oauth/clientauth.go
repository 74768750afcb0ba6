package oauth

import (
	"crypto"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// client is who we are to one authorization server.
type client struct {
	id         string
	secret     auth.Secret
	method     string
	key        crypto.Signer
	keyID      string
	registered *registration // if it is of our own making
}

// configured chooses how a configured client authenticates, from what it has and
// what the server says it supports.
func (c Client) configured(supported []string) *client {
	out := &client{id: c.ID, secret: c.Secret, method: c.AuthMethod, key: c.PrivateKey, keyID: c.KeyID}
	switch {
	case out.method != "":
	case c.PrivateKey != nil:
		out.method = methodPrivateKey
	case c.Secret.IsEmpty():
		out.method = methodNone
	default:
		out.method = secretMethod(supported)
	}
	return out
}

// secretMethod prefers the method that OAuth 2.1 recommends where a server offers
// it; a server that says nothing means basic (RFC 8414, 2).
func secretMethod(supported []string) string {
	if slices.Contains(supported, methodPost) {
		return methodPost
	}
	return methodBasic
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionLifetime is short, because an assertion is used at once.
const assertionLifetime = time.Minute

// authenticate adds to params what the client's method needs there, and returns
// what x/oauth2 is to do besides. The audience is the issuer: an assertion for it
// is of no use to another server that was handed one (RFC 7523bis).
func (c *client) authenticate(params url.Values, audience string, now time.Time) (oauth2.AuthStyle, string, error) {
	switch c.method {
	case methodBasic:
		return oauth2.AuthStyleInHeader, c.secret.Reveal(), nil
	case methodPost:
		return oauth2.AuthStyleInParams, c.secret.Reveal(), nil
	case methodPrivateKey:
		header := map[string]any{"typ": "JWT"}
		if c.keyID != "" {
			header["kid"] = c.keyID
		}
		assertion, err := signJWT(c.key, header, map[string]any{
			"iss": c.id, "sub": c.id, "aud": audience, "jti": rand.Text(),
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
		})
		if err != nil {
			return 0, "", err
		}
		params.Set("client_assertion_type", assertionType)
		params.Set("client_assertion", assertion)
	case methodNone:
	default:
		return 0, "", fmt.Errorf("oauth: client %q authenticates by %q: %w", c.id, c.method, auth.ErrUnsupported)
	}
	return oauth2.AuthStyleInParams, "", nil
}
