package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCacheAsksTheProviderOnceForManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{credentials: func(ctx context.Context, _ Request, _ int64) (Credentials, error) {
			time.Sleep(time.Second)
			return Credentials{Header: bearer(token)}, nil
		}}
		c := newCache(t, p, CacheConfig{})
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { get(t, c, request("a")) })
		}
		wg.Wait()
		if n := p.calls.Load(); n != 1 {
			t.Errorf("%d calls of the provider, want 1", n)
		}
	})
}

func TestCacheNeverMakesAHolderOfAValidCredentialWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = time.Second
		p := &fake{credentials: func(ctx context.Context, _ Request, n int64) (Credentials, error) {
			if n > 1 {
				time.Sleep(100 * time.Millisecond) // a slow token endpoint
			}
			return Credentials{Header: bearer(token), Expires: time.Now().Add(lifetime)}, nil
		}}
		c := newCache(t, p, CacheConfig{})
		get(t, c, request("a"))
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
			asked := time.Now()
			creds := get(t, c, request("a"))
			if waited := time.Since(asked); waited > 0 {
				t.Fatalf("waited %v with a valid credential", waited)
			}
			if creds.Expired(time.Now()) {
				t.Fatalf("got an expired credential after %v", time.Since(began))
			}
		}
		if n := p.calls.Load(); n < 60 || n > 100 {
			t.Errorf("%d refreshes in a minute of one-second tokens", n)
		}
	})
}

func TestCacheRefreshesInTheWindowThatTheProviderNames(t *testing.T) {
	for _, tt := range []struct {
		name           string
		after, expires time.Duration
		from, to       time.Duration // when the refresh must have started
	}{
		{"RefreshAfter", 10 * time.Minute, 60 * time.Minute, 10 * time.Minute, 15*time.Minute + time.Second},
		{"a fraction of the lifetime", 0, 60 * time.Minute, 42 * time.Minute, 48*time.Minute + time.Second},
		{"RefreshAfter without an end", 10 * time.Minute, 0, 10 * time.Minute, 11*time.Minute + time.Second},
		{"RefreshAfter in the past", -time.Minute, 10 * time.Minute, 500 * time.Millisecond, 70 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var second time.Time
				p := &fake{credentials: func(_ context.Context, _ Request, n int64) (Credentials, error) {
					now := time.Now()
					if n == 2 {
						second = now
					}
					c := Credentials{Header: bearer(token)}
					if tt.after != 0 {
						c.RefreshAfter = now.Add(tt.after)
					}
					if tt.expires != 0 {
						c.Expires = now.Add(tt.expires)
					}
					return c, nil
				}}
				c := newCache(t, p, CacheConfig{})
				began := time.Now()
				for time.Since(began) < tt.to+time.Second && p.calls.Load() < 2 {
					get(t, c, request("a"))
					synctest.Wait()
					time.Sleep(100 * time.Millisecond)
				}
				if at := second.Sub(began); second.IsZero() || at < tt.from || at > tt.to {
					t.Errorf("refreshed after %v, want between %v and %v", at, tt.from, tt.to)
				}
			})
		})
	}
}

func TestCacheSpreadsTheRefreshesOfIdentitiesThatCameTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := make(map[int64]bool)
		for range 100 {
			h := hold(Credentials{Expires: time.Now().Add(time.Hour)}, time.Now(), time.Second)
			at[h.refreshAt] = true
		}
		if len(at) < 90 {
			t.Errorf("100 identities refresh at %d different times", len(at))
		}
	})
}

func TestARefreshAfterInThePastDoesNotMakeEveryUseARefresh(t *testing.T) {
	now := time.Now()
	for _, c := range []Credentials{
		{RefreshAfter: now.Add(-time.Hour)},
		{RefreshAfter: now.Add(-time.Hour), Expires: now.Add(time.Second)},
		{RefreshAfter: time.Unix(0, 0), Expires: now.Add(time.Hour)},
	} {
		if h := hold(c, now, time.Second); h.refreshAt < now.Add(400*time.Millisecond).UnixNano() || h.refreshAt > h.validUntil {
			t.Errorf("%v refreshes after %v", c, time.Duration(h.refreshAt-now.UnixNano()))
		}
	}
}

func TestCacheKeepsIdentitiesTargetsAndScopesApart(t *testing.T) {
	for _, collide := range []bool{false, true} {
		t.Run(fmt.Sprintf("collide=%v", collide), func(t *testing.T) {
			p := &fake{credentials: func(_ context.Context, req Request, _ int64) (Credentials, error) {
				return Credentials{Header: bearer(fmt.Sprint(req.Identity.ID, req.Identity.Attrs["team"], req.Target.Name,
					req.Target.URL, req.Target.Resource, strings.Join(req.Scopes, "+")))}, nil
			}}
			c := newCache(t, p, CacheConfig{})
			c.keys.collide = collide
			base := request("a")
			reqs := []Request{base, request("b")}
			for _, change := range []func(*Request){
				func(r *Request) { r.Identity.Attrs = map[string]string{"team": "red"} },
				func(r *Request) { r.Identity.Attrs = map[string]string{"team": "blue"} },
				func(r *Request) { r.Target.Name = "other" },
				func(r *Request) { r.Target.URL += "/2" },
				func(r *Request) { r.Target.Resource = "urn:x" },
				func(r *Request) { r.Scopes = []string{"read"} },
				func(r *Request) { r.Scopes = []string{"read", "write"} },
			} {
				r := base
				change(&r)
				reqs = append(reqs, r)
			}
			seen := make(map[string]bool)
			for round := range 3 {
				for _, r := range reqs {
					got := get(t, c, r).Header.Get("Authorization")
					if round == 0 && seen[got] {
						t.Errorf("%v shares credentials with another", r)
					}
					seen[got] = true
				}
			}
			if len(seen) != len(reqs) {
				t.Errorf("%d different credentials for %d requests", len(seen), len(reqs))
			}
			if want := int64(len(reqs)); !collide && p.calls.Load() != want {
				t.Errorf("%d calls, want %d", p.calls.Load(), want)
			}
		})
	}
}

