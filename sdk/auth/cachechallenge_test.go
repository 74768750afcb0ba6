package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCacheChallengeReachesTheProviderOncePerGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{
			credentials: func(_ context.Context, _ Request, n int64) (Credentials, error) {
				return Credentials{Header: bearer(fmt.Sprint(n)), Generation: fmt.Sprint(n)}, nil
			},
			challenge: func(_ context.Context, _ Request, ch Challenge) (Outcome, error) {
				time.Sleep(time.Second)
				if ch.Generation != "1" {
					t.Errorf("challenged generation %q", ch.Generation)
				}
				return Retry, nil
			},
		}
		c := newCache(t, p, CacheConfig{})
		creds := get(t, c, request("a"))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond) // some come late
				o, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: creds.Generation})
				if o != Retry || err != nil {
					t.Errorf("%v, %v", o, err)
				}
				if g := get(t, c, request("a")).Generation; g != "2" {
					t.Errorf("retried with generation %q", g)
				}
			})
		}
		wg.Wait()
		if p.challenges.Load() != 1 || p.calls.Load() != 2 {
			t.Errorf("%d challenges and %d fetches, want 1 and 2", p.challenges.Load(), p.calls.Load())
		}
	})
}

func TestCacheNumbersGenerationsThatTheProviderLeavesOut(t *testing.T) {
	p := &fake{challenge: func(_ context.Context, _ Request, ch Challenge) (Outcome, error) {
		if ch.Generation != "" {
			return GiveUp, fmt.Errorf("the provider never said %q", ch.Generation)
		}
		return Retry, nil
	}}
	c := newCache(t, p, CacheConfig{})
	seen := make(map[string]bool)
	for range 3 {
		g := get(t, c, request("a")).Generation
		if g == "" || seen[g] {
			t.Fatalf("generation %q", g)
		}
		seen[g] = true
		c.keys.lookup(&Request{Identity: Identity{ID: "a"}, Target: request("a").Target}).strikes = 0
		if o, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: g}); o != Retry {
			t.Fatalf("%v, %v", o, err)
		}
	}
}

func TestCacheAChallengeOfOneIdentityIsNotAnothers(t *testing.T) {
	p := &fake{}
	c := newCache(t, p, CacheConfig{})
	a, b := get(t, c, request("a")), get(t, c, request("b"))
	c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: a.Generation})
	if g := get(t, c, request("b")).Generation; g != b.Generation {
		t.Error("b's credentials were refreshed for a's challenge")
	}
}

func TestCacheAsksTheProviderForEveryStepUp(t *testing.T) {
	p := &fake{}
	c := newCache(t, p, CacheConfig{})
	g := get(t, c, request("a")).Generation
	for i, scope := range []string{"read", "write", "admin"} {
		ch := Challenge{Status: 403, Generation: g, Header: http.Header{
			"Www-Authenticate": {fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q`, scope)},
		}}
		if o, err := c.Challenge(t.Context(), request("a"), ch); o != Retry || err != nil {
			t.Errorf("%v, %v", o, err)
		}
		if n := p.challenges.Load(); n != int64(i+1) {
			t.Errorf("after scope %s: %d challenges", scope, n)
		}
	}
}

func TestCachePassesGenerationsItDoesNotKnowToTheProvider(t *testing.T) {
	p := &fake{}
	c := newCache(t, p, CacheConfig{})
	g := get(t, c, request("a")).Generation
	if o, _ := c.Challenge(t.Context(), request("a"), Challenge{Status: 403, Generation: "signer-7"}); o != Retry {
		t.Error(o)
	}
	if p.challenges.Load() != 1 {
		t.Error("the provider was not asked")
	}
	if get(t, c, request("a")).Generation != g {
		t.Error("credentials were dropped for a generation that is not theirs")
	}
}

func TestCacheRemembersThatAChallengeIsHopeless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{challenge: func(context.Context, Request, Challenge) (Outcome, error) { return NeedsLogin, ErrInteractionRequired }}
		c := newCache(t, p, CacheConfig{BackoffMax: 10 * time.Second})
		g := get(t, c, request("a")).Generation
		for i := range 600 {
			o, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: g})
			if o != NeedsLogin || !errors.Is(err, ErrInteractionRequired) {
				t.Fatalf("call %d: %v, %v", i, o, err)
			}
			time.Sleep(time.Second)
		}
		if n := p.challenges.Load(); n > 85 {
			t.Errorf("%d challenges in ten minutes", n)
		}
	})
}

func TestCacheSlowsDownForATargetThatRefusesEveryFreshCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		c := newCache(t, p, CacheConfig{BackoffMin: time.Second, BackoffMax: 10 * time.Second})
		var refused int
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(50 * time.Millisecond) {
			g := get(t, c, request("a")).Generation
			o, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: g})
			if o == GiveUp {
				refused++
				if !errors.Is(err, ErrCredentialsRejected) || !errors.As(err, new(*BackoffError)) {
					t.Fatalf("refused with %v", err)
				}
			}
		}
		if n := p.challenges.Load(); n > 70 || n < 50 || refused == 0 {
			t.Errorf("%d refreshes in ten minutes of refusals, %d answered from memory", n, refused)
		}
		time.Sleep(time.Hour) // it recovered
		g := get(t, c, request("a")).Generation
		if o, _ := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: g}); o != Retry {
			t.Errorf("a revocation an hour later: %v", o)
		}
	})
}

// model of concurrent use: whatever happens, a caller sees valid credentials of
// its own identity or an error.
func TestCacheConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{
			credentials: func(ctx context.Context, req Request, n int64) (Credentials, error) {
				time.Sleep(time.Duration(n%7) * 10 * time.Millisecond)
				if n%11 == 0 {
					return Credentials{}, errors.New("boom")
				}
				return Credentials{Header: bearer(req.Identity.ID), Expires: time.Now().Add(time.Duration(1+n%3) * time.Second)}, nil
			},
			challenge: func(_ context.Context, _ Request, ch Challenge) (Outcome, error) {
				time.Sleep(5 * time.Millisecond)
				return Outcome(ch.Status % 3), nil
			},
		}
		c := newCache(t, p, CacheConfig{MaxKeys: 20, IdleExpiry: 5 * time.Second, BackoffMin: 20 * time.Millisecond, BackoffMax: 100 * time.Millisecond})
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for i := range 500 {
					id := fmt.Sprint((g*i + i) % 30)
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
					creds, err := c.Credentials(ctx, request(id))
					cancel()
					switch {
					case err != nil:
					case creds.Header.Get("Authorization") != "Bearer "+id:
						t.Errorf("%s got %s", id, creds.Header.Get("Authorization"))
					case creds.Expired(time.Now()):
						t.Error("expired")
					}
					if i%10 == 0 {
						c.Challenge(t.Context(), request(id), Challenge{Status: 400 + i%4, Generation: creds.Generation})
					}
					if i%97 == 0 {
						c.Forget(request(id))
					}
					time.Sleep(time.Duration(i%13) * time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}
