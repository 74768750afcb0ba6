package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestAPersonLogsInOnceAndTokensAreRefreshedFromThenOn(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	rs := newResourceServer(t, s, "?ttl=2")
	store := NewMemoryStore()
	p := newTest(t, Config{Client: Client{ID: "app"}, Store: store})
	req := requestFor("alice", rs.url)
	c := newCaller(t, p, req)

	if got := c.outcome(); got != auth.NeedsLogin {
		t.Fatalf("before the login: %v, want NeedsLogin", got)
	}
	if _, err := p.Credentials(t.Context(), req); !errors.Is(err, auth.ErrInteractionRequired) {
		t.Fatalf("before the login: %v, want ErrInteractionRequired", err)
	}
	if err := p.Login(t.Context(), req, newPerson("alice").dialog(t)); err != nil {
		t.Fatal(err)
	}
	about := c.mustPost()
	if about["sub"] != "alice" || about["scope"] != "mcp:read" || about["client_id"] != "app" {
		t.Errorf("the target sees %v", about)
	}

	first := credentials(t, p, req)
	var second auth.Credentials
	waitFor(t, func() bool { second = credentials(t, p, req); return second.Generation != first.Generation })
	if bearer(t, first) == bearer(t, second) {
		t.Error("another generation of the same token")
	}
	c.mustPost()
}

func TestALoginIsKeptUnderItsIdentityAndNoOther(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	cfg := as.person()
	p := newTest(t, cfg)
	req := requestFor("alice", fakeResource)
	if err := p.Login(t.Context(), req, newScripted(goodCallback)); err != nil {
		t.Fatal(err)
	}
	bearer(t, credentials(t, p, req))
	form := as.lastForm()
	for name, want := range map[string]string{
		"grant_type": "authorization_code", "code": "the-code-0123456789-0123456789", "resource": fakeResource,
		"redirect_uri": "https://app.example/callback", "client_id": "app",
	} {
		if got := form.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(form.Get("code_verifier")) < 43 {
		t.Errorf("code_verifier %q", form.Get("code_verifier"))
	}
	others := []auth.Request{requestFor("bob", fakeResource), requestFor("alice", "https://mcp.example/other"), requestFor("", fakeResource)}
	others = append(others, req, req)
	others[3].Identity.Attrs = map[string]string{"tenant": "1"}
	others[4].Identity.ID = "alice#" // nor who looks like her with attributes
	for _, other := range others {
		if _, err := p.Credentials(t.Context(), other); !errors.Is(err, auth.ErrInteractionRequired) {
			t.Errorf("%v: %v, want ErrInteractionRequired", other, err)
		}
	}
}

func TestWhatThePromptAsksForIsWhatTheServerShouldSee(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.metadata = func(m map[string]any) { m["scopes_supported"] = []string{"read", "offline_access"} }
	cfg := as.person()
	cfg.Scopes, cfg.AuthorizationParams = []string{"read"}, url.Values{"login_hint": {"alice@example"}, "prompt": {"login"}}
	p := newTest(t, cfg)
	d := newScripted(goodCallback)
	if err := p.Login(t.Context(), requestFor("alice", fakeResource, "write"), d); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse((<-d.shown).URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "app", "scope": "read write offline_access", "resource": fakeResource,
		"code_challenge_method": "S256", "login_hint": "alice@example", "prompt": "login",
	} {
		if got := q.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	sum := sha256.Sum256([]byte(as.lastForm().Get("code_verifier")))
	if q.Get("code_challenge") != b64(sum[:]) {
		t.Error("the challenge is not the digest of the verifier")
	}
}

func TestSecondLoginOfAnIdentitySharesTheFirstConcurrentSafe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		p := newTest(t, as.person())
		var wg sync.WaitGroup
		d := newScripted(func(pr auth.Prompt, state string) url.Values {
			time.Sleep(time.Minute) // as people do
			return goodCallback(pr, state)
		})
		for range 5 {
			wg.Go(func() {
				if err := p.Login(t.Context(), requestFor("alice", fakeResource), d); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(d.shown) != 1 || as.tokenRequests() != 1 {
			t.Errorf("%d prompts, %d token requests, want one each", len(d.shown), as.tokenRequests())
		}
	})
}

func TestALoginWhoseCallerLeftIsTakenOverByTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		p := newTest(t, as.person())
		req := requestFor("alice", fakeResource)
		first := newScripted(nil)
		first.block = true
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- p.Login(ctx, req, first) }()
		synctest.Wait()
		second := newScripted(goodCallback)
		done := make(chan error, 1)
		go func() { done <- p.Login(t.Context(), req, second) }()
		// Somebody else does not wait for either.
		if err := p.Login(t.Context(), requestFor("bob", fakeResource), newScripted(goodCallback)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(second.shown) > 0 {
			t.Error("two prompts at a time")
		}
		// One who wants something else has a turn of their own.
		third := make(chan error, 1)
		go func() {
			third <- p.Login(t.Context(), requestFor("alice", fakeResource, "more"), newScripted(goodCallback))
		}()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
		if err := errors.Join(<-done, <-third); err != nil {
			t.Error(err)
		}
		if as.tokenRequests() != 3 {
			t.Errorf("%d token requests, want 3", as.tokenRequests())
		}
	})
}

func TestCloseEndsALogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := New(newFakeAS().person())
		if err != nil {
			t.Fatal(err)
		}
		d := newScripted(nil)
		d.block = true
		done := make(chan error, 1)
		go func() { done <- p.Login(t.Context(), requestFor("alice", fakeResource), d) }()
		synctest.Wait()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, auth.ErrClosed) {
			t.Errorf("Login: %v, want ErrClosed", err)
		}
		if err := p.Login(t.Context(), requestFor("alice", fakeResource), d); !errors.Is(err, auth.ErrClosed) {
			t.Errorf("Login after Close: %v, want ErrClosed", err)
		}
	})
}

func TestADevicePollsAsTheServerWants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.metadata = func(m map[string]any) { m["device_authorization_endpoint"] = asIssuer + "/device" }
		as.handlers["as.example/device"] = document(map[string]any{
			"device_code": "device-code-0123456789-0123456789", "user_code": "WDJB-MJHT", "verification_uri": "https://as.example/go",
			"verification_uri_complete": "https://evil.example/go?user_code=WDJB-MJHT", "expires_in": 600, "interval": 2,
		})
		var at []time.Duration
		began := time.Now()
		script := []func(http.ResponseWriter){
			func(w http.ResponseWriter) { oauthError(w, 400, "authorization_pending", "") },
			func(w http.ResponseWriter) { oauthError(w, 400, "slow_down", "") },
			func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
			func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(http.StatusTooManyRequests)
			},
		}
		as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
			at = append(at, time.Since(began))
			if n := len(at) - 1; n < len(script) {
				script[n](w)
				return
			}
			as.issue(w, form)
		}
		cfg := as.person()
		cfg.Grant = DeviceCode
		p := newTest(t, cfg)
		d := newScripted(nil)
		if err := p.Login(t.Context(), requestFor("alice", fakeResource), d); err != nil {
			t.Fatal(err)
		}
		pr := <-d.shown
		if pr.UserCode != "WDJB-MJHT" || pr.URL != "https://as.example/go" || pr.Expires.Sub(began) != 10*time.Minute {
			t.Errorf("prompt %+v", pr)
		}
		if want := []time.Duration{2, 4, 11, 25, 55}; len(at) != len(want) {
			t.Errorf("polled at %v", at)
		} else {
			for i := range want {
				if at[i] != want[i]*time.Second {
					t.Errorf("polled at %v, want %v", at, want)
					break
				}
			}
		}
		script, at = nil, nil
		as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
			oauthError(w, 400, "authorization_pending", "")
		}
		err := p.Login(t.Context(), requestFor("bob", fakeResource), newScripted(nil))
		if !errors.Is(err, auth.ErrInteractionRequired) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("when nobody enters the code: %v", err)
		}
		as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) { oauthError(w, 400, "access_denied", "") }
		if err := p.Login(t.Context(), requestFor("bob", fakeResource), newScripted(nil)); !errors.Is(err, auth.ErrCredentialsRejected) {
			t.Errorf("when the person refuses: %v", err)
		}
	})
}