func TestCacheCallSurvivesTheCallerThatStartedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		p := &fake{credentials: func(ctx context.Context, _ Request, _ int64) (Credentials, error) {
			if ctx.Value(key{}) != "kept" {
				t.Errorf("the caller's values are lost")
			}
			select {
			case <-time.After(time.Second):
				return Credentials{Header: bearer(token)}, nil
			case <-ctx.Done():
				return Credentials{}, ctx.Err()
			}
		}}
		c := newCache(t, p, CacheConfig{})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "kept"), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Credentials(ctx, request("a")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient caller got %v", err)
			}
			if waited := time.Since(began); waited != 10*time.Millisecond {
				t.Errorf("the impatient caller left after %v", waited)
			}
		})
		wg.Go(func() {
			time.Sleep(5 * time.Millisecond)
			get(t, c, request("a"))
		})
		wg.Wait()
		if n := p.calls.Load(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestCacheGivesTheProviderACopyThatTheCallerCannotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{credentials: func(ctx context.Context, req Request, _ int64) (Credentials, error) {
			time.Sleep(time.Second)
			if req.Identity.Attrs["team"] != "red" || req.Scopes[0] != "read" {
				t.Errorf("the caller changed the request under the provider: %v", req.Identity.Attrs)
			}
			return Credentials{Header: bearer(token)}, nil
		}}
		c := newCache(t, p, CacheConfig{})
		req := request("a")
		req.Identity.Attrs, req.Scopes = map[string]string{"team": "red"}, []string{"read"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		c.Credentials(ctx, req)
		req.Identity.Attrs["team"], req.Scopes[0] = "blue", "write"
		time.Sleep(2 * time.Second)
	})
}

func TestCacheIsBoundedAndDropsTheLeastRecentlyUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		c := newCache(t, p, CacheConfig{MaxKeys: 100})
		for i := range 1000 {
			get(t, c, request("hot"))
			get(t, c, request(fmt.Sprint(i)))
			if n := c.Stats().Keys; n > 100 {
				t.Fatalf("%d keys with MaxKeys 100", n)
			}
			time.Sleep(2 * time.Second)
		}
		if n := p.calls.Load(); n != 1001 {
			t.Errorf("%d fetches: the key in constant use was dropped", n)
		}
	})
}

func TestCacheDropsWhatIsIdleWithoutBeingAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		c := newCache(t, p, CacheConfig{IdleExpiry: time.Hour})
		for i := range 50 {
			get(t, c, request(fmt.Sprint(i)))
		}
		for range 20 {
			time.Sleep(6 * time.Minute)
			get(t, c, request("0"))
		}
		synctest.Wait()
		if n := c.Stats().Keys; n != 1 || p.calls.Load() != 50 {
			t.Errorf("%d keys after two hours and %d fetches, want the one in use, and 50", n, p.calls.Load())
		}
	})
}

func TestCacheCostsNoGoroutinePerIdentity(t *testing.T) {
	c := newCache(t, &fake{credentials: func(context.Context, Request, int64) (Credentials, error) {
		return Credentials{Header: bearer(token), Expires: time.Now().Add(time.Hour)}, nil
	}}, CacheConfig{})
	before := runtime.NumGoroutine()
	for i := range 1000 {
		get(t, c, request(fmt.Sprint(i)))
	}
	// A goroutine that has done its work may have no processor to end on.
	late := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before+1 {
		if time.Now().After(late) {
			t.Fatalf("1000 identities hold %d goroutines", runtime.NumGoroutine()-before)
		}
		<-time.After(time.Millisecond)
	}
}

func TestCacheHitAllocatesNothing(t *testing.T) {
	c := newCache(t, &fake{}, CacheConfig{})
	req := request("a")
	req.Identity.Attrs, req.Scopes = map[string]string{"team": "red", "stage": "prod"}, []string{"read"}
	get(t, c, req)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { c.Credentials(ctx, req) }); n != 0 {
		t.Errorf("%v allocations for a remembered credential", n)
	}
}

func TestCacheConfigReportsEveryFaultAtOnce(t *testing.T) {
	_, err := NewCache(nil, CacheConfig{Timeout: -1, MaxKeys: -2, IdleExpiry: -3, BackoffMin: time.Hour, BackoffMax: time.Minute, RetryAfterMax: -1})
	for _, field := range []string{"provider", "Timeout", "MaxKeys", "IdleExpiry", "BackoffMax", "RetryAfterMax"} {
		if !strings.Contains(fmt.Sprint(err), field) {
			t.Errorf("%s is missing in: %v", field, err)
		}
	}
	if _, ok := errors.AsType[*ConfigError](err); !ok {
		t.Errorf("no ConfigError in %v", err)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	c, err := NewCache(&fake{credentials: func(context.Context, Request, int64) (Credentials, error) {
		return Credentials{Header: bearer(token), Expires: time.Now().Add(time.Hour)}, nil
	}}, CacheConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, n := range []int{1, 1000} {
		for i := range n {
			c.Credentials(b.Context(), request(fmt.Sprint(i)))
		}
		req := request("0")
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Credentials(b.Context(), req)
			}
		})
		b.Run(fmt.Sprintf("keys=%d/parallel", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c.Credentials(context.Background(), req)
				}
			})
		})
	}
}
