package oauth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestLiesOfATokenEndpointAreRefusedAndNamed(t *testing.T) {
	t.Parallel()
	jwt := func(header, claims string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	answer := func(body string) func(http.ResponseWriter, *http.Request, url.Values) {
		return func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}
	}
	status := func(code int, contentType, body string) func(http.ResponseWriter, *http.Request, url.Values) {
		return func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	for _, tt := range []struct {
		name  string
		token func(http.ResponseWriter, *http.Request, url.Values)
		is    error
		text  string
	}{
		{"HTML instead of JSON", status(200, "text/html", "<html>access-token-1</html>"), nil, "check the URL"},
		{"HTML with a fault", status(500, "text/html", "<html>refresh-token-1</html>"), nil, "fault of its own"},
		{"nothing", answer(`{}`), nil, "not one of an OAuth server"},
		{"a broken object", answer(`{"access_token":"access-token-1"`), nil, "not one of an OAuth server"},
		{"10 MB", answer(`{"access_token":"access-token-` + strings.Repeat("x", 10<<20) + `"}`), errAnswerTooLarge, "larger than"},
		{"a token type of another kind", answer(`{"access_token":"access-token-1","token_type":"mac"}`), auth.ErrUnsupported, `"mac"`},
		{"a DPoP token that was not asked for", answer(`{"access_token":"access-token-1","token_type":"DPoP"}`), auth.ErrUnsupported, "DPoP"},
		{"a token with a line break", answer(`{"access_token":"access-token-1\r\nX-Evil: 1","token_type":"bearer"}`), nil, "no header may have"},
		{"a token that had expired", answer(`{"access_token":"access-token-1","token_type":"bearer","expires_in":-5}`), nil, "had expired"},
		{
			"a token for another resource",
			answer(`{"access_token":"` + jwt(`{"typ":"at+jwt"}`, `{"aud":"https://bank.example"}`) + `","token_type":"bearer"}`),
			nil, "https://bank.example",
		},
		{
			"a token for other resources",
			answer(`{"access_token":"` + jwt(`{"typ":"application/at+jwt"}`, `{"aud":["https://bank.example","x"]}`) + `","token_type":"bearer"}`),
			nil, "Config.Audiences",
		},
		{"a redirect", status(307, "text/plain", ""), nil, "must not be redirected"},
		{"a wrong secret", status(401, "text/plain", "no"), auth.ErrCredentialsRejected, "Config.Client"},
		{"an error that repeats the secret", status(400, "application/json",
			`{"error":"invalid_client","error_description":"your secret `+fakeSecret+` is wrong"}`), auth.ErrCredentialsRejected, "invalid_client"},
		{"an error code that is none", status(400, "application/json", `{"error":"access-token-1 \n oops"}`), nil, "status 400"},
		{"an error with success", answer(`{"error":"invalid_scope"}`), auth.ErrCredentialsRejected, "Config.Scopes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			as := newFakeAS()
			as.token = tt.token
			p := newTest(t, as.machine())
			_, err := p.Credentials(t.Context(), requestFor("", fakeResource))
			if err == nil {
				t.Fatal("it was believed")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %v", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), asIssuer+"/token") {
				t.Errorf("the error does not say %q and where: %v", tt.text, err)
			}
			mustNotLeak(t, "the error", err)
		})
	}
}

func TestAudiencesOfOthersAreAcceptedWhenConfigured(t *testing.T) {
	t.Parallel()
	p := newTest(t, func() Config { c := newFakeAS().machine(); c.Audiences = []string{"api://mcp"}; return c }())
	part := base64.RawURLEncoding.EncodeToString
	token := func(aud string) string {
		return part([]byte(`{"typ":"at+jwt"}`)) + "." + part([]byte(`{"aud":`+aud+`}`)) + ".c2ln"
	}
	for aud, ok := range map[string]bool{
		`"api://mcp"`: true, `["x","api://mcp"]`: true, `"` + fakeResource + `/"`: true, `"x"`: false, `7`: true, `[]`: false,
	} {
		if err := p.checkAudience(token(aud), fakeResource); (err == nil) != ok {
			t.Errorf("aud %s: %v", aud, err)
		}
	}
}

func TestMetadataThatSpeakForAnotherIssuerAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any){
		"another issuer":               func(m map[string]any) { m["issuer"] = "https://evil.example" },
		"no issuer":                    func(m map[string]any) { delete(m, "issuer") },
		"no token endpoint":            func(m map[string]any) { delete(m, "token_endpoint") },
		"a token endpoint over http":   func(m map[string]any) { m["token_endpoint"] = "http://as.example/token" },
		"an authorization script":      func(m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
		"a token endpoint on loopback": func(m map[string]any) { m["token_endpoint"] = "http://127.0.0.1/token" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := newFakeAS()
			as.metadata = change
			p := newTest(t, as.machine())
			if _, err := p.Credentials(t.Context(), requestFor("", fakeResource)); err == nil {
				t.Error("they were believed")
			}
			if n := as.tokenRequests(); n > 0 {
				t.Errorf("%d requests with the secret were sent", n)
			}
		})
	}
}

