package oauth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// noncing is a target of its own that knows nobody's server and wants a nonce.
type noncing struct {
	*httptest.Server
	requests, tokens, wanted, served atomic.Int64

	mu    sync.Mutex
	nonce string // guarded by mu
}

func newNoncing(t *testing.T) *noncing {
	t.Helper()
	n := &noncing{nonce: "nonce-0"}
	mux := http.NewServeMux()
	n.Server = httptest.NewServer(mux)
	t.Cleanup(n.Close)
	mux.HandleFunc("/.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"resource": n.URL + "/mcp", "authorization_servers": []string{n.URL}})
	})
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"issuer": n.URL, "token_endpoint": n.URL + "/token"})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		n.tokens.Add(1)
		writeJSON(w, map[string]any{"access_token": "access-token-1", "token_type": "DPoP", "expires_in": 3600})
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		n.requests.Add(1)
		if r.Header.Get("Authorization") != "DPoP access-token-1" {
			w.Header().Set("WWW-Authenticate", `DPoP resource_metadata="`+n.URL+`/.well-known/oauth-protected-resource/mcp"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		n.mu.Lock()
		want := n.nonce
		n.mu.Unlock()
		if proofNonce(r.Header.Get("DPoP")) != want {
			n.wanted.Add(1)
			w.Header().Set("DPoP-Nonce", want)
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		n.served.Add(1)
		writeJSON(w, map[string]any{})
	})
	return n
}

func (n *noncing) rotate(nonce string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nonce = nonce
}

// Two refusals lie between a provider that knows nothing and its first answer.
func TestTheFirstRequestToAnUnknownServerThatWantsANonceIsAnswered(t *testing.T) {
	t.Parallel()
	n := newNoncing(t)
	p := newTest(t, Config{
		Grant: ClientCredentials, AnyIssuer: true, DPoP: true,
		Client: Client{ID: "machine", Secret: auth.NewSecret(fakeSecret)},
	})
	c := newCaller(t, newTestCache(t, p, auth.CacheConfig{}), requestFor("", n.URL+"/mcp"))
	c.mustPost()
	if got := n.requests.Load(); got != 3 {
		t.Errorf("%d requests, want 3: without a token, without a nonce, with both", got)
	}
	c.mustPost()
	if got := n.requests.Load(); got != 4 {
		t.Errorf("the second call took %d requests, want 1", got-3)
	}
}

// A nonce says nothing about the token: neither is it fetched again, nor does the
// cache take the refusals for those of a target that refuses everything.
func TestANonceThatChangesUnderLoadFailsNobodyConcurrentSafe(t *testing.T) {
	t.Parallel()
	n := newNoncing(t)
	p := newTest(t, Config{
		Grant: ClientCredentials, AnyIssuer: true, DPoP: true,
		Client: Client{ID: "machine", Secret: auth.NewSecret(fakeSecret)},
	})
	cache := newTestCache(t, p, auth.CacheConfig{})
	c := newCaller(t, cache, requestFor("", n.URL+"/mcp"))
	c.mustPost()
	for nonce := range strings.FieldsSeq("one two three four five") {
		n.rotate(nonce)
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if _, err := c.post(t.Context()); err != nil {
					t.Errorf("nonce %s: %v", nonce, err)
				}
			})
		}
		wg.Wait()
	}
	if n.tokens.Load() != 1 || n.wanted.Load() < 6 || n.served.Load() != 161 {
		t.Errorf("%d tokens, %d wanted a nonce, %d served", n.tokens.Load(), n.wanted.Load(), n.served.Load())
	}
}

// RFC 9449, 8.2: the next nonce comes with an answer that refuses nothing.
func TestANonceThatComesWithAnAnswerIsInTheNextProof(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	rs := newResourceServer(t, s, "")
	rs.dpopOnly, rs.spend, rs.nonce = true, true, "the-first"
	p := newTest(t, Config{
		Grant: ClientCredentials, Issuer: s.issuer, DPoP: true,
		Client: Client{ID: "cc-basic", Secret: auth.NewSecret(oidcSecret), AuthMethod: methodBasic},
	})
	for name, provider := range map[string]auth.Provider{"alone": p, "behind a cache": newTestCache(t, p, auth.CacheConfig{})} {
		c := newCaller(t, provider, requestFor("", rs.url))
		c.mustPost()
		refused := rs.refused.Load()
		for range 5 {
			c.mustPost()
		}
		if got := rs.refused.Load() - refused; got != 0 {
			t.Errorf("%s: %d of 5 requests were first sent with a spent nonce", name, got)
		}
	}
	if rs.refused.Load() == 0 {
		t.Error("the server wanted no nonce")
	}
}

func TestProofNonceReadsWhateverItIsGiven(t *testing.T) {
	t.Parallel()
	for proof, want := range map[string]string{
		"": "", "a.b.c": "", "a": "", "..": "", "a.!!.c": "",
		"x." + b64([]byte(`{"nonce":"n"}`)) + ".y": "n", "x." + b64([]byte(`{"nonce":7}`)) + ".y": "",
	} {
		if got := proofNonce(proof); got != want {
			t.Errorf("proofNonce(%q) = %q, want %q", proof, got, want)
		}
	}
}
