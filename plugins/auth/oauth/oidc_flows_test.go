package oauth

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestEachResourceHasATokenOfItsOwn(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	p := newTest(t, Config{Grant: ClientCredentials, Issuer: s.issuer, Client: Client{ID: "cc-jwt", PrivateKey: s.key, KeyID: "key-1"}})
	for _, resource := range []string{"https://a.example/mcp", "https://b.example/mcp"} {
		about, err := s.introspect(t.Context(), bearer(t, credentials(t, p, requestFor("", resource))))
		if err != nil {
			t.Fatal(err)
		}
		if about["aud"] != resource {
			t.Errorf("the token for %s is for %v", resource, about["aud"])
		}
	}
	_, err := p.Credentials(t.Context(), requestFor("", "https://a.example/foreign"))
	e, ok := errors.AsType[*EndpointError](err)
	if !ok || e.Code != "invalid_target" || !errors.Is(err, auth.ErrCredentialsRejected) {
		t.Errorf("for a resource that the server does not know: %v", err)
	}
}

func TestJWTAccessTokensOfACertifiedServerPassTheAudienceCheck(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	p := newTest(t, Config{Grant: ClientCredentials, Issuer: s.issuer, Client: Client{ID: "cc-jwt", PrivateKey: s.key}})
	token := bearer(t, credentials(t, p, requestFor("", resourceURL+"?jwt")))
	if audiences, ok := tokenAudiences(token); !ok || len(audiences) != 1 || audiences[0] != resourceURL+"?jwt" {
		t.Errorf("audiences %q, %v", audiences, ok)
	}
}

func TestAReusedRefreshTokenIsDetectedAndALoginIsAskedFor(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	rs := newResourceServer(t, s, "?ttl=2")
	store := NewMemoryStore()
	p := newTest(t, Config{Client: Client{ID: "app"}, Store: store})
	req := requestFor("mallory's victim", rs.url)
	if err := p.Login(t.Context(), req, newPerson("victim").dialog(t)); err != nil {
		t.Fatal(err)
	}
	key := Key{Issuer: s.issuer, Client: "app", Resource: rs.url, Identity: "mallory's victim", Grant: "login"}
	rec, err := p.load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	// A thief refreshes first; the server then sees the token a second time, from us.
	if _, err := s.post(t.Context(), "/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {rec.Refresh}, "client_id": {"app"}, "resource": {rs.url},
	}); err != nil {
		t.Fatal(err)
	}
	var failed error
	waitFor(t, func() bool {
		_, failed = p.Credentials(t.Context(), req)
		return failed != nil
	})
	if !errors.Is(failed, auth.ErrInteractionRequired) {
		t.Fatalf("after the theft: %v, want ErrInteractionRequired", failed)
	}
	mustNotLeak(t, "the error", failed, rec.Refresh, rec.Access)
	if err := p.Login(t.Context(), req, newPerson("victim").dialog(t)); err != nil {
		t.Fatal(err)
	}
	newCaller(t, p, req).mustPost()
}

func TestAnUnknownClientRegistersItselfAndKeepsItsRegistration(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	rs := newResourceServer(t, s, "?ttl=3")
	path := filepath.Join(t.TempDir(), "tokens.json")
	open := func() *Provider {
		store, err := OpenFileStore(path)
		if err != nil {
			t.Fatal(err)
		}
		return newTest(t, Config{Store: store})
	}
	req := requestFor("alice", rs.url)
	p := open()
	if err := p.Login(t.Context(), req, newPerson("alice").dialog(t)); err != nil {
		t.Fatal(err)
	}
	first := newCaller(t, p, req).mustPost()

	// Another process, later, for another person: same server, other redirect port.
	other := open()
	bob := requestFor("bob", rs.url)
	if err := other.Login(t.Context(), bob, newPerson("bob").dialog(t)); err != nil {
		t.Fatal(err)
	}
	if about := newCaller(t, other, bob).mustPost(); about["sub"] != "bob" {
		t.Errorf("bob is %v", about["sub"])
	}
	// Alice's refresh token belongs to the client that obtained it.
	before := credentials(t, other, withServer(t, other, req))
	waitFor(t, func() bool { return credentials(t, other, req).Generation != before.Generation })
	if about := newCaller(t, other, req).mustPost(); about["sub"] != "alice" || about["client_id"] != first["client_id"] {
		t.Errorf("alice was %v, and is %v", first, about)
	}
}

func TestACertifiedServerKnowsAClientByItsMetadataDocument(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	rs := newResourceServer(t, s, "?ttl=3")
	p := newTest(t, Config{Client: Client{MetadataURL: oidcDocument}})
	req := requestFor("alice", rs.url)
	if err := p.Login(t.Context(), req, newPerson("alice").dialog(t)); err != nil {
		t.Fatal(err)
	}
	if about := newCaller(t, p, req).mustPost(); about["sub"] != "alice" || about["client_id"] != oidcDocument {
		t.Errorf("got %v", about)
	}
	before := credentials(t, p, req) // and so does it when it refreshes
	waitFor(t, func() bool { return credentials(t, p, req).Generation != before.Generation })
}