func TestAHostWithoutBrowserAndAServerWithoutDeviceCodesCannotLogIn(t *testing.T) {
	t.Parallel()
	for _, grant := range []Grant{AuthorizationCode, DeviceCode} {
		cfg := newFakeAS().person()
		cfg.Grant = grant
		p := newTest(t, cfg)
		d := newScripted(goodCallback)
		d.redirect = ""
		if err := p.Login(t.Context(), requestFor("alice", fakeResource), d); !errors.Is(err, auth.ErrUnsupported) {
			t.Errorf("%s: got %v, want ErrUnsupported", grant, err)
		}
	}
	machine := newTest(t, newFakeAS().machine())
	if _, ok := auth.AsInteractive(machine); ok {
		t.Error("a machine can log in")
	}
	if err := machine.Login(t.Context(), requestFor("", fakeResource), newScripted(goodCallback)); !errors.Is(err, auth.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}

func TestOneStoreKeepsPeopleAndMachinesApart(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	store := NewMemoryStore()
	human, machine := as.person(), as.machine()
	human.Store, machine.Store = store, store
	machine.Client.ID = human.Client.ID
	req := requestFor("alice", fakeResource)
	credentials(t, newTest(t, machine), req)
	if _, err := newTest(t, human).Credentials(t.Context(), req); !errors.Is(err, auth.ErrInteractionRequired) {
		t.Errorf("the machine's token was handed out as the person's: %v", err)
	}
	// Nor does a bearer token serve where DPoP is wanted.
	machine.DPoP = true
	as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
		writeJSON(w, map[string]any{"access_token": "access-token-bound", "token_type": "DPoP"})
	}
	if c := credentials(t, newTest(t, machine), req); c.Header.Get("Authorization") != "DPoP access-token-bound" {
		t.Error("a bearer token was handed out where DPoP is wanted")
	}
}

func TestARefusalWithoutGenerationIsKnownByItsToken(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	p := newTest(t, as.machine())
	req := requestFor("", fakeResource)
	c := credentials(t, p, req)
	refuse := func(sent http.Header) {
		t.Helper()
		outcome, err := p.Challenge(t.Context(), req, auth.Challenge{Sent: auth.HTTPRequest{Header: sent}, Status: 401, Header: http.Header{}})
		if outcome != auth.Retry || err != nil {
			t.Fatal(outcome, err)
		}
	}
	refuse(http.Header{"Authorization": {"Bearer other"}})
	if credentials(t, p, req).Generation != c.Generation {
		t.Error("the refusal of another token cost this one")
	}
	refuse(c.Header)
	if credentials(t, p, req).Generation == c.Generation {
		t.Error("the refused token was handed out again")
	}
}

func TestARefreshIsForTheSameResourceAndSpendsTheLatestLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		cfg := as.person()
		p := newTest(t, cfg)
		req := requestFor("alice", fakeResource)
		if err := p.Login(t.Context(), req, newScripted(goodCallback)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		credentials(t, p, req)
		form := as.lastForm()
		if form.Get("grant_type") != "refresh_token" || form.Get("resource") != fakeResource || form.Has("scope") {
			t.Errorf("refreshed with %v", form)
		}
		// A later login that brings no refresh token is not continued with an earlier one.
		as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
			writeJSON(w, map[string]any{"access_token": "access-token-short", "token_type": "Bearer", "expires_in": 60})
		}
		if err := p.Login(t.Context(), req, newScripted(goodCallback)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second)
		if c := credentials(t, p, req); c.RefreshAfter.Before(c.Expires) {
			t.Errorf("to be refreshed after %v, and nothing can be done before %v", c.RefreshAfter, c.Expires)
		}
		time.Sleep(time.Minute)
		if _, err := p.Credentials(t.Context(), req); !errors.Is(err, auth.ErrInteractionRequired) {
			t.Errorf("got %v, want ErrInteractionRequired", err)
		}
	})
}
