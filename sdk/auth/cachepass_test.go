package auth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type signing struct {
	fake
	sign func(ctx context.Context) (Signature, error)
}

func (s *signing) Sign(ctx context.Context, _ Request, _ HTTPRequest) (Signature, error) {
	return s.sign(ctx)
}

type interactive struct {
	fake
	login func(ctx context.Context) error
}

func (i *interactive) Login(ctx context.Context, _ Request, _ Dialog) error { return i.login(ctx) }

func TestOptionalInterfacesStayDetectableThroughTheCache(t *testing.T) {
	for _, tt := range []struct {
		name         string
		p            Provider
		signs, talks bool
	}{
		{"plain", &fake{}, false, false},
		{"signer", &signing{}, true, false},
		{"interactive", &interactive{}, false, true},
	} {
		for layer, p := range []Provider{tt.p, newCache(t, tt.p, CacheConfig{}), newCache(t, newCache(t, tt.p, CacheConfig{}), CacheConfig{})} {
			if s, ok := AsSigner(p); ok != tt.signs || ok && s == nil {
				t.Errorf("%s under %d caches: signer %v", tt.name, layer, ok)
			}
			if i, ok := AsInteractive(p); ok != tt.talks || ok && i == nil {
				t.Errorf("%s under %d caches: interactive %v", tt.name, layer, ok)
			}
		}
	}
}

func TestCacheRecoversAPanicInSignAndWaitsForItAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &signing{sign: func(context.Context) (Signature, error) { time.Sleep(time.Second); panic(token) }}
		c := newCache(t, s, CacheConfig{})
		signer, _ := AsSigner(c)
		began := time.Now()
		s.close = func(context.Context) error {
			if time.Since(began) != time.Second {
				t.Error("closed during Sign")
			}
			return nil
		}
		go func() {
			if _, err := signer.Sign(t.Context(), request("a"), HTTPRequest{}); !errors.As(err, new(*PanicError)) {
				t.Errorf("%v", err)
			}
		}()
		synctest.Wait()
		c.Close(t.Context())
		if _, err := signer.Sign(t.Context(), request("a"), HTTPRequest{}); !errors.Is(err, ErrClosed) {
			t.Errorf("Sign after Close: %v", err)
		}
	})
}

func TestALoginMakesTheCacheForgetTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loggedIn := false
		i := &interactive{login: func(context.Context) error { loggedIn = true; return nil }}
		i.credentials = func(context.Context, Request, int64) (Credentials, error) {
			if !loggedIn {
				return Credentials{}, ErrInteractionRequired
			}
			return Credentials{Header: bearer(token)}, nil
		}
		c := newCache(t, i, CacheConfig{})
		for range 3 {
			if _, err := c.Credentials(t.Context(), request("a")); !errors.Is(err, ErrInteractionRequired) {
				t.Fatal(err)
			}
		}
		login, _ := AsInteractive(c)
		if err := login.Login(t.Context(), request("a"), nil); err != nil {
			t.Fatal(err)
		}
		get(t, c, request("a")) // at once, not after the backoff
	})
}

func TestCloseEndsALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &interactive{login: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		c := newCache(t, i, CacheConfig{})
		login, _ := AsInteractive(c)
		ended := make(chan error, 1)
		go func() { ended <- login.Login(t.Context(), request("a"), nil) }()
		synctest.Wait()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil {
			t.Error("the login did not end")
		}
	})
}

func TestAGenerationPassesThroughTwoCaches(t *testing.T) {
	p := &fake{}
	c := newCache(t, newCache(t, p, CacheConfig{}), CacheConfig{})
	first := get(t, c, request("a"))
	if o, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: first.Generation}); o != Retry || err != nil {
		t.Fatalf("%v, %v", o, err)
	}
	if g := get(t, c, request("a")).Generation; g == first.Generation || p.calls.Load() != 2 || p.challenges.Load() != 1 {
		t.Errorf("generation %s after %s, %d fetches, %d challenges", g, first.Generation, p.calls.Load(), p.challenges.Load())
	}
}
