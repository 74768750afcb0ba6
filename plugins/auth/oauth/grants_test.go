package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// proven is a request whose identity has a token to exchange.
func proven(id string) auth.Request {
	req := requestFor(id, fakeResource)
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { return auth.NewSecret(fakeSubject + id), nil }
	return req
}

func TestASubjectTokenIsExchangedForEachIdentity(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	cfg := as.machine()
	cfg.Grant, cfg.Exchange.Audience, cfg.Scopes = TokenExchange, "crm", []string{"read"}
	p := newTest(t, cfg)
	for _, id := range []string{"alice", "bob"} {
		credentials(t, p, proven(id))
		form := as.lastForm()
		for name, want := range map[string]string{
			"grant_type": oauthex.GrantTypeTokenExchange, "subject_token": fakeSubject + id, "audience": "crm", "scope": "read",
			"subject_token_type": "urn:ietf:params:oauth:token-type:access_token", "resource": fakeResource,
		} {
			if got := form.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", id, name, got, want)
			}
		}
	}
	_, err := p.Credentials(t.Context(), requestFor("carol", fakeResource))
	if !errors.Is(err, auth.ErrUnsupported) || !strings.Contains(err.Error(), "Subject") {
		t.Errorf("without a Subject: %v", err)
	}
	gone := errors.New("the session is over")
	req := requestFor("carol", fakeResource)
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { return auth.Secret{}, gone }
	if _, err := p.Credentials(t.Context(), req); !errors.Is(err, gone) {
		t.Errorf("with a Subject that fails: %v", err)
	}
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { return auth.Secret{}, nil }
	if _, err := p.Credentials(t.Context(), req); !errors.Is(err, auth.ErrInteractionRequired) {
		t.Errorf("with a Subject that has nothing: %v", err)
	}
}

func TestAnIdentityAssertionIsForOneServerAndOneResource(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	idp := url.Values{}
	issued := oauthex.TokenTypeIDJAG
	as.handlers["idp.example/.well-known/openid-configuration"] = document(map[string]any{
		"issuer": "https://idp.example", "token_endpoint": "https://idp.example/token",
	})
	as.handlers["idp.example/token"] = func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		idp = r.PostForm
		writeJSON(w, map[string]any{"access_token": "the-assertion-0123456789", "issued_token_type": issued, "token_type": "N_A", "expires_in": 300})
	}
	cfg := as.machine()
	cfg.Grant = IdentityAssertion
	cfg.IDP = IDP{Issuer: "https://idp.example", Client: Client{ID: "at-idp", Secret: auth.NewSecret("idp-secret-0123456789"), AuthMethod: methodPost}}
	cfg.Scopes = []string{"read"}
	p := newTest(t, cfg)
	credentials(t, p, proven("alice"))
	for name, want := range map[string]string{
		"grant_type": oauthex.GrantTypeTokenExchange, "requested_token_type": oauthex.TokenTypeIDJAG, "audience": asIssuer,
		"resource": fakeResource, "subject_token": fakeSubject + "alice", "subject_token_type": oauthex.TokenTypeIDToken,
		"client_id": "at-idp", "client_secret": "idp-secret-0123456789", "scope": "read",
	} {
		if got := idp.Get(name); got != want {
			t.Errorf("at the identity provider: %s = %q, want %q", name, got, want)
		}
	}
	form := as.lastForm()
	if form.Get("grant_type") != grantJWTBearer || form.Get("assertion") != "the-assertion-0123456789" || form.Has("subject_token") {
		t.Errorf("at the target's server: %v", form)
	}
	issued = "urn:ietf:params:oauth:token-type:access_token"
	before := as.tokenRequests()
	_, err := p.Credentials(t.Context(), proven("bob"))
	if err == nil || as.tokenRequests() != before {
		t.Errorf("a token of another type was handed on: %v", err)
	}
	mustNotLeak(t, "the error", err, "the-assertion")
}