func TestACertifiedServerExchangesTheTokenOfEachPerson(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	front, back := newResourceServer(t, s, ""), newResourceServer(t, s, "?ttl=3")
	login := newTest(t, Config{Client: Client{ID: "app"}})
	p := newTest(t, Config{
		Grant: TokenExchange, Issuer: s.issuer, Scopes: []string{"mcp:read"},
		Client: Client{ID: "exchanger", Secret: auth.NewSecret(oidcSecret)},
	})
	for _, name := range []string{"alice", "bob"} {
		at := requestFor(name, front.url)
		if err := login.Login(t.Context(), at, newPerson(name).dialog(t)); err != nil {
			t.Fatal(err)
		}
		req := requestFor(name, back.url)
		req.Identity.Subject = func(context.Context) (auth.Secret, error) {
			return auth.NewSecret(bearer(t, credentials(t, login, at))), nil
		}
		if about := newCaller(t, p, req).mustPost(); about["sub"] != name || about["client_id"] != "exchanger" || about["aud"] != back.url {
			t.Errorf("%s: %v", name, about)
		}
	}
	nobody := requestFor("mallory", back.url)
	nobody.Identity.Subject = func(context.Context) (auth.Secret, error) { return auth.NewSecret("made-up-0123456789"), nil }
	_, err := p.Credentials(t.Context(), nobody)
	if _, ok := errors.AsType[*EndpointError](err); !ok {
		t.Errorf("with a made-up token: %v", err)
	}
	mustNotLeak(t, "the error", err, "made-up-0123456789")
}

// withServer has the provider discover the request's server by a call.
func withServer(t *testing.T, p *Provider, req auth.Request) auth.Request {
	t.Helper()
	newCaller(t, p, req).mustPost()
	return req
}

func TestADeviceCodeServesWhereNoBrowserCanComeBack(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	for _, tt := range []struct {
		name   string
		grant  Grant
		client string
		dialog func(*LoopbackDialog) auth.Dialog
	}{
		{"by configuration", DeviceCode, "app", func(d *LoopbackDialog) auth.Dialog { return d }},
		{"because the dialog has no redirect", AuthorizationCode, "app", func(d *LoopbackDialog) auth.Dialog { return noRedirect{d} }},
		{"with a client that registers itself", DeviceCode, "", func(d *LoopbackDialog) auth.Dialog { return d }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rs := newResourceServer(t, s, "")
			p := newTest(t, Config{Grant: tt.grant, Client: Client{ID: tt.client}})
			req := requestFor("dave", rs.url)
			if err := p.Login(t.Context(), req, tt.dialog(newPerson("dave").dialog(t))); err != nil {
				t.Fatal(err)
			}
			if about := newCaller(t, p, req).mustPost(); about["sub"] != "dave" {
				t.Errorf("dave is %v", about["sub"])
			}
		})
	}
}

func TestAMissingScopeIsAskedForAndEarlierOnesAreKept(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	t.Run("by a person", func(t *testing.T) {
		t.Parallel()
		rs := newResourceServer(t, s, "")
		p := newTest(t, Config{Client: Client{ID: "app"}})
		req := requestFor("alice", rs.url)
		alice := newPerson("alice")
		if err := p.Login(t.Context(), req, alice.dialog(t)); err != nil {
			t.Fatal(err)
		}
		c := newCaller(t, p, req)
		c.mustPost()
		rs.need("mcp:write")
		if got := c.outcome(); got != auth.NeedsLogin {
			t.Fatalf("without the scope: %v, want NeedsLogin", got)
		}
		if err := p.Login(t.Context(), req, alice.dialog(t)); err != nil {
			t.Fatal(err)
		}
		if about := c.mustPost(); about["scope"] != "mcp:read mcp:write" {
			t.Errorf("scopes after the step-up: %v", about["scope"])
		}
	})
	t.Run("by a machine", func(t *testing.T) {
		t.Parallel()
		rs := newResourceServer(t, s, "")
		p := newTest(t, Config{Grant: ClientCredentials, Client: Client{ID: "cc-basic", Secret: auth.NewSecret(oidcSecret), AuthMethod: methodBasic}, AnyIssuer: true})
		cache := newTestCache(t, p, auth.CacheConfig{})
		c := newCaller(t, cache, requestFor("", rs.url))
		c.mustPost()
		rs.need("mcp:write")
		if about := c.mustPost(); about["scope"] != "mcp:read mcp:write" {
			t.Errorf("scopes after the step-up: %v", about["scope"])
		}
		rs.need("mcp:unheard-of")
		c.outcome() // whatever it is, it ends
		rs.need("mcp:read")
		c.mustPost()
	})
}

