package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// fakeAS is an authorization server that can be told to misbehave. It is reached
// without a network, so that it works in synctest bubbles; https://as.example is
// its issuer.
type fakeAS struct {
	// token answers token requests; nil issues bearer tokens.
	token func(w http.ResponseWriter, r *http.Request, form url.Values)
	// metadata are changed by it before they are sent; may be nil.
	metadata func(m map[string]any)
	// handlers answer other URLs ("host/path"); they win.
	handlers map[string]http.HandlerFunc
	lifetime time.Duration // of tokens; 0 says nothing about it

	mu      sync.Mutex
	forms   []url.Values   // guarded by mu; of token requests
	headers []http.Header  // guarded by mu
	seen    map[string]int // guarded by mu; requests by "host/path"
	refresh string         // guarded by mu; the only refresh token that is good
	reused  int            // guarded by mu
}

const (
	asIssuer     = "https://as.example"
	fakeSecret   = "client-secret-0123456789-xyz"
	fakeSubject  = "subject-token-0123456789-abcdefgh"
	fakeResource = "https://mcp.example/mcp"
)

func newFakeAS() *fakeAS {
	return &fakeAS{handlers: make(map[string]http.HandlerFunc), seen: make(map[string]int), lifetime: time.Hour}
}

// RoundTrip lets the fake be a Config.Transport.
func (as *fakeAS) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		as.ServeHTTP(w, req)
	}()
	select {
	case <-done:
		resp := w.Result()
		resp.Request = req
		return resp, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func (as *fakeAS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.URL.Host
	if host == "" {
		host = r.Host
	}
	place := host + r.URL.Path
	as.mu.Lock()
	as.seen[place]++
	as.mu.Unlock()
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if h := as.handlers[place]; h != nil {
		h(w, r)
		return
	}
	switch place {
	case "as.example/.well-known/oauth-authorization-server":
		m := map[string]any{
			"issuer": asIssuer, "token_endpoint": asIssuer + "/token", "authorization_endpoint": asIssuer + "/authorize",
			"code_challenge_methods_supported": []string{"S256"},
		}
		if as.metadata != nil {
			as.metadata(m)
		}
		writeJSON(w, m)
	case "as.example/token":
		as.tokenHandler()(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (as *fakeAS) tokenHandler() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		as.mu.Lock()
		as.forms = append(as.forms, r.PostForm)
		as.headers = append(as.headers, r.Header)
		as.mu.Unlock()
		if as.token != nil {
			as.token(w, r, r.PostForm)
			return
		}
		as.issue(w, r.PostForm)
	}
}

// issue gives tokens, with rotation where a refresh token is in play.
func (as *fakeAS) issue(w http.ResponseWriter, form url.Values) {
	as.mu.Lock()
	defer as.mu.Unlock()
	n := len(as.forms)
	answer := map[string]any{"access_token": fmt.Sprintf("access-token-%06d", n), "token_type": "Bearer"}
	if as.lifetime > 0 {
		answer["expires_in"] = int(as.lifetime / time.Second)
	}
	switch form.Get("grant_type") {
	case "refresh_token":
		if form.Get("refresh_token") != as.refresh {
			as.reused++
			oauthError(w, http.StatusBadRequest, "invalid_grant", "that refresh token was used before")
			return
		}
		fallthrough
	case "authorization_code", grantDevice:
		as.refresh = fmt.Sprintf("refresh-token-%06d-0123456789", n)
		answer["refresh_token"] = as.refresh
	}
	writeJSON(w, answer)
}

func oauthError(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, code, description)
}

func (as *fakeAS) tokenRequests() int {
	as.mu.Lock()
	defer as.mu.Unlock()
	return len(as.forms)
}

func (as *fakeAS) lastForm() url.Values {
	as.mu.Lock()
	defer as.mu.Unlock()
	if len(as.forms) == 0 {
		return nil
	}
	return as.forms[len(as.forms)-1]
}

func (as *fakeAS) requests(place string) int {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.seen[place]
}

// machine is a configuration for the fake with client credentials.
func (as *fakeAS) machine() Config {
	return Config{
		Grant: ClientCredentials, Issuer: asIssuer, Transport: as,
		Client: Client{ID: "machine", Secret: auth.NewSecret(fakeSecret)},
	}
}

// seed puts a login into a store, as if it had happened.
func seed(t *testing.T, store TokenStore, key Key, rec record) {
	t.Helper()
	if rec.Type == "" {
		rec.Type = "Bearer"
	}
	err := store.Update(context.Background(), key, func(Entry) (Entry, error) { return rec.entry() })
	if err != nil {
		t.Fatal(err)
	}
}

// person is a configuration for the fake with a login.
func (as *fakeAS) person() Config {
	return Config{Issuer: asIssuer, Transport: as, Client: Client{ID: "app"}, Store: NewMemoryStore()}
}

func personKey(id string) Key {
	return Key{Issuer: asIssuer, Client: "app", Resource: fakeResource, Identity: id, Grant: "login"}
}

// scripted is a dialog whose browser comes back as the test says.
type scripted struct {
	redirect string
	callback func(prompt auth.Prompt, state string) url.Values
	block    bool // Callback waits for its context
	shown    chan auth.Prompt

	mu     sync.Mutex
	prompt auth.Prompt
}

func newScripted(callback func(prompt auth.Prompt, state string) url.Values) *scripted {
	return &scripted{redirect: "https://app.example/callback", callback: callback, shown: make(chan auth.Prompt, 10)}
}

// goodCallback is what an honest server sends.
func goodCallback(_ auth.Prompt, state string) url.Values {
	return url.Values{"code": {"the-code-0123456789-0123456789"}, "state": {state}, "iss": {asIssuer}}
}

func (d *scripted) RedirectURL(context.Context) (string, error) {
	if d.redirect == "" {
		return "", auth.ErrUnsupported
	}
	return d.redirect, nil
}

func (d *scripted) Show(_ context.Context, p auth.Prompt) error {
	d.mu.Lock()
	d.prompt = p
	d.mu.Unlock()
	d.shown <- p
	return nil
}

func (d *scripted) Callback(ctx context.Context, state string) (auth.Secret, error) {
	if d.block {
		<-ctx.Done()
		return auth.Secret{}, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return auth.NewSecret(d.callback(d.prompt, state).Encode()), nil
}

func secretOf(s string) auth.Secret { return auth.NewSecret(s) }

// mustNotLeak fails if any of the ways to print a value shows a secret.
func mustNotLeak(t *testing.T, what string, v any, secrets ...string) {
	t.Helper()
	data, _ := json.Marshal(v) //nolint:errchkjson // what cannot be marshalled shows nothing
	for _, text := range []string{
		fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%q", v), string(data),
	} {
		for _, secret := range append(secrets, fakeSecret, fakeSubject, "access-token-", "refresh-token-", "the-code-") {
			if strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
				t.Errorf("%s shows %q: %s", what, secret, text)
			}
		}
	}
}