func TestAWorkloadsAssertionIsHandedInOnceAsItIs(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	cfg := as.machine()
	cfg.Grant, cfg.Client, cfg.Scopes = JWTBearer, Client{ID: "workload"}, []string{"read"}
	p := newTest(t, cfg)
	credentials(t, p, proven("alice"))
	form := as.lastForm()
	for name, want := range map[string]string{
		"grant_type": grantJWTBearer, "assertion": fakeSubject + "alice", "resource": fakeResource,
		"scope": "read", "client_id": "workload",
	} {
		if got := form.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if _, err := p.Credentials(t.Context(), requestFor("carol", fakeResource)); !errors.Is(err, auth.ErrUnsupported) {
		t.Errorf("without a Subject: %v", err)
	}
	refused := 0
	as.handlers["as.example/token"] = func(w http.ResponseWriter, _ *http.Request) {
		refused++
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"%sbob has expired"}`, fakeSubject)
	}
	_, err := p.Credentials(t.Context(), proven("bob"))
	if !errors.Is(err, auth.ErrCredentialsRejected) || refused != 1 {
		t.Errorf("refused: %v after %d requests", err, refused)
	}
	mustNotLeak(t, "the error", err, fakeSubject)
}

func TestPrivateKeysOfEveryKindSignWhatTheirPublicKeysVerify(t *testing.T) {
	t.Parallel()
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	for _, tt := range []struct {
		alg  string
		test func(input, sig []byte) bool
		sign func(map[string]any, map[string]any) (string, error)
	}{
		{"ES256", func(in, sig []byte) bool { return verifyEC(&p256.PublicKey, in, sig) }, func(h, c map[string]any) (string, error) { return signJWT(p256, h, c) }},
		{"ES384", func(in, sig []byte) bool { return verifyEC(&p384.PublicKey, in, sig) }, func(h, c map[string]any) (string, error) { return signJWT(p384, h, c) }},
		{"EdDSA", func(in, sig []byte) bool { return ed25519.Verify(ed.Public().(ed25519.PublicKey), in, sig) }, func(h, c map[string]any) (string, error) { return signJWT(ed, h, c) }},
		{"RS256", func(in, sig []byte) bool { return verifyRSA(&rs.PublicKey, in, sig) }, func(h, c map[string]any) (string, error) { return signJWT(rs, h, c) }},
	} {
		for range 20 { // ECDSA signatures differ in length
			jwt, err := tt.sign(map[string]any{"typ": "JWT"}, map[string]any{"iss": "x"})
			if err != nil {
				t.Fatalf("%s: %v", tt.alg, err)
			}
			dot := strings.LastIndexByte(jwt, '.')
			sig, err := base64.RawURLEncoding.DecodeString(jwt[dot+1:])
			if err != nil || !tt.test([]byte(jwt[:dot]), sig) {
				t.Fatalf("%s: the signature is wrong (%v)", tt.alg, err)
			}
		}
	}
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if _, err := algorithm(p521); err == nil {
		t.Error("P-521 was accepted")
	}
	// RFC 7638, 3.1.
	got, err := thumbprint(map[string]string{"kty": "RSA", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})
	if err != nil || got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("thumbprint %q, %v", got, err)
	}
}

func TestAClockThatIsOffByAnHourIsCorrectedByTheServers(t *testing.T) {
	t.Parallel()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			as := newFakeAS()
			now := func() time.Time { return time.Now().Add(off) } // what the server thinks
			as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
				w.Header().Set("Date", now().UTC().Format(http.TimeFormat))
				var claims struct{ Iat, Exp int64 }
				decodePart(strings.Split(form.Get("client_assertion"), ".")[1], &claims)
				if claims.Exp < now().Unix() || claims.Iat > now().Unix()+5 {
					oauthError(w, 401, "invalid_client", "assertion expired or not yet valid")
					return
				}
				as.issue(w, form)
			}
			cfg := as.machine()
			cfg.Client = Client{ID: "machine", PrivateKey: key}
			p := newTest(t, cfg)
			credentials(t, p, requestFor("", fakeResource))
			credentials(t, p, requestFor("other", fakeResource))
			if n := as.tokenRequests(); n != 3 {
				t.Errorf("off by %v: %d token requests, want one more than tokens", off, n)
			}
		})
	}
}

func TestAMachineThatSleptOrWhoseClockWasSetBackGetsNewTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		cfg := as.machine()
		cfg.Store = NewMemoryStore()
		p := newTest(t, cfg)
		req := requestFor("", fakeResource)
		first := credentials(t, p, req)
		time.Sleep(time.Hour)
		second := credentials(t, p, req)
		if second.Generation == first.Generation || second.Expired(time.Now()) {
			t.Error("after an hour the old token was handed out")
		}
		// As seen after the clock was set back by an hour: obtained in the future, so
		// that nobody knows when it expires.
		key := Key{Issuer: asIssuer, Client: "machine", Resource: fakeResource, Grant: "client_credentials"}
		seed(t, cfg.Store, key, record{
			Access: "access-token-future", Generation: "future",
			Obtained: time.Now().Add(time.Hour), Expires: time.Now().Add(2 * time.Hour),
		})
		if got := credentials(t, p, req); got.Generation == "future" {
			t.Error("a token from the future was handed out")
		}
	})
}

func TestADPoPProofFollowsTheTargetsClockAndNonce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
			writeJSON(w, map[string]any{"access_token": "access-token-1", "token_type": "DPoP", "expires_in": 3600})
		}
		cfg := as.machine()
		cfg.DPoP = true
		p := newTest(t, cfg)
		signer, ok := auth.AsSigner(p)
		if !ok {
			t.Fatal("no signer")
		}
		req := requestFor("", fakeResource)
		c := credentials(t, p, req)
		hr := auth.HTTPRequest{Method: "POST", URL: fakeResource + "?a=b#c", Header: c.Header}
		sent := hr // with the last proof
		claims := func() (out struct {
			Iat             int64
			Htu, Htm, Nonce string
		}) {
			t.Helper()
			sig, err := signer.Sign(t.Context(), req, hr)
			if err != nil {
				t.Fatal(err)
			}
			if err := auth.CheckHeader(sig.Header); err != nil {
				t.Fatal(err)
			}
			decodePart(strings.Split(sig.Header.Get("DPoP"), ".")[1], &out)
			sent.Header = sig.Header
			return out
		}
		if got := claims(); got.Iat != time.Now().Unix() || got.Htu != fakeResource || got.Htm != "POST" || got.Nonce != "" {
			t.Errorf("claims %+v", got)
		}
		refuse := func(code, nonce string) auth.Outcome {
			h := http.Header{"Www-Authenticate": {`DPoP error="` + code + `"`}, "Date": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}
			if nonce != "" {
				h.Set("DPoP-Nonce", nonce)
			}
			o, err := p.Challenge(t.Context(), req, auth.Challenge{Sent: sent, SentAt: time.Now(), Generation: c.Generation, Status: 401, Header: h})
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		if got := refuse("use_dpop_nonce", "n1"); got != auth.Retry {
			t.Errorf("for a nonce: %v", got)
		}
		if got := refuse("use_dpop_nonce", "n1"); got != auth.Retry {
			t.Errorf("for a nonce that another request has learned meanwhile: %v", got)
		}
		claims()
		if got := refuse("use_dpop_nonce", "n1"); got != auth.GiveUp {
			t.Errorf("for the nonce that was sent: %v", got)
		}
		if got := refuse("invalid_dpop_proof", ""); got != auth.Retry {
			t.Errorf("for a clock: %v", got)
		}
		if got := claims(); got.Nonce != "n1" || got.Iat != time.Now().Add(time.Hour).Unix() {
			t.Errorf("claims %+v", got)
		}
		if credentials(t, p, req).Generation != c.Generation {
			t.Error("the token was dropped for want of a nonce")
		}
		sig, err := signer.Sign(t.Context(), req, auth.HTTPRequest{Header: http.Header{"Authorization": {"Bearer x"}}})
		if err != nil || len(sig.Header) > 0 {
			t.Errorf("a bearer token was proven: %v, %v", sig, err)
		}
	})
}

func TestClientAssertionsAreForTheIssuerAndNobodyElse(t *testing.T) {
	t.Parallel()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	as := newFakeAS()
	cfg := as.machine()
	cfg.Client = Client{ID: "machine", PrivateKey: key, KeyID: "k1"}
	p := newTest(t, cfg)
	credentials(t, p, requestFor("", fakeResource))
	form := as.lastForm()
	parts := strings.Split(form.Get("client_assertion"), ".")
	var header, claims map[string]any
	decodePart(parts[0], &header)
	decodePart(parts[1], &claims)
	if form.Get("client_assertion_type") != assertionType || form.Has("client_secret") || header["kid"] != "k1" || header["alg"] != "ES256" ||
		claims["aud"] != asIssuer || claims["iss"] != "machine" || claims["sub"] != "machine" || claims["jti"] == "" {
		t.Errorf("assertion %v %v", header, claims)
	}
	if life := claims["exp"].(float64) - claims["iat"].(float64); life != 60 {
		t.Errorf("lifetime %v s", life)
	}
}

func TestATokenEndpointAloneIsEnough(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	cfg := as.machine()
	cfg.Issuer, cfg.TokenEndpoint = "", asIssuer+"/token"
	p := newTest(t, cfg)
	credentials(t, p, requestFor("", fakeResource))
	if n := as.requests("as.example/.well-known/oauth-authorization-server"); n != 0 {
		t.Errorf("the metadata were asked for %d times", n)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	id, secret, ok := (&http.Request{Header: as.headers[0]}).BasicAuth()
	if !ok || id != "machine" || secret != url.QueryEscape(fakeSecret) {
		t.Errorf("authenticated as %q", id)
	}
}

func TestMetadataAreReadAgainNowAndThenAndKeptWhileThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const place = "as.example/.well-known/oauth-authorization-server"
		as := newFakeAS()
		p := newTest(t, as.machine())
		for i := range 5 {
			credentials(t, p, requestFor(fmt.Sprint(i), fakeResource))
		}
		if n := as.requests(place); n != 1 {
			t.Errorf("read %d times", n)
		}
		as.handlers[place] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
		time.Sleep(2 * time.Hour)
		credentials(t, p, requestFor("later", fakeResource))
		if n := as.requests(place); n != 2 {
			t.Errorf("read %d times", n)
		}
	})
}
