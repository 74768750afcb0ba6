package auth

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCacheRemembersAFailureAndSaysWhenItTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		p := &fake{credentials: func(context.Context, Request, int64) (Credentials, error) { return Credentials{}, boom }}
		c := newCache(t, p, CacheConfig{BackoffMin: time.Second, BackoffMax: 10 * time.Second})
		if _, err := c.Credentials(t.Context(), request("a")); !errors.Is(err, boom) {
			t.Fatalf("first error: %v", err)
		}
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			asked := time.Now()
			calls := p.calls.Load()
			_, err := c.Credentials(t.Context(), request("a"))
			if !errors.Is(err, boom) {
				t.Fatalf("the failure is not the provider's: %v", err)
			}
			b, remembered := errors.AsType[*BackoffError](err)
			if remembered == (p.calls.Load() != calls) {
				t.Fatalf("remembered=%v, but the provider was called: %v", remembered, !remembered)
			}
			if remembered && (!b.RetryAt.After(asked) || b.RetryAt.After(asked.Add(12*time.Second))) {
				t.Fatalf("next try at %v, in %v", b.RetryAt, b.RetryAt.Sub(asked))
			}
		}
		// 600 s at 10 s ± 2 s each, after the doubling.
		if n := p.calls.Load(); n < 50 || n > 82 {
			t.Errorf("%d calls in ten minutes", n)
		}
		if _, err := c.Credentials(t.Context(), request("b")); errors.As(err, new(*BackoffError)) {
			t.Error("one identity's failure is another's")
		}
	})
}

func TestCacheStaysAwayAsLongAsAThrottledErrorSaysWithinReason(t *testing.T) {
	for _, tt := range []struct{ say, want time.Duration }{
		{2 * time.Minute, 2 * time.Minute},
		{365 * 24 * time.Hour, 15 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &fake{credentials: func(context.Context, Request, int64) (Credentials, error) {
				return Credentials{}, &ThrottledError{RetryAfter: tt.say}
			}}
			c := newCache(t, p, CacheConfig{})
			c.Credentials(t.Context(), request("a"))
			began := time.Now()
			for p.calls.Load() == 1 {
				time.Sleep(time.Second)
				c.Credentials(t.Context(), request("a"))
			}
			if waited := time.Since(began); waited < tt.want || waited > tt.want+2*time.Second {
				t.Errorf("throttled for %v: tried again after %v, want %v", tt.say, waited, tt.want)
			}
		})
	}
}

func TestCacheUsesValidCredentialsWhileTheProviderIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{credentials: func(_ context.Context, _ Request, n int64) (Credentials, error) {
			if n > 1 {
				return Credentials{}, errors.New("plugin died")
			}
			return Credentials{Header: bearer(token), Expires: time.Now().Add(time.Hour)}, nil
		}, challenge: func(context.Context, Request, Challenge) (Outcome, error) {
			return Retry, errors.New("plugin died")
		}}
		c := newCache(t, p, CacheConfig{})
		creds := get(t, c, request("a"))
		for began := time.Now(); time.Since(began) < 59*time.Minute; time.Sleep(10 * time.Second) {
			get(t, c, request("a"))
		}
		if n := p.calls.Load(); n < 5 || n > 40 {
			t.Errorf("%d calls: the background refresh does not back off", n)
		}
		if o, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: creds.Generation}); o != GiveUp || err == nil {
			t.Errorf("challenge of a dead provider: %v, %v", o, err)
		}
		get(t, c, request("a"))
		time.Sleep(2 * time.Minute)
		if _, err := c.Credentials(t.Context(), request("a")); err == nil {
			t.Error("expired credentials are handed out")
		}
	})
}

func TestCacheLetsEverybodyGoWhenTheProviderHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := &fake{credentials: func(context.Context, Request, int64) (Credentials, error) {
			<-release // ignores its context
			return Credentials{Header: bearer(token)}, nil
		}}
		c := newCache(t, p, CacheConfig{Timeout: time.Second, BackoffMin: time.Second})
		began := time.Now()
		_, err := c.Credentials(t.Context(), request("a"))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		for range 100 {
			time.Sleep(time.Minute)
			if _, err := c.Credentials(t.Context(), request("a")); !errors.As(err, new(*BackoffError)) {
				t.Fatalf("while it hangs: %v", err)
			}
		}
		if n := p.calls.Load(); n != 1 {
			t.Errorf("%d calls pile up in a provider that hangs", n)
		}
		close(release)
		synctest.Wait()
		get(t, c, request("a")) // what came late is still good
		if n := p.calls.Load(); n != 1 {
			t.Errorf("the late result was thrown away")
		}
	})
}

func TestCacheRecoversAPanicAndAGoexitOfTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{
			credentials: func(_ context.Context, _ Request, n int64) (Credentials, error) {
				switch n {
				case 1:
					panic(token)
				case 2:
					runtime.Goexit()
				}
				return Credentials{Header: bearer(token)}, nil
			},
			challenge: func(context.Context, Request, Challenge) (Outcome, error) { panic(token) },
			close:     func(context.Context) error { panic(token) },
		}
		c, err := NewCache(p, CacheConfig{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Credentials(t.Context(), request("a"))
		if _, ok := errors.AsType[*PanicError](err); !ok {
			t.Errorf("panic became %v", err)
		}
		time.Sleep(time.Minute)
		if _, err = c.Credentials(t.Context(), request("a")); err == nil {
			t.Error("Goexit became no error")
		}
		time.Sleep(time.Minute)
		creds := get(t, c, request("a"))
		if o, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401, Generation: creds.Generation}); o != GiveUp || !errors.As(err, new(*PanicError)) {
			t.Errorf("challenge: %v, %v", o, err)
		}
		err = c.Close(t.Context())
		if _, ok := errors.AsType[*PanicError](err); !ok {
			t.Errorf("close: %v", err)
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("the panic's value is shown: %v", err)
		}
	})
}

func TestCacheRefusesCredentialsThatAreExpiredOrSetReservedHeaders(t *testing.T) {
	for name, creds := range map[string]Credentials{
		"expired":  {Header: bearer(token), Expires: time.Now().Add(-time.Minute)},
		"reserved": {Header: map[string][]string{"mcp-session-id": {token}}},
		"crlf":     {Header: map[string][]string{"Authorization": {token + "\r\nX: y"}}},
	} {
		c := newCache(t, &fake{credentials: func(context.Context, Request, int64) (Credentials, error) { return creds, nil }}, CacheConfig{})
		_, err := c.Credentials(t.Context(), request("a"))
		if err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCacheTellsOnRefreshWhatHappenedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan Refresh, 10)
		p := &fake{credentials: func(_ context.Context, _ Request, n int64) (Credentials, error) {
			time.Sleep(time.Second)
			if n > 1 {
				return Credentials{}, errors.New("boom")
			}
			return Credentials{Header: bearer(token), Expires: time.Now().Add(time.Hour)}, nil
		}}
		c := newCache(t, p, CacheConfig{OnRefresh: func(r Refresh) { events <- r; panic("ignored") }})
		get(t, c, request("a"))
		if r := <-events; r.Background || r.Err != nil || r.Took != time.Second || r.Request.Identity.ID != "a" {
			t.Errorf("%+v", r)
		}
		time.Sleep(50 * time.Minute)
		get(t, c, request("a"))
		if r := <-events; !r.Background || r.Err == nil {
			t.Errorf("background: %v %v", r.Background, r.Err)
		}
	})
}
