package auth

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCacheCloseWakesEveryWaiterAndJoinsTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		p := &fake{}
		p.credentials = func(ctx context.Context, _ Request, _ int64) (Credentials, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
			return Credentials{}, ctx.Err()
		}
		p.close = func(context.Context) error {
			if !ended {
				t.Error("the provider was closed during a call")
			}
			return nil
		}
		c := newCache(t, p, CacheConfig{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				began := time.Now()
				if _, err := c.Credentials(t.Context(), request("a")); !errors.Is(err, ErrClosed) {
					t.Errorf("waiter got %v", err)
				}
				if time.Since(began) != time.Minute/60 {
					t.Errorf("waiter left after %v", time.Since(began))
				}
			})
		}
		time.Sleep(time.Second)
		for range 2 {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if n := p.closes.Load(); n != 1 {
			t.Errorf("the provider was closed %d times", n)
		}
		if _, err := c.Credentials(t.Context(), request("a")); !errors.Is(err, ErrClosed) {
			t.Errorf("Credentials after Close: %v", err)
		}
		if _, err := c.Challenge(t.Context(), request("a"), Challenge{Status: 401}); !errors.Is(err, ErrClosed) {
			t.Errorf("Challenge after Close: %v", err)
		}
	})
}

func TestCacheCloseGivesUpOnAProviderThatIgnoresItsContextAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := &fake{
			credentials: func(context.Context, Request, int64) (Credentials, error) { <-release; return Credentials{}, nil },
			close:       func(context.Context) error { <-release; return nil },
		}
		c := newCache(t, p, CacheConfig{})
		go c.Credentials(t.Context(), request("a"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := c.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		close(release)
		synctest.Wait()
		if n := c.Stats().Running; n != 0 {
			t.Errorf("%d still running", n)
		}
	})
}

func TestCacheCloseLeavesNoTimerBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, &fake{}, CacheConfig{IdleExpiry: time.Minute})
		get(t, c, request("a"))
		c.Close(t.Context())
		c.mu.Lock()
		armed := c.sweeper != nil && c.sweeper.Stop()
		c.mu.Unlock()
		if armed {
			t.Error("the sweeper is still armed")
		}
	})
}
