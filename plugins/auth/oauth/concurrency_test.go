package oauth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestManyCallersCauseOneTokenRequestConcurrentSafe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
			time.Sleep(100 * time.Millisecond)
			as.issue(w, form)
		}
		p := newTest(t, as.machine())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { credentials(t, p, requestFor("", fakeResource)) })
		}
		wg.Wait()
		if n := as.tokenRequests(); n != 1 {
			t.Errorf("%d token requests, want 1", n)
		}
		for i := range 10 {
			wg.Go(func() { credentials(t, p, requestFor(fmt.Sprint("user-", i), fakeResource)) })
		}
		wg.Wait()
		if n := as.tokenRequests(); n != 11 {
			t.Errorf("%d token requests, want one more for each identity", n)
		}
	})
}

func TestProvidersThatShareAStoreShareTheirTokensConcurrentSafe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
			time.Sleep(time.Second)
			as.issue(w, form)
		}
		cfg := as.machine()
		cfg.Store = NewMemoryStore()
		var wg sync.WaitGroup
		for range 5 {
			p := newTest(t, cfg)
			wg.Go(func() { credentials(t, p, requestFor("", fakeResource)) })
		}
		wg.Wait()
		if n := as.tokenRequests(); n != 1 {
			t.Errorf("%d token requests, want 1", n)
		}
	})
}

func TestARefreshOutlivesTheCallerThatCausedIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.refresh = "refresh-token-000000-0123456789"
		as.token = func(w http.ResponseWriter, r *http.Request, form url.Values) {
			time.Sleep(3 * time.Second)
			as.issue(w, form)
		}
		cfg := as.person()
		p := newTest(t, cfg)
		now := time.Now()
		seed(t, cfg.Store, personKey("alice"), record{
			Access: "access-token-old", Refresh: as.refresh, Obtained: now.Add(-2 * time.Hour), Expires: now.Add(-time.Hour), Generation: "g",
		})
		req := requestFor("alice", fakeResource)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Credentials(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the caller's deadline", err)
		}
		time.Sleep(5 * time.Second)
		if got := bearer(t, credentials(t, p, req)); got != "access-token-000001" {
			t.Errorf("got %q: the answer to the refresh was thrown away", got)
		}
		time.Sleep(2 * time.Hour)
		credentials(t, p, req) // with the rotated refresh token
		if as.reused > 0 {
			t.Error("a refresh token was used twice")
		}
	})
}

func TestNoCallWaitsForARefreshWhileTokensExpireEverySecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.refresh, as.lifetime = "refresh-token-000000-0123456789", time.Second
		as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
			time.Sleep(150 * time.Millisecond)
			as.issue(w, form)
		}
		cfg := as.person()
		p := newTest(t, cfg)
		cache := newTestCache(t, p, auth.CacheConfig{})
		seed(t, cfg.Store, personKey("alice"), record{Refresh: as.refresh, Generation: "g"})
		req := requestFor("alice", fakeResource)
		credentials(t, cache, req) // the first one waits
		var calls, waited atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for ctx.Err() == nil {
					began := time.Now()
					c, err := cache.Credentials(t.Context(), req)
					if err != nil {
						t.Errorf("a call failed: %v", err)
						return
					}
					if c.Expired(time.Now()) {
						t.Error("an expired token was handed out")
					}
					calls.Add(1)
					if time.Since(began) > 0 {
						waited.Add(1)
					}
					time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if waited.Load() > 0 {
			t.Errorf("%d of %d calls waited", waited.Load(), calls.Load())
		}
		if n := as.tokenRequests(); n < 60 || n > 150 || as.reused > 0 {
			t.Errorf("%d refreshes in a minute, %d of them with a used token", n, as.reused)
		}
	})
}

func TestAFailedRenewalIsNoFailureWhileTheTokenIsValid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		cfg := as.machine()
		var reported atomic.Int64
		cfg.OnFailure = func(_ auth.Request, err error) {
			mustNotLeak(t, "the reported error", err)
			reported.Add(1)
			panic("a panic in it is swallowed")
		}
		p := newTest(t, cfg)
		req := requestFor("", fakeResource)
		first := credentials(t, p, req)
		as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) { w.WriteHeader(http.StatusBadGateway) }
		time.Sleep(50 * time.Minute) // of an hour
		for range 600 {
			if c := credentials(t, p, req); c.Generation != first.Generation || c.RefreshAfter.Before(time.Now()) {
				t.Fatalf("got %v, to be refreshed after %v", c, c.RefreshAfter)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if n := as.tokenRequests() - 1; n < 4 || n > 15 || reported.Load() != int64(n) {
			t.Errorf("%d attempts in five minutes, %d reported", n, reported.Load())
		}
		time.Sleep(10 * time.Minute)
		if _, err := p.Credentials(t.Context(), req); err == nil {
			t.Error("an expired token was handed out")
		}
		as.token = nil
		credentials(t, p, req)
	})
}

