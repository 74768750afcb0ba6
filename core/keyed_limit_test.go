package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// queue has callers wait for the given keys, in this order, and returns where
// each says that it was served, and what lets it go on.
func queue(t *testing.T, k *Keyed[string, *thing], keys ...string) (served chan string, next chan struct{}) {
	t.Helper()
	served, next = make(chan string, len(keys)), make(chan struct{})
	for _, key := range keys {
		go func() {
			l, err := k.Acquire(context.Background(), key)
			if err != nil {
				t.Errorf("Acquire(%q): %v", key, err)
			}
			served <- key
			<-next
			l.Release()
		}()
		synctest.Wait()
	}
	return served, next
}

func TestKeyedWaitersAtTheLimitFormOneLineAcrossKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal = 1
		k := newKeyed(t, cfg)
		first := get(t, k, "a")
		want := []string{"b", "a", "a", "c", "b", "a", "b", "b"}
		served, next := queue(t, k, want...)
		first.Release()
		var got []string
		for range want {
			synctest.Wait()
			got = append(got, <-served)
			next <- struct{}{}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("order of service (-want +got):\n%s", diff)
		}
		if w.peak.Load() != 1 {
			t.Errorf("%d resources were open at once, MaxTotal is 1", w.peak.Load())
		}
		synctest.Wait()
		// a→b→a (a again)→c→b→a→b (b again): each change of key is one close.
		if s := k.Stats(); s.ClosedBy[ReasonReassigned] != 6 || s.Opened != 7 {
			t.Errorf("%d reassigned and %d opened, want 6 and 7", s.ClosedBy[ReasonReassigned], s.Opened)
		}
	})
}

func TestKeyedTakesAnIdleResourceOfTheColdestKeyAndNoMore(t *testing.T) {
	for _, idle := range []time.Duration{Off, time.Hour} {
		t.Run(fmt.Sprint("KeyIdleTime=", idle), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &workshop{}
				cfg := w.keyedConfig()
				cfg.MaxTotal, cfg.KeyIdleTime = 6, idle
				k := newKeyed(t, cfg)
				for _, key := range []string{"a", "b", "c"} {
					one, two := get(t, k, key), get(t, k, key)
					one.Release()
					two.Release()
					time.Sleep(time.Second)
				}
				use(t, k, "a")
				w.history()
				time.Sleep(time.Second)
				d := get(t, k, "d")
				synctest.Wait()
				if diff := gocmp.Diff([]string{"close b", "open d"}, w.history()); diff != "" {
					t.Errorf("for one waiter at the limit (-want +got):\n%s", diff)
				}
				e, f := get(t, k, "e"), get(t, k, "f")
				synctest.Wait()
				if diff := gocmp.Diff([]string{"close b", "open e", "close c", "open f"}, w.history()); diff != "" {
					t.Errorf("for the next two (-want +got):\n%s", diff)
				}
				d.Release()
				e.Release()
				f.Release()
			})
		})
	}
}

func TestKeyedSparesTheMinOfAKeyWhileAnotherHasMore(t *testing.T) {
	for _, first := range []string{"cold", "hot"} { // whichever is looked at first
		t.Run(first+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &workshop{}
				cfg := w.keyedConfig()
				cfg.MaxTotal, cfg.Pool.Min = 3, 1
				k := newKeyed(t, cfg)
				use(t, k, first, "cold")
				time.Sleep(time.Second)
				one, two := get(t, k, "hot"), get(t, k, "hot")
				one.Release()
				two.Release()
				w.history()
				n := get(t, k, "new")
				synctest.Wait()
				if diff := gocmp.Diff([]string{"close hot", "open new"}, w.history()); diff != "" {
					t.Errorf("history (-want +got):\n%s", diff)
				}
				// Past that, a caller goes before any Min, and no Min is refilled from another.
				m := get(t, k, "newer")
				time.Sleep(time.Hour)
				if diff := gocmp.Diff([]string{"close cold", "open newer"}, w.history()); diff != "" {
					t.Errorf("history (-want +got):\n%s", diff)
				}
				n.Release()
				m.Release()
			})
		})
	}
}

func TestKeyedTakesAReleasedResourceOnlyForAnOlderWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal = 2
		k := newKeyed(t, cfg)
		one, two := get(t, k, "a"), get(t, k, "a")
		w.history()
		served, next := queue(t, k, "a", "b")
		one.Release()
		synctest.Wait()
		if key := <-served; key != "a" || len(w.history()) != 0 {
			t.Errorf("the released resource went to %s, want a without a close", key)
		}
		two.Release()
		synctest.Wait()
		if diff := gocmp.Diff([]string{"close a", "open b"}, w.history()); diff != "" {
			t.Errorf("the next one released (-want +got):\n%s", diff)
		}
		close(next)
	})
}

func TestKeyedTakesNothingForAWaiterThatHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal = 1
		k := newKeyed(t, cfg)
		a := get(t, k, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := k.Acquire(ctx, "b")
		var e *ExhaustedError
		if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || e.Waited != time.Second || e.Pool != "pool of b" {
			t.Errorf("Acquire at the limit: %v", err)
		}
		w.history()
		a.Release()
		synctest.Wait()
		if log := w.history(); len(log) != 0 {
			t.Errorf("after the waiter had left: %v", log)
		}
		if n := k.hub.starved.Load(); n != 0 {
			t.Errorf("%d opens are still announced as starving", n)
		}
	})
}

