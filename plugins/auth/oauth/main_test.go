package oauth

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestMain(m *testing.M) {
	if run := os.Getenv(childEnv); run != "" {
		os.Exit(child(run))
	}
	code := m.Run()
	sharedOIDC.server.stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func newTest(t *testing.T, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func newTestCache(t *testing.T, p *Provider, cfg auth.CacheConfig) *auth.Cache {
	t.Helper()
	c, err := auth.NewCache(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func requestFor(id, url string, scopes ...string) auth.Request {
	return auth.Request{Identity: auth.Identity{ID: id}, Target: auth.Target{Name: "test", URL: url}, Scopes: scopes}
}

func credentials(t *testing.T, p auth.Provider, req auth.Request) auth.Credentials {
	t.Helper()
	c, err := p.Credentials(t.Context(), req)
	if err != nil {
		t.Fatalf("Credentials: %v", err)
	}
	return c
}

func bearer(t *testing.T, c auth.Credentials) string {
	t.Helper()
	const prefix = "Bearer "
	h := c.Header.Get("Authorization")
	if len(h) <= len(prefix) || h[:len(prefix)] != prefix {
		t.Fatalf("no bearer token in %v", c)
	}
	return h[len(prefix):]
}

// waitFor polls until ok, under the test's deadline.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("gave up waiting")
		}
	}
}
