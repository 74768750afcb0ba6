package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const resource = "http://127.0.0.1:1/mcp"

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// post sends a form and returns the status and the members of the answer.
func post(t *testing.T, rawURL string, form url.Values) (int, map[string]any, *url.URL) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, rawURL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&body) // pages are not JSON
	to, _ := resp.Location()
	return resp.StatusCode, body, to
}

const verifier = "a-verifier-of-at-least-forty-three-characters-0"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// logIn returns the token request that ends a login, and the code that it is for.
func logIn(t *testing.T, s *Server, user string) url.Values {
	t.Helper()
	_, _, to := post(t, s.Issuer()+"/authorize", url.Values{
		"client_id": {"app"}, "redirect_uri": {"http://127.0.0.1:4711/cb"}, "response_type": {"code"}, "state": {"st"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"}, "resource": {resource},
		"user": {user}, "decision": {"allow"},
	})
	if to == nil || to.Query().Get("code") == "" || to.Query().Get("iss") != s.Issuer() || to.Query().Get("state") != "st" {
		t.Fatalf("redirected to %v", to)
	}
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "client_id": {"app"},
		"redirect_uri": {"http://127.0.0.1:4711/cb"}, "code_verifier": {verifier}, "resource": {resource},
	}
}

func app() Config {
	return Config{Clients: []Client{
		{ID: "app", RedirectURIs: []string{"http://127.0.0.1/cb"}}, {ID: "machine", Secret: "s"},
	}}
}

func TestACodeIsGoodOnceAndOnlyWithItsVerifier(t *testing.T) {
	s := start(t, app())
	form := logIn(t, s, "alice")
	status, body, _ := post(t, s.Issuer()+"/token", form)
	access, _ := body["access_token"].(string)
	if who, ok := s.Check(access, resource); status != 200 || !ok || who.User != "alice" {
		t.Fatalf("%d %v", status, body)
	}
	if _, ok := s.Check(access, resource+"/other"); ok {
		t.Error("a token is good for another resource")
	}
	if status, body, _ := post(t, s.Issuer()+"/token", form); status != 400 || body["error"] != "invalid_grant" {
		t.Errorf("the code a second time: %d %v", status, body)
	}
	for name, change := range map[string]func(url.Values){
		"verifier": func(f url.Values) { f.Set("code_verifier", "another") },
		"redirect": func(f url.Values) { f.Set("redirect_uri", "http://127.0.0.1:4712/cb") },
		"client":   func(f url.Values) { f.Set("client_id", "machine"); f.Set("client_secret", "s") },
	} {
		form := logIn(t, s, "alice")
		change(form)
		if status, body, _ := post(t, s.Issuer()+"/token", form); status != 400 || body["error"] != "invalid_grant" {
			t.Errorf("another %s: %d %v", name, status, body)
		}
	}
}

func TestARefreshTokenThatComesTwiceEndsTheLogin(t *testing.T) {
	s := start(t, app())
	_, first, _ := post(t, s.Issuer()+"/token", logIn(t, s, "alice"))
	refresh := func(token any) (int, map[string]any) {
		text, _ := token.(string)
		status, body, _ := post(t, s.Issuer()+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {text}, "client_id": {"app"}})
		return status, body
	}
	status, second := refresh(first["refresh_token"])
	if status != 200 || second["refresh_token"] == first["refresh_token"] {
		t.Fatalf("%d %v", status, second)
	}
	if status, body := refresh(first["refresh_token"]); status != 400 || body["error"] != "invalid_grant" {
		t.Errorf("a second use: %d %v", status, body)
	}
	if status, _ := refresh(second["refresh_token"]); status != 400 {
		t.Error("the login goes on")
	}
	access, _ := second["access_token"].(string)
	if _, ok := s.Check(access, resource); ok || s.Stats().Reused != 1 {
		t.Errorf("its access token is still good; %+v", s.Stats())
	}
}

func TestWhatIsNotAllowedIsRefused(t *testing.T) {
	s := start(t, app())
	for name, tt := range map[string]struct {
		path string
		form url.Values
		want string
	}{
		"a wrong secret":      {"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"machine"}, "client_secret": {"x"}}, "invalid_client"},
		"a public machine":    {"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}}, "unauthorized_client"},
		"no resource":         {"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"machine"}, "client_secret": {"s"}}, "invalid_target"},
		"an unknown grant":    {"/token", url.Values{"grant_type": {"password"}, "client_id": {"app"}}, "unsupported_grant_type"},
		"an unknown device":   {"/token", url.Values{"grant_type": {deviceGrant}, "device_code": {"x"}, "client_id": {"app"}}, "invalid_grant"},
		"a device for nobody": {"/device", url.Values{"client_id": {"x"}}, "invalid_client"},
	} {
		if status, body, _ := post(t, s.Issuer()+tt.path, tt.form); status < 400 || body["error"] != tt.want {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
	status, _, to := post(t, s.Issuer()+"/authorize", url.Values{"client_id": {"app"}, "redirect_uri": {"https://evil.example/cb"}})
	if status != 400 || to != nil {
		t.Errorf("an unknown redirect URI: %d to %v", status, to)
	}
	_, _, to = post(t, s.Issuer()+"/authorize", url.Values{
		"client_id": {"app"}, "redirect_uri": {"http://127.0.0.1:1/cb"}, "response_type": {"code"}, "resource": {resource},
		"user": {"a"}, "decision": {"allow"},
	})
	if to == nil || to.Query().Get("error") != "invalid_request" {
		t.Errorf("without PKCE: %v", to)
	}
}

func TestGuardLetsNobodyInWithoutAToken(t *testing.T) {
	s := start(t, app())
	inside := 0
	h, err := s.Guard(resource, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside++ }), "mcp:read")
	if err != nil {
		t.Fatal(err)
	}
	call := func(path, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := call("/mcp", "")
	if w.Code != 401 || !strings.Contains(w.Header().Get("WWW-Authenticate"), "/.well-known/oauth-protected-resource/mcp") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if call("/mcp", "access-guessed").Code != 401 || inside != 0 {
		t.Error("let in")
	}
	if w := call("/.well-known/oauth-protected-resource/mcp", ""); !strings.Contains(w.Body.String(), s.Issuer()) {
		t.Errorf("metadata %s", w.Body)
	}
	_, body, _ := post(t, s.Issuer()+"/token", logIn(t, s, "alice"))
	access, _ := body["access_token"].(string)
	if call("/mcp", access); inside != 1 {
		t.Error("kept out")
	}
	s.RevokeUser("alice")
	if call("/mcp", access).Code != 401 {
		t.Error("let in with a token that was revoked")
	}
}