func TestACodeFromAnotherIssuerGoesNowhere(t *testing.T) {
	t.Parallel()
	promised := func(m map[string]any) { m["authorization_response_iss_parameter_supported"] = true }
	for _, tt := range []struct {
		name     string
		metadata func(map[string]any)
		edit     func(q url.Values)
		ok       bool
	}{
		{"an honest answer", promised, func(url.Values) {}, true},
		{"no issuer, and none promised", nil, func(q url.Values) { q.Del("iss") }, true},
		{"no issuer although promised", promised, func(q url.Values) { q.Del("iss") }, false},
		{"another issuer", promised, func(q url.Values) { q.Set("iss", "https://evil.example") }, false},
		{"another issuer, not promised", nil, func(q url.Values) { q.Set("iss", "https://evil.example") }, false},
		{"an issuer with a slash more", promised, func(q url.Values) { q.Set("iss", asIssuer+"/") }, false},
		{"two issuers", promised, func(q url.Values) { q.Add("iss", "https://evil.example") }, false},
		{"two codes", nil, func(q url.Values) { q.Add("code", "other") }, false},
		{"another state", nil, func(q url.Values) { q.Set("state", "other") }, false},
		{"no code", nil, func(q url.Values) { q.Del("code") }, false},
		{"an error", nil, func(q url.Values) { q.Set("error", "access_denied") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			as := newFakeAS()
			as.metadata = tt.metadata
			p := newTest(t, as.person())
			err := p.Login(t.Context(), requestFor("alice", fakeResource), newScripted(func(pr auth.Prompt, state string) url.Values {
				q := goodCallback(pr, state)
				tt.edit(q)
				return q
			}))
			if (err == nil) != tt.ok {
				t.Errorf("Login: %v", err)
			}
			if n := as.tokenRequests(); n > 0 && !tt.ok {
				t.Error("the code was sent to the token endpoint")
			}
			if err != nil {
				mustNotLeak(t, "the error", err)
			}
		})
	}
}

func TestServersWithoutPKCEAreRefusedUnlessAssumed(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.metadata = func(m map[string]any) { delete(m, "code_challenge_methods_supported") }
	cfg := as.person()
	p := newTest(t, cfg)
	err := p.Login(t.Context(), requestFor("alice", fakeResource), newScripted(goodCallback))
	if !errors.Is(err, auth.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
	cfg.AssumePKCE = true
	p = newTest(t, cfg)
	if err := p.Login(t.Context(), requestFor("alice", fakeResource), newScripted(goodCallback)); err != nil {
		t.Error(err)
	}
}

func TestATokenEndpointThatHangsFreesItsCallersAndIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.token = func(_ http.ResponseWriter, r *http.Request, _ url.Values) { <-r.Context().Done() }
		p := newTest(t, as.machine())
		began := time.Now()
		_, err := p.Credentials(t.Context(), requestFor("", fakeResource))
		if took := time.Since(began); took != 25*time.Second {
			t.Errorf("gave up after %v, want Config.Timeout", took)
		}
		if !strings.Contains(fmt.Sprint(err), asIssuer+"/token") || !strings.Contains(fmt.Sprint(err), "in time") {
			t.Errorf("the error does not say what hangs: %v", err)
		}
		synctest.Wait()
		as.token = nil
		credentials(t, p, requestFor("", fakeResource))
	})
}

func TestThrottlingIsPassedOnWithItsDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		for _, tt := range []struct {
			place, after string
			status       int
			want         time.Duration
		}{
			{"as.example/token", "7", 429, 7 * time.Second},
			{"as.example/token", date, 503, 90 * time.Second},
			{"as.example/token", "soon", 503, 0},
			{"as.example/token", "-3", 429, 0},
			{"as.example/.well-known/oauth-authorization-server", "7", 429, 7 * time.Second},
			{"as.example/.well-known/oauth-authorization-server", date, 503, 90 * time.Second},
			{"as.example/register", "11", 429, 11 * time.Second},
		} {
			as := newFakeAS()
			as.metadata = func(m map[string]any) { m["registration_endpoint"] = asIssuer + "/register" }
			as.handlers[tt.place] = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tt.after)
				w.WriteHeader(tt.status)
			}
			cfg := as.machine()
			if strings.HasSuffix(tt.place, "register") {
				cfg.Client = Client{}
			}
			p := newTest(t, cfg)
			_, err := p.Credentials(t.Context(), requestFor("", fakeResource))
			th, ok := errors.AsType[*auth.ThrottledError](err)
			if !ok || th.RetryAfter != tt.want {
				t.Errorf("%s with %d and Retry-After %q: %v", tt.place, tt.status, tt.after, err)
			}
			if n := as.requests(tt.place); n != 1 {
				t.Errorf("%s was asked %d times", tt.place, n)
			}
		}
	})
}

func TestALongBodyIsNeverReadWhole(t *testing.T) {
	t.Parallel()
	body := &limited{ReadCloser: http.MaxBytesReader(nil, noClose{bytes.NewReader(make([]byte, 100))}, 1000), left: 10}
	n, err := body.Read(make([]byte, 100))
	if n != 10 || err != nil {
		t.Errorf("first read: %d, %v", n, err)
	}
	if _, err := body.Read(make([]byte, 100)); !errors.Is(err, errAnswerTooLarge) {
		t.Errorf("second read: %v", err)
	}
}

type noClose struct{ *bytes.Reader }

func (noClose) Close() error { return nil }
