package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestChallengesAreReadAsTheyAreSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header string
		want   asked
	}{
		{`Bearer`, asked{}},
		{`Bearer realm="x", resource_metadata="https://a/b?c=d,e", scope="a b"`, asked{metadataURL: "https://a/b?c=d,e", scopes: []string{"a", "b"}}},
		{`bearer Error=insufficient_scope,SCOPE=a`, asked{code: "insufficient_scope", scopes: []string{"a"}}},
		{`Bearer resource_metadata = "https://a"`, asked{metadataURL: "https://a"}},
		{`Bearer resource_metadata=https://a/b=c, error="x"`, asked{metadataURL: "https://a/b=c", code: "x"}},
		{`Bearer error_description="a \"quoted\\", error="invalid_token"`, asked{code: "invalid_token"}},
		{`Negotiate, Bearer error="x"`, asked{code: "x"}},
		{`Negotiate YIIabc, Bearer error="x"`, asked{code: "x"}},
		{`Bearer realm="", error="x"`, asked{code: "x"}},
		{`Negotiate YIIabc/+==, Bearer error="x"`, asked{code: "x"}},
		{`Basic realm="resource_metadata=\"https://evil\"", Bearer error="x"`, asked{code: "x"}},
		{`Basic resource_metadata="https://evil", scope="evil"`, asked{}},
		{`DPoP error="use_dpop_nonce", Bearer error="invalid_token"`, asked{code: "use_dpop_nonce"}},
		{`Bearer error="invalid_token", DPoP error="use_dpop_nonce"`, asked{code: "use_dpop_nonce"}},
		{`Bearer error="x`, asked{code: "x"}},
		{`error="x"`, asked{}},
		{`Bearer error="a", error="b"`, asked{code: "a"}},
		{`,, Bearer ,error="x"`, asked{code: "x"}},
		{`"Bearer error="x"`, asked{code: "x"}},
	} {
		got := readChallenge(http.Header{"Www-Authenticate": {tt.header}})
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(asked{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.header, diff)
		}
	}
	// Why the SDK's parser does not do: it loses the challenge that matters.
	for _, header := range []string{`Negotiate YIIabc, Bearer error="x"`, `Bearer realm="", error="x"`} {
		_, err := oauthex.ParseWWWAuthenticate([]string{header})
		if err == nil {
			t.Errorf("the SDK can read %s now: use its parser", header)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="x", resource_metadata="https://a/b", scope="a b"`)
	f.Add(`Negotiate YII==, Bearer error="x"`)
	f.Add(`Basic a="\`)
	f.Fuzz(func(t *testing.T, header string) {
		for _, c := range parseChallenges([]string{header}) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
			for name := range c.params {
				if name == "" {
					t.Error("a parameter without name")
				}
			}
		}
		a := readChallenge(http.Header{"Www-Authenticate": {header}})
		for _, s := range a.scopes {
			if !isScope(s) {
				t.Errorf("scope %q", s)
			}
		}
		if a.code != cleanCode(a.code) {
			t.Errorf("code %q", a.code)
		}
	})
}

// constant answers every request with the same.
type constant struct {
	status            int
	contentType, body string
}

func (c constant) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: c.status, Request: req, Header: http.Header{"Content-Type": {c.contentType}},
		Body: io.NopCloser(strings.NewReader(c.body)),
	}, nil
}

func FuzzMetadata(f *testing.F) {
	f.Add(`{"issuer":"https://as.example","token_endpoint":"https://as.example/token"}`)
	f.Add(`{"issuer":"https://as.example","token_endpoint":"http://127.0.0.1","scopes_supported":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		p, err := New(Config{Transport: constant{200, "application/json", body}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		m, err := p.metadata(t.Context(), asIssuer, reach{})
		if err != nil {
			return
		}
		for _, endpoint := range []string{m.TokenEndpoint, m.AuthorizationEndpoint, m.RegistrationEndpoint, m.DeviceAuthorizationEndpoint} {
			if endpoint != "" && !strings.HasPrefix(strings.ToLower(endpoint), "https://") {
				t.Errorf("endpoint %q was accepted", endpoint)
			}
		}
		if !sameIssuer(m.Issuer, asIssuer) || m.TokenEndpoint == "" {
			t.Errorf("metadata of %q were accepted", m.Issuer)
		}
	})
}

func FuzzResourceMetadata(f *testing.F) {
	f.Add(`{"resource":"https://mcp.example/mcp","authorization_servers":["https://as.example"]}`)
	f.Add(`{"resource":"https://mcp.example","authorization_servers":["http://127.0.0.1"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		p, err := New(Config{Transport: constant{200, "application/json", body}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		srv, err := p.discover(t.Context(), auth.Target{URL: fakeResource}, asked{})
		if err != nil {
			return
		}
		if !strings.HasPrefix(strings.ToLower(srv.issuer), "https://") || !strings.HasPrefix(srv.resource, "https://mcp.example") &&
			!strings.EqualFold(srv.resource[:len("https://mcp.example")], "https://mcp.example") {
			t.Errorf("server %+v was accepted", srv)
		}
	})
}

func FuzzTokenResponse(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"a b"}`)
	f.Add(400, "application/json", `{"error":"invalid_grant","error_description":"`+fakeSecret+`"}`)
	f.Add(200, "application/x-www-form-urlencoded", `access_token=a&expires_in=-1`)
	f.Add(503, "text/html", `<html>`)
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		if status < 100 || status > 599 {
			return
		}
		p, err := New(Config{
			Grant: ClientCredentials, TokenEndpoint: asIssuer + "/token", Transport: constant{status, contentType, body},
			Client: Client{ID: "machine", Secret: auth.NewSecret(fakeSecret)},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		c, err := p.Credentials(t.Context(), requestFor("", fakeResource))
		if err != nil {
			if strings.Contains(err.Error(), fakeSecret) || strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("the error shows what it should not: %q", err)
			}
			if _, ok := errors.AsType[*EndpointError](err); !ok {
				t.Errorf("not an EndpointError: %v", err)
			}
			return
		}
		if err := auth.CheckHeader(c.Header); err != nil || c.Expired(time.Now()) || c.Generation == "" {
			t.Errorf("credentials %v: %v", c, err)
		}
	})
}

func FuzzCallback(f *testing.F) {
	f.Add("code=abc&state=right&iss=https%3A%2F%2Fas.example")
	f.Add("error=access_denied&error_description=x&state=right")
	f.Fuzz(func(t *testing.T, query string) {
		m := &metadata{}
		m.Issuer = asIssuer
		a := &attempt{srv: &server{issuer: asIssuer}, meta: m}
		code, err := a.readCallback(query, "right")
		q, _ := url.ParseQuery(query)
		if err == nil && (code == "" || q.Get("state") != "right" || q.Has("iss") && q.Get("iss") != asIssuer) {
			t.Errorf("%q gave a code", query)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("error %q", err)
		}
	})
}

func FuzzTokenFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"entries":[{"issuer":"i","value":"v"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseFile(data)
		if err != nil {
			return
		}
		for key, e := range entries {
			if e.Key != key {
				t.Errorf("entry %v under %v", e.Key, key)
			}
			_, _ = decode[record](e.entry())
		}
	})
}
