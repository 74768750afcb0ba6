package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

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
		Name: "mcpool-auth-bearer", Path: exe, AllowUnverified: true, Env: env, Logger: slog.New(slog.DiscardHandler),
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

func TestTheBinarySendsItsToken(t *testing.T) {
	p, err := launch(t).Auth(t.Context(), host.Instance{
		Name: "a", Config: map[string]string{"header": "X-Token", "scheme": "-"},
		Secrets: map[string]auth.Secret{"token": auth.NewSecret("tok-4711")},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Credentials(t.Context(), auth.Request{Target: auth.Target{URL: "https://api.example/mcp"}})
	if err != nil || c.Header.Get("X-Token") != "tok-4711" {
		t.Errorf("%v, %v", c, err)
	}
	if _, ok := auth.AsSigner(p); ok {
		t.Error("it claims to sign")
	}
}

func TestTheBinaryNamesTheFieldsOfAWrongConfiguration(t *testing.T) {
	_, err := launch(t).Auth(t.Context(), host.Instance{
		Name: "a", Config: map[string]string{"file": "/none"},
		Secrets: map[string]auth.Secret{"token": auth.NewSecret("tok-4711")},
	})
	if err == nil || !strings.Contains(err.Error(), "exactly one of them; 2 are") || strings.Contains(err.Error(), "tok-4711") {
		t.Errorf("got %v", err)
	}
}
