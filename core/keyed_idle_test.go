package core

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeyedEvictsTheKeyThatWasIdleLongest(t *testing.T) {
	for _, idle := range []time.Duration{Off, time.Hour} {
		t.Run(fmt.Sprint("KeyIdleTime=", idle), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &workshop{}
				cfg := w.keyedConfig()
				cfg.MaxKeys, cfg.KeyIdleTime = 3, idle
				k := newKeyed(t, cfg)
				use(t, k, "a", "b", "c", "d")
				wantKeys(t, k, "b", "c", "d")
				time.Sleep(time.Millisecond)
				use(t, k, "b", "e")
				wantKeys(t, k, "b", "d", "e")
				time.Sleep(time.Minute)
				use(t, k, "d", "d", "b", "f")
				wantKeys(t, k, "b", "d", "f")
				synctest.Wait()
				if w.alive.Load() != 3 {
					t.Errorf("%d resources are open, want the three of the keys served", w.alive.Load())
				}
			})
		})
	}
}

func TestKeyedFailsWithErrTooManyKeysWhileAllAreInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxKeys = 2
		cfg.Pool.Max = 1
		k := newKeyed(t, cfg)
		a, b := get(t, k, "a"), get(t, k, "b")
		if _, err := k.Acquire(t.Context(), "c"); err != ErrTooManyKeys { //nolint:errorlint // nothing is wrapped round it
			t.Errorf("a third key while both are leased: error %v, want ErrTooManyKeys", err)
		}
		if _, ok := k.TryAcquire(t.Context(), "c"); ok {
			t.Error("TryAcquire leased a resource of a third key")
		}
		if a.Value() == nil || b.Value() == nil {
			t.Fatal("a lease was lost for another key")
		}
		// Somebody who waits uses the key as well, even while nothing is leased.
		done := make(chan error, 1)
		go func() {
			l, err := k.Acquire(context.Background(), "a")
			l.Release()
			done <- err
		}()
		synctest.Wait()
		a.Release()
		if err := <-done; err != nil {
			t.Error(err)
		}
		use(t, k, "c")
		wantKeys(t, k, "b", "c")
		if b.Value() == nil {
			t.Error("the key in use was evicted")
		}
		b.Release()
	})
}

func TestKeyedClosesKeysAfterKeyIdleTimeWithAllTheyHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.KeyIdleTime, cfg.Pool.Min = time.Minute, 2
		var mu sync.Mutex
		var reasons []CloseReason
		cfg.Pool.Hooks.CloseEnd = func(_ context.Context, e CloseEnd) {
			mu.Lock()
			defer mu.Unlock()
			reasons = append(reasons, e.Reason)
		}
		cfg.Pool.MaxOpening = 1
		k := newKeyed(t, cfg)
		held := get(t, k, "held")
		use(t, k, "idle", "busy")
		for range 8 { // two minutes
			time.Sleep(15 * time.Second)
			use(t, k, "busy")
		}
		synctest.Wait()
		wantKeys(t, k, "busy", "held")
		if diff := cmp.Diff([]CloseReason{ReasonKeyClosed, ReasonKeyClosed}, reasons); diff != "" {
			t.Errorf("closed resources (-want +got):\n%s", diff)
		}
		if held.Value() == nil || held.Value().closed.Load() {
			t.Error("a leased resource was closed with its key")
		}
		held.Release()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if k.Len() != 0 || w.alive.Load() != 0 {
			t.Errorf("%d keys and %d resources are left of idle keys", k.Len(), w.alive.Load())
		}
		if n := len(*k.read.Load()); n != 0 {
			t.Errorf("%d dropped pools are still remembered", n)
		}
		use(t, k, "idle") // it comes back like any new key
		wantKeys(t, k, "idle")
	})
}

// A key may be closed up to one glance after its time, and never before it.
func TestKeyedNeverClosesAKeyBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.KeyIdleTime, cfg.MaxTotal = 40*time.Second, 2
		k := newKeyed(t, cfg)
		use(t, k, "a")
		time.Sleep(18 * time.Second)
		use(t, k, "a") // between two glances
		l := get(t, k, "b")
		c := get(t, k, "c") // at the limit: looks who is coldest
		l.Release()
		c.Release()
		time.Sleep(39 * time.Second)
		if _, ok := k.KeyStats("a"); !ok {
			t.Error("the key was closed before it was idle for KeyIdleTime")
		}
		time.Sleep(12 * time.Second)
		wantKeys(t, k)
	})
}

func TestKeyedHasNoGoroutineForAnIdleKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.MaxIdleTime, cfg.KeyIdleTime = time.Hour, time.Hour // the keeper is on
		cfg.MaxTotal = Off
		k := newKeyed(t, cfg)
		use(t, k, "first")
		synctest.Wait()
		before := runtime.NumGoroutine()
		for i := range 300 {
			use(t, k, fmt.Sprint(i))
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+5 { // the test framework's own come and go
			t.Errorf("%d goroutines for 301 idle keys, %d for one", after, before)
		}
	})
}

func TestKeyedFindsAKnownKeyWithoutTheLock(t *testing.T) {
	t.Parallel()
	w := &workshop{}
	k := newKeyed(t, w.keyedConfig())
	keys := make([]string, 20)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	use(t, k, keys...)
	use(t, k, keys...) // by now the copy that is read has been renewed
	use(t, k, keys...)
	k.hub.mu.Lock()
	defer k.hub.mu.Unlock()
	for _, key := range keys {
		l, err := k.Acquire(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
}