func TestARejectedRenewalIsAFailureAtOnceWhereNobodyCanHelp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		p := newTest(t, as.machine())
		req := requestFor("", fakeResource)
		credentials(t, p, req)
		as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
			oauthError(w, http.StatusUnauthorized, "invalid_client", "gone")
		}
		time.Sleep(50 * time.Minute)
		if _, err := p.Credentials(t.Context(), req); !errors.Is(err, auth.ErrCredentialsRejected) {
			t.Errorf("got %v, want ErrCredentialsRejected", err)
		}
	})
}

func TestCloseLetsARefreshFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
			time.Sleep(3 * time.Second)
			as.issue(w, form)
		}
		cfg := as.machine()
		cfg.Store = NewMemoryStore()
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		req := requestFor("", fakeResource)
		go p.Credentials(t.Context(), req)
		synctest.Wait()
		began := time.Now()
		if err := p.Close(t.Context()); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("Close returned %v after %v", err, time.Since(began))
		}
		if _, err := p.Credentials(t.Context(), req); !errors.Is(err, auth.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := p.Challenge(t.Context(), req, auth.Challenge{Status: 401}); !errors.Is(err, auth.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		next := newTest(t, cfg)
		credentials(t, next, req)
		if n := as.tokenRequests(); n != 1 {
			t.Errorf("%d token requests, want the one before Close", n)
		}
	})
}

func TestCloseCancelsWhatDoesNotFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.token = func(_ http.ResponseWriter, r *http.Request, _ url.Values) { <-r.Context().Done() }
		p, err := New(as.machine())
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := p.Credentials(t.Context(), requestFor("", fakeResource))
			failed <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if err := <-failed; err == nil {
			t.Error("the cancelled request succeeded")
		}
	})
}

func TestAPanicInACallbackIsAnErrorOfThatCall(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	cfg := as.machine()
	cfg.Grant = TokenExchange
	p := newTest(t, cfg)
	req := requestFor("alice", fakeResource)
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { panic(fakeSubject) }
	_, err := p.Credentials(t.Context(), req)
	if _, ok := errors.AsType[*auth.PanicError](err); !ok {
		t.Errorf("got %v, want a PanicError", err)
	}
	mustNotLeak(t, "the error", err)
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { return auth.NewSecret(fakeSubject), nil }
	credentials(t, p, req)
}

// TestAProviderAloneIsCorrectConcurrentSafe mixes everything that can happen to one
// identity, without a cache, on tokens that live a second.
func TestAProviderAloneIsCorrectConcurrentSafe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		as := newFakeAS()
		as.refresh, as.lifetime = "refresh-token-000000-0123456789", time.Second
		as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			if rand.IntN(10) == 0 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			as.issue(w, form)
		}
		cfg := as.person()
		p := newTest(t, cfg)
		seed(t, cfg.Store, personKey("alice"), record{Refresh: as.refresh, Generation: "g"})
		req := requestFor("alice", fakeResource)
		var wg sync.WaitGroup
		var good atomic.Int64
		for range 16 {
			wg.Go(func() {
				for range 300 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(1000))*time.Millisecond)
					c, err := p.Credentials(ctx, req)
					switch {
					case err == nil && c.Expired(time.Now()):
						t.Error("an expired token was handed out")
					case err == nil:
						good.Add(1)
						if rand.IntN(20) == 0 {
							p.Challenge(ctx, req, auth.Challenge{Generation: c.Generation, Status: 401, Header: http.Header{}})
						}
					case errors.Is(err, auth.ErrInteractionRequired), errors.Is(err, auth.ErrCredentialsRejected):
						t.Errorf("the login was lost: %v", err)
					}
					cancel()
					time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if as.reused > 0 || good.Load() < 2000 {
			t.Errorf("%d good calls, %d refresh tokens used twice", good.Load(), as.reused)
		}
	})
}
