package core

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// occupy checks that l is on a resource of key that nobody else uses, for a while.
func occupy(t testing.TB, l Lease[*thing], key string, share int32) {
	res := l.Value()
	if res == nil || res.key != key {
		t.Errorf("a lease for key %s is on the resource %+v", key, res)
		return
	}
	if n := res.users.Add(1); n > share {
		t.Errorf("%d leases on one resource of key %s", n, key)
	}
	if res.closed.Load() {
		t.Errorf("a leased resource of key %s is closed", key)
	}
	for range rand.IntN(4) {
		runtime.Gosched()
	}
	res.users.Add(-1)
}

func balance(t testing.TB, w *workshop, s Stats, limit int) {
	t.Helper()
	if w.peak.Load() > int64(limit) {
		t.Errorf("%d resources were open at once, the limit is %d", w.peak.Load(), limit)
	}
	if s.Leased != 0 || s.Waiting != 0 || s.Acquired != s.Released {
		t.Errorf("at the end: %d leased, %d waiting, %d acquired, %d released", s.Leased, s.Waiting, s.Acquired, s.Released)
	}
	if live := s.Opened - s.Closed - s.Detached; live != uint64(s.Live) {
		t.Errorf("%d opened, %d closed, %d detached, but %d alive", s.Opened, s.Closed, s.Detached, s.Live)
	}
	if int64(s.Live+s.Closing) != w.alive.Load() || s.Opened != uint64(w.made.Load()) {
		t.Errorf("the books say %d alive and %d made, Stats %d (and %d closing) and %d",
			w.alive.Load(), w.made.Load(), s.Live, s.Closing, s.Opened)
	}
}

// In a bubble without a single timer a lost wakeup is a deadlock, and found.
func TestKeyedLosesNoWakeupAtTheLimitConcurrentSafe(t *testing.T) {
	for _, c := range []struct{ keys, total, perKey, share, maxKeys int }{
		{keys: 12, total: 1, perKey: 1, share: 1},
		{keys: 12, total: 3, perKey: 2, share: 1},
		{keys: 5, total: 4, perKey: 4, share: 1},
		{keys: 40, total: 3, perKey: 3, share: 1, maxKeys: 50},
		{keys: 6, total: 2, perKey: 2, share: 3},
		{keys: 3, total: 2, perKey: 1, share: 4},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &workshop{}
				cfg := w.keyedConfig()
				cfg.MaxTotal, cfg.Pool.Max, cfg.Pool.ShareLimit, cfg.MaxKeys = c.total, c.perKey, c.share, c.maxKeys
				k := newKeyed(t, cfg)
				began := time.Now()
				var all sync.WaitGroup
				for range 24 {
					all.Go(func() {
						for range 60 {
							key := fmt.Sprint(rand.IntN(c.keys))
							ctx, cancel := context.WithCancel(context.Background())
							leave := rand.IntN(4) == 0
							if leave {
								go cancel()
							}
							l, err := k.AcquireWith(ctx, key, AcquireOptions{Exclusive: rand.IntN(4) == 0})
							if err == nil {
								occupy(t, l, key, int32(c.share))
								if rand.IntN(20) == 0 {
									l.Discard(nil)
								}
								l.Release()
							} else if !leave || !errors.Is(err, context.Canceled) {
								t.Errorf("Acquire(%q): %v", key, err)
							}
							cancel()
						}
					})
				}
				all.Wait()
				synctest.Wait()
				if took := time.Since(began); took > 0 {
					t.Errorf("it took %v until a clock woke the waiters", took)
				}
				if k.hub.pledged != 0 || k.hub.starved.Load() != 0 || len(k.hub.hungry) != 0 {
					t.Errorf("at rest: %d slots pledged, %d opens starve, %d pools hungry",
						k.hub.pledged, k.hub.starved.Load(), len(k.hub.hungry))
				}
				balance(t, w, k.Stats(), c.total)
			})
		})
	}
}

