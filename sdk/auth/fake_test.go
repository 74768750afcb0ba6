package auth

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
)

const token = "tok-7f3a-very-secret"

// fake is a Provider made of functions; nil ones do the least.
type fake struct {
	credentials func(ctx context.Context, req Request, n int64) (Credentials, error)
	challenge   func(ctx context.Context, req Request, ch Challenge) (Outcome, error)
	close       func(ctx context.Context) error

	calls, challenges, closes atomic.Int64
}

func (f *fake) Credentials(ctx context.Context, req Request) (Credentials, error) {
	n := f.calls.Add(1)
	if f.credentials == nil {
		return Credentials{Header: bearer(token)}, nil
	}
	return f.credentials(ctx, req, n)
}

func (f *fake) Challenge(ctx context.Context, req Request, ch Challenge) (Outcome, error) {
	f.challenges.Add(1)
	if f.challenge == nil {
		return Retry, nil
	}
	return f.challenge(ctx, req, ch)
}

func (f *fake) Close(ctx context.Context) error {
	f.closes.Add(1)
	if f.close == nil {
		return nil
	}
	return f.close(ctx)
}

func bearer(t string) http.Header { return http.Header{"Authorization": {"Bearer " + t}} }

func newCache(t *testing.T, p Provider, cfg CacheConfig) *Cache {
	t.Helper()
	c, err := NewCache(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func get(t *testing.T, c *Cache, req Request) Credentials {
	t.Helper()
	creds, err := c.Credentials(t.Context(), req)
	if err != nil {
		t.Fatalf("Credentials: %v", err)
	}
	return creds
}

func request(id string) Request {
	return Request{Identity: Identity{ID: id}, Target: Target{Name: "crm", URL: "https://crm.example/mcp"}}
}
