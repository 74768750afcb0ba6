package main

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
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
		Name: "mcpool-auth-sigv4", Path: exe, AllowUnverified: true, Env: env, Logger: slog.New(slog.DiscardHandler),
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

// The binary signs as the library does: with the same keys, at the same second, the
// signatures are the same.
func TestTheBinarySignsAsTheLibraryDoes(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
	p, err := launch(t, host.EnvAWS()...).Auth(t.Context(), host.Instance{
		Name: "a", Config: sigv4.Config{Service: "execute-api", Region: "eu-west-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := sigv4.New(sigv4.Config{Service: "execute-api", Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close(t.Context())
	remote, ok := auth.AsSigner(p)
	if !ok {
		t.Fatal("it does not sign")
	}
	req := auth.Request{Target: auth.Target{URL: "https://api.example/mcp"}}
	hr := auth.HTTPRequest{
		Method: "POST", URL: "https://api.example/mcp?a=b%20c", Header: http.Header{"Content-Type": {"application/json"}},
		BodySHA256: sha256.Sum256(nil),
	}
	for { // until both fall into the same second
		one, err := remote.Sign(t.Context(), req, hr)
		if err != nil {
			t.Fatal(err)
		}
		two, err := lib.Sign(t.Context(), req, hr)
		if err != nil {
			t.Fatal(err)
		}
		if one.Header.Get("X-Amz-Date") != two.Header.Get("X-Amz-Date") {
			continue
		}
		if a, b := one.Header.Get("Authorization"), two.Header.Get("Authorization"); a != b || a == "" || one.RawQuery != two.RawQuery {
			t.Errorf("binary %q %q, library %q %q", a, one.RawQuery, b, two.RawQuery)
		}
		return
	}
}