// Keys come and go under the callers' hands: a key that is not too many is served.
func TestKeyedAcquireRacesWithTheDropOfItsKeyConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxKeys, cfg.Pool.Max, cfg.MaxTotal = 3, 2, 8
		k := newKeyed(t, cfg)
		var all sync.WaitGroup
		var refused, served atomic.Int64
		for range 8 {
			all.Go(func() {
				for range 300 {
					key := fmt.Sprint(rand.IntN(6))
					l, err := k.Acquire(t.Context(), key)
					if errors.Is(err, ErrTooManyKeys) {
						refused.Add(1)
						runtime.Gosched()
						continue
					}
					if err != nil {
						t.Errorf("Acquire(%q): %v", key, err)
						continue
					}
					served.Add(1)
					occupy(t, l, key, 1)
					l.Release()
				}
			})
		}
		all.Wait()
		synctest.Wait()
		s := k.Stats()
		if served.Load() == 0 || s.Acquired != uint64(served.Load()) || s.ClosedBy[ReasonKeyClosed] == 0 {
			t.Errorf("%d served and %d refused; Stats has %d acquired and %d closed with their keys",
				served.Load(), refused.Load(), s.Acquired, s.ClosedBy[ReasonKeyClosed])
		}
		if k.Len() > 3 {
			t.Errorf("%d keys, MaxKeys is 3", k.Len())
		}
		balance(t, w, s, 8) // those of dropped keys that are still closing included
	})
}

// counters returns what must never go backwards.
func counters(s Stats) []uint64 {
	return append([]uint64{
		s.Acquired, s.Released, s.Waits, uint64(s.WaitTime), s.Opened, s.OpenFailures, s.Retries, s.Closed,
		s.CloseErrors, s.Detached, s.Revoked, s.Probes, s.ProbeFailures, s.Resets, s.StaleReleases, s.Leaks,
		s.Panics, s.DroppedEvents, s.CircuitOpens,
	}, s.ClosedBy[:]...)
}

func TestKeyedStatsNeverGoBackwardsWhileKeysAreDroppedConcurrentSafe(t *testing.T) {
	t.Parallel()
	w := &workshop{}
	cfg := w.keyedConfig()
	cfg.MaxTotal, cfg.MaxKeys, cfg.KeyIdleTime = 4, 5, time.Millisecond
	cfg.Pool.CircuitFailures, cfg.Pool.RetryMin = Off, time.Nanosecond
	cfg.KeyFault = func(error) bool { return true }
	w.refuse("0", errUnreachable)
	k := newKeyed(t, cfg)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for range 300 {
				key := fmt.Sprint(rand.IntN(8))
				l, err := k.Acquire(t.Context(), key)
				if err == nil {
					occupy(t, l, key, 1)
					if rand.IntN(9) == 0 {
						l.Detach()
					}
					l.Release()
					l.Release() // a stale one, perhaps after the drop of the key
				}
			}
		})
	}
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		last := counters(k.Stats())
		for {
			s := k.Stats()
			now := counters(s)
			for i := range now {
				if now[i] < last[i] {
					t.Errorf("counter %d went from %d to %d", i, last[i], now[i])
				}
			}
			if s.Acquired-s.Released != uint64(s.Leased) || s.Opened-s.Closed-s.Detached != uint64(s.Live) {
				t.Errorf("Stats do not agree: %+v", s)
			}
			last = now
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	all.Wait()
	close(stop)
	<-watched
	if s := k.Stats(); s.StaleReleases != s.Released+s.Detached {
		t.Errorf("%d stale releases, want one for each of %d leases and another for each of %d detached",
			s.StaleReleases, s.Released, s.Detached)
	}
}

// Callers of one key who never let go for long must not keep another key waiting,
// even those who do not wait in line.
func TestKeyedIsServedBesideAKeyThatNeverRestsConcurrentSafe(t *testing.T) {
	t.Parallel()
	w := &workshop{}
	cfg := w.keyedConfig()
	cfg.MaxTotal = 2
	k := newKeyed(t, cfg)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if i%2 == 0 {
					l, _ := k.TryAcquire(t.Context(), "busy")
					l.Release()
				} else if l, err := k.Acquire(t.Context(), "busy"); err == nil {
					l.Release()
				}
			}
		})
	}
	var longest time.Duration
	for range 50 {
		began := time.Now()
		use(t, k, "quiet") // get gives it a minute
		longest = max(longest, time.Since(began))
	}
	close(stop)
	all.Wait()
	t.Logf("the quiet key waited %v at the most", longest)
}
