package oauth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

// resourceServer is a target: it refuses what has no token of its own, and says
// where to get one.
type resourceServer struct {
	*httptest.Server
	oidc *oidcServer
	// url is the endpoint and the resource.
	url string

	// Immutable once requests come.
	scopes   []string // in the metadata
	dpopOnly bool

	refused, served atomic.Int64

	mu    sync.Mutex
	jtis  map[string]bool // guarded by mu
	nonce string          // guarded by mu once requests come; wanted in DPoP proofs; empty for none
	spend bool            // guarded by mu once requests come; a nonce is good for one answer, which brings the next
	needs string          // guarded by mu; a scope without which there is a 403
}

func newResourceServer(t *testing.T, s *oidcServer, query string) *resourceServer {
	rs := &resourceServer{oidc: s, jtis: make(map[string]bool), scopes: []string{"mcp:read"}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]any{"resource": rs.url, "authorization_servers": []string{s.issuer}, "scopes_supported": rs.scopes})
	})
	mux.HandleFunc("/mcp", rs.serve)
	rs.Server = httptest.NewServer(mux)
	t.Cleanup(rs.Close)
	rs.url = rs.URL + "/mcp" + query
	return rs
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // a test that sends nonsense fails
}

func (rs *resourceServer) serve(w http.ResponseWriter, r *http.Request) {
	about, err := rs.check(r)
	if err != nil {
		rs.refused.Add(1)
		params := fmt.Sprintf(`resource_metadata="%s/.well-known/oauth-protected-resource/mcp"`, rs.URL)
		scheme := "Bearer"
		if rs.dpopOnly {
			scheme = "DPoP"
		}
		if code := err.Error(); strings.Contains(code, "dpop") {
			params += fmt.Sprintf(`, error="%s"`, code)
			rs.mu.Lock()
			w.Header().Set("DPoP-Nonce", rs.nonce)
			rs.mu.Unlock()
		}
		w.Header().Set("WWW-Authenticate", scheme+" "+params)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	scope, _ := about["scope"].(string)
	rs.mu.Lock()
	needs := rs.needs
	rs.mu.Unlock()
	if needs != "" && !slices.Contains(strings.Fields(scope), needs) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope="%s"`, needs))
		w.WriteHeader(http.StatusForbidden)
		return
	}
	n := rs.served.Add(1)
	rs.mu.Lock()
	if rs.spend {
		rs.nonce = fmt.Sprintf("nonce-%d", n)
		w.Header().Set("DPoP-Nonce", rs.nonce)
	}
	rs.mu.Unlock()
	writeJSON(w, about)
}

func (rs *resourceServer) need(scope string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.needs = scope
}

func (rs *resourceServer) check(r *http.Request) (map[string]any, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token == "" {
		return nil, errors.New("no token")
	}
	about, err := rs.oidc.introspect(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if about["active"] != true || about["aud"] != rs.url {
		return nil, errNotActive
	}
	cnf, _ := about["cnf"].(map[string]any)
	if (scheme == "DPoP") != (cnf["jkt"] != nil) || rs.dpopOnly && scheme != "DPoP" {
		return nil, errors.New("invalid_dpop_proof")
	}
	if scheme == "DPoP" {
		return about, rs.checkProof(r, token, cnf["jkt"])
	}
	return about, nil
}

// checkProof is RFC 9449, 4.3, independent of the code under test.
func (rs *resourceServer) checkProof(r *http.Request, token string, jkt any) error {
	invalid := errors.New("invalid_dpop_proof")
	parts := strings.Split(r.Header.Get("DPoP"), ".")
	if len(parts) != 3 || len(r.Header.Values("DPoP")) != 1 {
		return invalid
	}
	var header struct {
		Typ string `json:"typ"`
		Alg string `json:"alg"`
		JWK struct {
			Kty string `json:"kty"`
			Crv string `json:"crv"`
			X   string `json:"x"`
			Y   string `json:"y"`
		} `json:"jwk"`
	}
	var claims struct {
		JTI   string `json:"jti"`
		HTM   string `json:"htm"`
		HTU   string `json:"htu"`
		ATH   string `json:"ath"`
		Nonce string `json:"nonce"`
		IAT   int64  `json:"iat"`
	}
	decode := func(s string) []byte { b, _ := base64.RawURLEncoding.DecodeString(s); return b }
	if json.Unmarshal(decode(parts[0]), &header) != nil || json.Unmarshal(decode(parts[1]), &claims) != nil {
		return invalid
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, decode(header.JWK.X), decode(header.JWK.Y)))
	if err != nil || !verifyEC(pub, []byte(parts[0]+"."+parts[1]), decode(parts[2])) {
		return invalid
	}
	key := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, header.JWK.Crv, header.JWK.Kty, header.JWK.X, header.JWK.Y))
	ath := sha256.Sum256([]byte(token))
	rs.mu.Lock()
	replayed := rs.jtis[claims.JTI]
	rs.jtis[claims.JTI] = true
	nonce := rs.nonce
	rs.mu.Unlock()
	switch {
	case header.Typ != "dpop+jwt", header.Alg != "ES256", replayed,
		base64.RawURLEncoding.EncodeToString(key[:]) != jkt,
		base64.RawURLEncoding.EncodeToString(ath[:]) != claims.ATH,
		claims.HTM != r.Method, claims.HTU != rs.URL+r.URL.EscapedPath(), claims.IAT == 0:
		return invalid
	case claims.Nonce != nonce:
		return errors.New("use_dpop_nonce")
	}
	return nil
}

// caller sends requests to a target with a provider's credentials.
type caller struct {
	t      *testing.T
	client *http.Client
	url    string
}

func newCaller(t *testing.T, p auth.Provider, req auth.Request) *caller {
	t.Helper()
	transport, err := authhttp.New(authhttp.Config{
		Base: testClient.Transport, Provider: p, Request: req,
		Refused: func(resp *http.Response, outcome auth.Outcome, err error) (*http.Response, error) {
			resp.Body.Close()
			return nil, &refusedError{status: resp.StatusCode, outcome: outcome, err: err}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &caller{t: t, client: &http.Client{Transport: transport}, url: req.Target.URL}
}

type refusedError struct {
	status  int
	outcome auth.Outcome
	err     error
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d, %v, %v", e.status, e.outcome, e.err) }
func (e *refusedError) Unwrap() error { return e.err }

// post sends a request and returns what the target says of its token.
func (c *caller) post(ctx context.Context) (map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader([]byte(`{"jsonrpc":"2.0"}`)))
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var about map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&about); err != nil {
		return nil, err
	}
	return about, nil
}

func (c *caller) mustPost() map[string]any {
	c.t.Helper()
	about, err := c.post(c.t.Context())
	if err != nil {
		c.t.Fatalf("calling the target: %v", err)
	}
	return about
}

// outcome returns what became of a refused request.
func (c *caller) outcome() auth.Outcome {
	c.t.Helper()
	_, err := c.post(c.t.Context())
	re, ok := errors.AsType[*refusedError](err)
	if !ok {
		c.t.Fatalf("got %v, want a refusal", err)
	}
	return re.outcome
}

func formBody(values url.Values) (io.ReadCloser, int64) {
	form := values.Encode()
	return io.NopCloser(strings.NewReader(form)), int64(len(form))
}
