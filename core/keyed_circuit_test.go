package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

var errUnreachable = errors.New("endpoint down")

// A trial that one key makes tells all keys, at once.
func TestKeyedWaitersOfEveryKeyLearnHowTheTrialWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.CircuitFailures, cfg.Pool.CircuitMin, cfg.Pool.CircuitMax = 2, 8*time.Second, 8*time.Second
		k := newKeyed(t, cfg)
		w.refuse("a", errUnreachable)
		w.refuse("b", errUnreachable)
		for _, key := range []string{"a", "b"} {
			if _, err := k.Acquire(t.Context(), key); !errors.Is(err, errUnreachable) {
				t.Fatal(err)
			}
		}
		if s := k.Stats(); s.Circuit != BreakerOpen || s.CircuitOpens != 1 {
			t.Fatalf("after failures of two keys the shared circuit is %v, opened %d times", s.Circuit, s.CircuitOpens)
		}
		began := time.Now()
		failed := make(chan error, 1)
		go func() {
			_, err := k.Acquire(context.Background(), "a")
			failed <- err
		}()
		synctest.Wait()
		w.refuse("b", nil)
		served, next := queue(t, k, "b", "c", "d")
		if err := <-failed; !errors.Is(err, errUnreachable) {
			t.Errorf("the trial failed, but its waiter got %v", err)
		}
		for range 3 {
			<-served
		}
		if took := time.Since(began); took > 16*time.Second {
			t.Errorf("the other keys were served after %v, want it with the second trial, after 16s at the most", took)
		}
		close(next)
	})
}

func TestKeyedFaultOfAKeyOpensItsOwnCircuitOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errRefused := errors.New("credentials refused")
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.CircuitFailures = 2
		cfg.KeyFault = func(err error) bool { return errors.Is(err, errRefused) }
		var mu sync.Mutex
		var opened []string
		cfg.Pool.Hooks.CircuitOpened = func(e CircuitOpened) {
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, e.Pool)
		}
		k := newKeyed(t, cfg)
		w.refuse("bad", errRefused)
		for range 2 {
			if _, err := k.Acquire(t.Context(), "bad"); !errors.Is(err, errRefused) {
				t.Fatal(err)
			}
		}
		_, err := k.AcquireWith(t.Context(), "bad", AcquireOptions{NoWait: true})
		var e *CircuitOpenError
		if !errors.As(err, &e) || !errors.Is(err, errRefused) || !errors.Is(err, ErrCircuitOpen) || e.Pool != "pool of bad" {
			t.Errorf("no-wait claim of the refused key: %v", err)
		}
		use(t, k, "good")
		if s, _ := k.KeyStats("good"); s.Circuit != BreakerClosed {
			t.Errorf("the circuit of the good key is %v", s.Circuit)
		}
		if s := k.Stats(); s.Circuit != BreakerOpen || s.CircuitOpens != 1 {
			t.Errorf("in total: circuit %v, opened %d times", s.Circuit, s.CircuitOpens)
		}
		w.refuse("bad", nil)
		use(t, k, "bad") // waits for the trial
		if s := k.Stats(); s.Circuit != BreakerClosed || s.CircuitOpens != 1 {
			t.Errorf("after the trial: circuit %v, opened %d times", s.Circuit, s.CircuitOpens)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if diff := gocmp.Diff([]string{"pool of bad"}, opened); diff != "" {
			t.Errorf("circuits opened (-want +got):\n%s", diff)
		}
	})
}

// An endpoint that refuses credentials is up: waiters of other keys go on.
func TestKeyedFaultOfAKeyClosesTheSharedCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errRefused := errors.New("credentials refused")
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.CircuitFailures, cfg.Pool.CircuitMax = 1, time.Second
		cfg.KeyFault = func(err error) bool { return errors.Is(err, errRefused) }
		closed := make(chan string, 9)
		cfg.Pool.Hooks.CircuitClosed = func(e CircuitClosed) { closed <- e.Pool }
		k := newKeyed(t, cfg)
		w.refuse("down", errUnreachable)
		if _, err := k.Acquire(t.Context(), "down"); !errors.Is(err, errUnreachable) {
			t.Fatal(err)
		}
		w.refuse("bad", errRefused)
		failed := make(chan error, 1)
		go func() {
			_, err := k.Acquire(context.Background(), "bad")
			failed <- err
		}()
		synctest.Wait()
		began := time.Now()
		served, next := queue(t, k, "good")
		if err := <-failed; !errors.Is(err, errRefused) {
			t.Errorf("the trial was refused, but its waiter got %v", err)
		}
		<-served
		if took := time.Since(began); took > time.Second {
			t.Errorf("the good key was served after %v, want it with the trial, after 1s", took)
		}
		close(next)
		synctest.Wait() // hooks run beside what they tell of
		if len(closed) != 1 {
			t.Errorf("CircuitClosed was reported %d times, want 1", len(closed))
		}
	})
}

// While a key's own circuit and the shared one are both open there is still only
// one trial at a time.
func TestKeyedMakesOneTrialAtATimeAcrossKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errRefused := errors.New("credentials refused")
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.CircuitFailures, cfg.Pool.CircuitMin = 1, 10*time.Second
		cfg.KeyFault = func(err error) bool { return errors.Is(err, errRefused) }
		k := newKeyed(t, cfg)
		w.refuse("bad", errRefused)
		w.refuse("down", errUnreachable)
		if _, err := k.Acquire(t.Context(), "bad"); !errors.Is(err, errRefused) {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Second)
		if _, err := k.Acquire(t.Context(), "down"); !errors.Is(err, errUnreachable) {
			t.Fatal(err)
		}
		calls := w.calls.Load()
		go k.Acquire(context.Background(), "bad")
		time.Sleep(7 * time.Second) // its own circuit would allow a trial by now
		if n := w.calls.Load() - calls; n != 0 {
			t.Errorf("%d opens began before the trial of the shared circuit was due", n)
		}
	})
}

// Opens that hang past their deadline free their place, but not without end.
func TestKeyedStopsOpeningWithMaxTotalAbandonedOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.MaxTotal, cfg.Pool.CircuitFailures, cfg.Pool.OpenTimeout = 4, Off, time.Second
		hang := make(chan struct{})
		cfg.Open = func(ctx context.Context, key string) (*thing, error) {
			w.calls.Add(1)
			<-hang
			return w.open(ctx, key)
		}
		k := newKeyed(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 20 {
			go func() {
				l, _ := k.Acquire(ctx, fmt.Sprint(i))
				l.Release()
			}()
		}
		time.Sleep(30 * time.Second)
		if n := w.calls.Load(); n != 4 {
			t.Errorf("%d opens hang, want MaxTotal, 4", n)
		}
		if s := k.Stats(); s.Abandoned != 4 {
			t.Errorf("Abandoned = %d, want 4", s.Abandoned)
		}
		close(hang)
		time.Sleep(10 * time.Second)
		if s := k.Stats(); s.Abandoned != 0 || s.Live == 0 {
			t.Errorf("after they came back: %d abandoned, %d alive", s.Abandoned, s.Live)
		}
	})
}
