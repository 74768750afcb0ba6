package core

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// sumOf adds up what All tells, field by field and by reflection, so that a new
// field of Stats cannot be forgotten in the total.
func sumOf(t *testing.T, k *Keyed[string, *thing]) Stats {
	t.Helper()
	var total Stats
	sum := reflect.ValueOf(&total).Elem()
	for _, s := range k.All() {
		one := reflect.ValueOf(s)
		for i := range one.NumField() {
			addValues(sum.Field(i), one.Field(i))
		}
	}
	return total
}

func addValues(sum, one reflect.Value) {
	switch {
	case one.Kind() == reflect.Array:
		for i := range one.Len() {
			addValues(sum.Index(i), one.Index(i))
		}
	case one.CanInt():
		sum.SetInt(sum.Int() + one.Int())
	case one.CanUint() && one.Kind() != reflect.Uint8: // a state is not a count
		sum.SetUint(sum.Uint() + one.Uint())
	}
}

func TestKeyedStatsAreTheSumOverItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.Name, cfg.Pool.Min, cfg.Pool.Max = "things", 1, 2
		cfg.Pool.ProbeInterval, cfg.Pool.LeakAfter = time.Second, 3*time.Second
		cfg.Pool.Probe = func(_ context.Context, res *thing) error {
			if res.serial == 2 {
				return errors.New("worn out")
			}
			return nil
		}
		cfg.Pool.Reset = func(_ context.Context, res *thing) error {
			if res.serial == 3 {
				panic("no way")
			}
			return nil
		}
		cfg.Pool.Close = func(context.Context, *thing) error { return errors.New("stuck") }
		k := newKeyed(t, cfg)
		a := get(t, k, "a")
		use(t, k, "b", "c")
		a2 := get(t, k, "a")
		waited := make(chan Lease[*thing])
		go func() {
			l, _ := k.Acquire(context.Background(), "a")
			waited <- l
		}()
		time.Sleep(10 * time.Second)
		a2.Release()
		a2.Release()
		l := <-waited
		get(t, k, "b").Discard(nil)
		if _, err := get(t, k, "c").Detach(); err != nil {
			t.Error(err)
		}
		synctest.Wait()

		got, want := k.Stats(), sumOf(t, k)
		want.Name, want.Ready, want.Uptime = "things", true, 10*time.Second // a sum of times would say more
		same := reflect.DeepEqual(got, want)
		if !same {
			t.Errorf("total:\n%+v\nsum over keys:\n%+v", got, want)
		}
		for name, n := range map[string]uint64{
			"Waits": got.Waits, "WaitTime": uint64(got.WaitTime), "Closed": got.Closed, "CloseErrors": got.CloseErrors,
			"Detached": got.Detached, "Probes": got.Probes, "ProbeFailures": got.ProbeFailures, "Resets": got.Resets,
			"StaleReleases": got.StaleReleases, "Leaks": got.Leaks, "Panics": got.Panics,
		} {
			if n == 0 {
				t.Errorf("%s is 0: the test proves nothing of it", name)
			}
		}
		a.Release()
		l.Release()
	})
}

func TestKeyedStatsKeepWhatDroppedKeysCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.KeyIdleTime, cfg.Pool.CloseTimeout = time.Minute, time.Second
		cfg.Pool.Min, cfg.Pool.Max = 1, 3
		hang := make(chan struct{})
		cfg.Pool.Close = func(_ context.Context, res *thing) error {
			if res.serial == 1 {
				<-hang
			}
			return errors.New("stuck")
		}
		k := newKeyed(t, cfg)
		var last Lease[*thing]
		for _, key := range []string{"a", "b"} {
			last = get(t, k, key)
			last.Release()
		}
		time.Sleep(40 * time.Second)
		get(t, k, "b").Release()
		before := k.Stats()
		time.Sleep(25 * time.Second) // a is dropped, and its close hangs
		wantKeys(t, k, "b")
		s := k.Stats()
		if s.Acquired != before.Acquired || s.Opened != 2 || s.ClosedBy[ReasonKeyClosed] != 1 || s.Live != 1 {
			t.Errorf("after the drop of a key: %+v", s)
		}
		if s.Min != 1 || s.Max != 3 {
			t.Errorf("Min %d and Max %d, want those of the one key that is left, 1 and 3", s.Min, s.Max)
		}
		if s.Abandoned != 1 || s.Closing != 0 || s.CloseErrors != 1 {
			t.Errorf("%d abandoned, %d closing, %d close errors; want 1, 0 and 1", s.Abandoned, s.Closing, s.CloseErrors)
		}
		close(hang)
		time.Sleep(5 * time.Minute)
		wantKeys(t, k)
		last.Release()
		s = k.Stats()
		if s.Min != 0 || s.Max != 0 || s.Abandoned != 0 || s.Live != 0 || s.Circuit != BreakerClosed {
			t.Errorf("with no key left: %+v", s)
		}
		if s.CloseErrors != 2 || s.StaleReleases != 1 || s.Closed != 2 {
			t.Errorf("%d close errors, %d stale releases, %d closed; want 2, 1 and 2", s.CloseErrors, s.StaleReleases, s.Closed)
		}
	})
}

func TestKeyedStatsCountTheOpeningsOfDroppedCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.KeyIdleTime, cfg.Pool.CircuitFailures = time.Minute, 1
		cfg.KeyFault = func(error) bool { return true }
		k := newKeyed(t, cfg)
		w.refuse("a", errUnreachable)
		if _, err := k.Acquire(t.Context(), "a"); !errors.Is(err, errUnreachable) {
			t.Fatal(err)
		}
		if s := k.Stats(); s.Circuit != BreakerOpen || s.CircuitOpens != 1 {
			t.Errorf("circuit %v, opened %d times; want open, once", s.Circuit, s.CircuitOpens)
		}
		time.Sleep(2 * time.Minute)
		wantKeys(t, k)
		if s := k.Stats(); s.Circuit != BreakerClosed || s.CircuitOpens != 1 || s.OpenFailures != 1 {
			t.Errorf("after the drop: circuit %v, opened %d times, %d failures; want closed, once, 1",
				s.Circuit, s.CircuitOpens, s.OpenFailures)
		}
	})
}
