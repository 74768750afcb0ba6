package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// TestMain makes the test binary the plugin when a host starts it.
func TestMain(m *testing.M) {
	if os.Getenv("MCPOOL_PLUGIN") != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func launch(t *testing.T, env ...string) *host.Running {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := host.Launch(t.Context(), host.Plugin{
		Name: "mcpool-auth-oauth", Path: exe, AllowUnverified: true, Env: env, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return r
}

// The token endpoint is a real HTTP server on loopback.
func TestTheBinaryObtainsATokenAndKeepsItAcrossACrash(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if id == "" {
			id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
		}
		if id != "client" || secret != "s3cr3t" || r.PostFormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"at-1","token_type":"Bearer","expires_in":3600}`)
	}))
	defer server.Close()
	r := launch(t)
	in := host.Instance{
		Name: "a",
		Config: oauth.Config{ // prints itself redacted, and is sent whole
			Grant: oauth.ClientCredentials, TokenEndpoint: server.URL + "/token", Timeout: time.Minute,
			Client: oauth.Client{ID: "client"}, ScopeLimit: []string{},
		},
		Secrets: map[string]auth.Secret{"client.secret": auth.NewSecret("s3cr3t")},
	}
	p, err := r.Auth(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	req := auth.Request{Target: auth.Target{URL: "https://api.example/mcp"}}
	for range 2 {
		c, err := p.Credentials(t.Context(), req)
		if err != nil || c.Header.Get("Authorization") != "Bearer at-1" || c.Expires.IsZero() {
			t.Fatalf("%v, %v", c, err)
		}
		if proc, err := os.FindProcess(r.Stats().PID); err == nil {
			proc.Kill()
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times: the token was not kept in the state folder", n)
	}
	in.Name, in.Secrets = "b", map[string]auth.Secret{"client.secret": auth.NewSecret("wrong")}
	if p, err = r.Auth(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Credentials(t.Context(), req); !errors.Is(err, auth.ErrCredentialsRejected) {
		t.Errorf("a wrong secret: %v", err)
	}
}