// What starves is counted again when a waiter leaves.
func TestKeyedTakesOneResourceForTheOneWaiterThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal = 2
		k := newKeyed(t, cfg)
		one, two := get(t, k, "a"), get(t, k, "a")
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := k.Acquire(ctx, "b")
			left <- err
		}()
		synctest.Wait()
		served, next := queue(t, k, "c")
		cancel()
		<-left
		w.history()
		one.Release()
		two.Release()
		<-served
		synctest.Wait()
		if diff := gocmp.Diff([]string{"close a", "open c"}, w.history()); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
		close(next)
	})
}

// A waiter that leaves while the place for it is being freed leaves the place to
// the next, whatever its key.
func TestKeyedPassesAFreedPlaceOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal = 1
		closing := make(chan struct{})
		cfg.Pool.Close = func(_ context.Context, res *thing) error {
			<-closing
			return res.Close()
		}
		k := newKeyed(t, cfg)
		use(t, k, "a")
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := k.Acquire(ctx, "b")
			left <- err
		}()
		synctest.Wait()
		served, next := queue(t, k, "c")
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(closing)
		if key := <-served; key != "c" {
			t.Errorf("served %s", key)
		}
		close(next)
		if diff := gocmp.Diff([]string{"open a", "close a", "open c"}, w.history()); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
	})
}

// The pool itself may have the only resource when somebody begins to starve.
func TestKeyedTakesAResourceAfterItsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal = 1
		reset := make(chan struct{})
		cfg.Pool.Reset = func(context.Context, *thing) error { <-reset; return nil }
		k := newKeyed(t, cfg)
		use(t, k, "a")
		served, next := queue(t, k, "b")
		if len(served) != 0 {
			t.Error("served before there was a place")
		}
		close(reset)
		synctest.Wait()
		if len(served) != 1 {
			t.Error("not served although the reset is over")
		}
		close(next)
	})
}

func TestKeyedSharedResourceIsTakenFromUnderSteadyUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal, cfg.Pool.ShareLimit = 1, 4
		k := newKeyed(t, cfg)
		old := get(t, k, "a")
		served, next := queue(t, k, "b")
		// Somebody always has a lease of key a, so its resource is never idle.
		for range 10 {
			l, ok := k.TryAcquire(t.Context(), "a")
			old.Release()
			old = l
			if !ok {
				break
			}
		}
		synctest.Wait()
		if len(served) != 1 {
			t.Error("key b starves while the leases of key a follow one another")
		}
		old.Release()
		close(next)
	})
}

// One waiter takes one resource, even if seats on several come free meanwhile.
func TestKeyedTakesOneSharedResourceForOneWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal, cfg.Pool.ShareLimit, cfg.Pool.GrowAt = 3, 2, 1
		k := newKeyed(t, cfg)
		var leases []Lease[*thing]
		for range 6 {
			leases = append(leases, get(t, k, "a"))
			synctest.Wait() // past one lease each another opens
		}
		slices.SortStableFunc(leases, func(a, b Lease[*thing]) int { return cmp.Compare(a.ID(), b.ID()) })
		leases = []Lease[*thing]{leases[0], leases[2], leases[4], leases[1], leases[3], leases[5]}
		w.history()
		served, next := queue(t, k, "b")
		for _, l := range leases[:3] { // a seat on each
			l.Release()
			synctest.Wait()
		}
		if s := k.Stats(); s.Leased != 3 || s.Live != 3 || len(w.history()) != 0 || k.hub.pledged != 1 {
			t.Errorf("after one seat on each came free: %d leased on %d, %d retire for the waiter; want 3, 3 and 1",
				s.Leased, s.Live, k.hub.pledged)
		}
		for _, l := range leases[3:] {
			l.Release()
			synctest.Wait()
		}
		if len(served) != 1 {
			t.Error("the waiter was not served")
		}
		if diff := gocmp.Diff([]string{"close a", "open b"}, w.history()); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
		close(next)
	})
}

func TestKeyedOpensOfAllKeysShareOneBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{delay: time.Second}
		cfg := w.keyedConfig()
		cfg.Pool.MaxOpening = 3
		k := newKeyed(t, cfg)
		var all sync.WaitGroup
		began := time.Now()
		for i := range 9 {
			all.Go(func() { use(t, k, fmt.Sprint(i)) })
		}
		all.Wait()
		if w.peakMaking.Load() != 3 || time.Since(began) != 3*time.Second {
			t.Errorf("9 keys took %v with %d opens at once, want 3s with 3", time.Since(began), w.peakMaking.Load())
		}
	})
}

func TestKeyedNeverHasMoreThanMaxTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{delay: time.Millisecond}
		cfg := w.keyedConfig()
		cfg.MaxTotal, cfg.Pool.Min = 5, 2
		k := newKeyed(t, cfg)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				for j := range 5 {
					l := get(t, k, fmt.Sprint((i+j)%7))
					time.Sleep(time.Millisecond)
					l.Release()
				}
			})
		}
		all.Wait()
		if w.peak.Load() != 5 {
			t.Errorf("%d resources were open at once, MaxTotal is 5", w.peak.Load())
		}
	})
}
