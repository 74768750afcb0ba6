package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

var (
	_ auth.Signer   = (*dpop)(nil)
	_ auth.Observer = (*dpop)(nil)
)

// dpop proves possession of a key with every request (RFC 9449). One key serves all
// identities of a store: it is the application's, like its client ID.
type dpop struct {
	// Immutable after creation.
	store  TokenStore
	clocks *clocks

	mu     sync.Mutex
	key    crypto.Signer     // guarded by mu; nil until the store was asked
	jwk    map[string]string // guarded by mu
	nonces map[string]string // guarded by mu; by origin
}

// maxNonce bounds what a server can make us send back.
const maxNonce = 4 << 10

// Sign adds a proof to a request that carries a DPoP token, and nothing to others.
func (d *dpop) Sign(ctx context.Context, _ auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	access, ok := dpopToken(hr.Header.Get("Authorization"))
	if !ok {
		return auth.Signature{}, nil
	}
	h := make(http.Header, 1)
	if err := d.prove(ctx, h, proofFor{method: hr.Method, url: hr.URL, access: access}); err != nil {
		return auth.Signature{}, err
	}
	return auth.Signature{Header: h}, nil
}

func dpopToken(authorization string) (string, bool) {
	scheme, access, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "DPoP") {
		return "", false
	}
	return access, true
}

// ObservedHeaders implements auth.Observer.
func (d *dpop) ObservedHeaders() []string { return []string{"DPoP-Nonce"} }

// Observe learns the nonce for the next request, which a server may send with any
// answer (RFC 9449, 8.2).
func (d *dpop) Observe(_ auth.Request, o auth.Observation) {
	d.learn(o.URL, o.Header.Get("DPoP-Nonce"))
}

// proofFor says what a proof is about.
type proofFor struct {
	method, url string
	access      string // the token that goes with it; empty at a token endpoint
}

// prove sets the header DPoP (RFC 9449, 4.2).
func (d *dpop) prove(ctx context.Context, h http.Header, about proofFor) error {
	key, jwk, err := d.proofKey(ctx)
	if err != nil {
		return err
	}
	claims := map[string]any{
		"jti": rand.Text(), "htm": about.method, "htu": proofURL(about.url), "iat": d.clocks.at(about.url).Unix(),
	}
	if about.access != "" {
		sum := sha256.Sum256([]byte(about.access))
		claims["ath"] = b64(sum[:])
	}
	if nonce := d.nonce(about.url); nonce != "" {
		claims["nonce"] = nonce
	}
	proof, err := signJWT(key, map[string]any{"typ": "dpop+jwt", "jwk": jwk}, claims)
	if err != nil {
		return err
	}
	h.Set("DPoP", proof)
	return nil
}

// proofURL is the URL without query and fragment, its escapes as they are on the wire.
func proofURL(raw string) string {
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")
	if _, rest, ok := strings.Cut(raw, "://"); ok && !strings.Contains(rest, "/") {
		raw += "/"
	}
	return raw
}

func (d *dpop) nonce(rawURL string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nonces[originOf(rawURL)]
}

// learn keeps the nonce that a server wants to see from now on.
func (d *dpop) learn(rawURL, nonce string) {
	origin := originOf(rawURL)
	if nonce == "" || len(nonce) > maxNonce || origin == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nonces == nil {
		d.nonces = make(map[string]string)
	}
	d.nonces[origin] = nonce
}

// proofNonce is the nonce in a proof of ours, empty if there is none.
func proofNonce(proof string) string {
	_, rest, _ := strings.Cut(proof, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		Nonce string `json:"nonce"`
	}
	_ = json.Unmarshal(data, &claims) // what is not JSON has no nonce
	return claims.Nonce
}

// proofKey returns the key, the first time from the store, where it is made if
// nobody has made it yet: refresh tokens are bound to it (RFC 9449, 5).
func (d *dpop) proofKey(ctx context.Context) (crypto.Signer, map[string]string, error) {
	d.mu.Lock()
	key, jwk := d.key, d.jwk
	d.mu.Unlock()
	if jwk != nil {
		return key, jwk, nil
	}
	if key == nil {
		var err error
		if key, err = d.storedKey(ctx); err != nil {
			return nil, nil, err
		}
	}
	jwk, err := publicJWK(key.Public())
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.key, d.jwk = key, jwk
	return key, jwk, nil
}

type storedKey struct {
	PKCS8 string `json:"pkcs8"`
}

func (d *dpop) storedKey(ctx context.Context) (crypto.Signer, error) {
	var key crypto.Signer
	err := d.store.Update(ctx, Key{Client: clientDPoP}, func(old Entry) (Entry, error) {
		stored, err := decode[storedKey](old)
		if err != nil {
			return Entry{}, err
		}
		if stored.PKCS8 != "" {
			key, err = parseKey(stored.PKCS8)
			return old, err
		}
		made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return Entry{}, fmt.Errorf("oauth: DPoP key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(made)
		if err != nil {
			return Entry{}, fmt.Errorf("oauth: DPoP key: %w", err)
		}
		key = made
		return encode(storedKey{PKCS8: base64.StdEncoding.EncodeToString(der)}, time.Time{})
	})
	return key, err
}

func parseKey(pkcs8 string) (crypto.Signer, error) {
	unreadable := errors.New("oauth: the DPoP key in the token store is not readable")
	der, err := base64.StdEncoding.DecodeString(pkcs8)
	if err != nil {
		return nil, unreadable
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, unreadable
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, unreadable
	}
	return key, nil
}