func TestTokensRevokedInMidLoadCostNoCall(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	rs := newResourceServer(t, s, "")
	p := newTest(t, Config{Grant: ClientCredentials, Issuer: s.issuer, Client: Client{ID: "cc-jwt", PrivateKey: s.key}})
	req := requestFor("", rs.url)
	cache := newTestCache(t, p, auth.CacheConfig{})
	c := newCaller(t, cache, req)
	c.mustPost()
	c.mustPost()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.post(t.Context()); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
			}
		})
	}
	for range 2 {
		token := bearer(t, credentials(t, cache, req))
		if err := s.revoke(t.Context(), "app", token); err != nil {
			t.Error(err)
		}
		// A call can be repeated once, so each one must meet one revocation only.
		served := rs.served.Load()
		waitFor(t, func() bool { return t.Failed() || rs.served.Load() > served+50 })
	}
	close(stop)
	wg.Wait()
}

func TestARevokedLoginIsOverAtOnceAndSaysSo(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	rs := newResourceServer(t, s, "")
	p := newTest(t, Config{Client: Client{ID: "app"}})
	req := requestFor("alice", rs.url)
	if err := p.Login(t.Context(), req, newPerson("alice").dialog(t)); err != nil {
		t.Fatal(err)
	}
	// Revoking an access token there takes the refresh token with it.
	if err := s.revoke(t.Context(), "app", bearer(t, credentials(t, p, req))); err != nil {
		t.Fatal(err)
	}
	cache := newTestCache(t, p, auth.CacheConfig{})
	c := newCaller(t, cache, req)
	if _, err := c.post(t.Context()); !errors.Is(err, auth.ErrInteractionRequired) {
		t.Fatalf("after the revocation: %v, want ErrInteractionRequired", err)
	}
	if err := p.Login(t.Context(), req, newPerson("alice").dialog(t)); err != nil {
		t.Fatal(err)
	}
	cache.Forget(req) // as the login of the cache does
	c.mustPost()
}

func TestDPoPBindsTokensToAKeyAndProvesItWithEachRequest(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	for _, tt := range []struct {
		name, client, nonce string
	}{
		{"without nonces", "app", ""},
		{"with nonces of both servers", "app-nonce", "nonce-of-the-resource"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rs := newResourceServer(t, s, "?ttl=3")
			rs.dpopOnly, rs.nonce = true, tt.nonce
			path := filepath.Join(t.TempDir(), "tokens.json")
			store, err := OpenFileStore(path)
			if err != nil {
				t.Fatal(err)
			}
			p := newTest(t, Config{Client: Client{ID: tt.client}, DPoP: true, Store: store})
			req := requestFor("alice", rs.url)
			if err := p.Login(t.Context(), req, newPerson("alice").dialog(t)); err != nil {
				t.Fatal(err)
			}
			cache := newTestCache(t, p, auth.CacheConfig{})
			c := newCaller(t, cache, req)
			for range 3 {
				if about := c.mustPost(); about["sub"] != "alice" || about["cnf"] == nil {
					t.Errorf("the target sees %v", about)
				}
			}
			// The refresh token is bound to the key too, and both survive the process.
			store2, err := OpenFileStore(path)
			if err != nil {
				t.Fatal(err)
			}
			later := newTest(t, Config{Client: Client{ID: tt.client}, DPoP: true, Store: store2})
			before := credentials(t, cache, req).Generation
			laterCaller := newCaller(t, later, req)
			waitFor(t, func() bool {
				laterCaller.mustPost()
				return credentials(t, later, req).Generation != before
			})
			laterCaller.mustPost()
		})
	}
}

func TestAServerWithoutDPoPIsNotGivenABearerTokensTrust(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	cfg := as.machine()
	cfg.DPoP = true
	p := newTest(t, cfg)
	_, err := p.Credentials(t.Context(), requestFor("", fakeResource))
	if !errors.Is(err, auth.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
	mustNotLeak(t, "the error", err)
}

func TestAMachineNonceIsAnsweredByACertifiedServer(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	p := newTest(t, Config{
		Grant: ClientCredentials, Issuer: s.issuer, DPoP: true,
		Client: Client{ID: "cc-nonce", Secret: auth.NewSecret(oidcSecret), AuthMethod: methodBasic},
	})
	c := credentials(t, p, requestFor("", resourceURL))
	token, ok := dpopToken(c.Header.Get("Authorization"))
	if !ok {
		t.Fatalf("not a DPoP token: %v", c)
	}
	if about, err := s.introspect(t.Context(), token); err != nil || about["cnf"] == nil {
		t.Errorf("%v, %v", about, err)
	}
}
