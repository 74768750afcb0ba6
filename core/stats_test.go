package core

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatsTakesNoLock(t *testing.T) {
	t.Parallel()
	p := newThings(t, (&workshop{}).config(2))
	l := with(t, p, AcquireOptions{})
	defer l.Release()
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if s := p.Stats(); s.Leased != 1 || s.Live != 1 {
		t.Errorf("%+v", s)
	}
	p.Ready()
	p.Degraded()
}

// Nor does anything else that is done while there is a free resource.
func TestFreeResourceIsTakenAndReturnedWithoutTheLock(t *testing.T) {
	t.Parallel()
	for _, share := range []int{1, 4} {
		cfg := (&workshop{}).config(2)
		cfg.ShareLimit = share
		p := newThings(t, cfg)
		with(t, p, AcquireOptions{Key: "k"}).Release()
		func() {
			p.hub.mu.Lock()
			defer p.hub.mu.Unlock()
			for _, o := range []AcquireOptions{{}, {Key: "k"}, {Key: "k", Affinity: Pin}, {NoWait: true}} {
				l := with(t, p, o)
				l.Value()
				l.ID()
				l.ResourceAge()
				l.Release()
				l.Release()
			}
			if err := p.Do(t.Context(), func(context.Context, *thing) error { return nil }); err != nil {
				t.Error(err)
			}
		}()
	}
}

func TestStatsCountsWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.config(3)
		cfg.Name, cfg.Min = "things", 1
		var sick atomic.Bool
		cfg.ProbeInterval = time.Minute
		cfg.Probe = func(context.Context, *thing) error {
			if sick.Load() {
				return errSick
			}
			return nil
		}
		cfg.LeakAfter, cfg.OpenRetries, cfg.RetryMin = time.Minute, 1, time.Second
		start := time.Now()
		p := newThings(t, cfg)
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := Stats{Name: "things", Min: 1, Max: 3, Live: 1, Idle: 1, Opened: 1, Ready: true}
		check := func(what string) {
			t.Helper()
			synctest.Wait()
			want.Uptime = time.Since(start)
			if diff := cmp.Diff(want, p.Stats()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		check("warmed up")

		leases := fill(t, p, 3)
		want.Acquired, want.Leased, want.Live, want.Idle, want.Opened, want.Waits = 3, 3, 3, 0, 3, 2
		check("three leased, two of them waited for an open")
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx, p, AcquireOptions{})
		want.Waiting, want.Waits = 1, 3
		check("one waits")
		time.Sleep(time.Second)
		cancel()
		want.Waiting, want.WaitTime = 0, time.Second
		check("and leaves")

		leases[0].Release()
		leases[0].Release()
		want.Leased, want.Released, want.Idle, want.StaleReleases = 2, 1, 1, 1
		check("one released twice")
		leases[1].Discard(nil)
		want.Leased, want.Released, want.Live, want.Closed = 1, 2, 2, 1
		want.ClosedBy[ReasonDiscarded] = 1
		check("one discarded")
		if _, err := leases[2].Detach(); err != nil {
			t.Error(err)
		}
		want.Leased, want.Released, want.Live, want.Detached = 0, 3, 1, 1
		check("one detached")

		l := with(t, p, AcquireOptions{})
		want.Acquired, want.Leased, want.Idle = 4, 1, 0
		time.Sleep(80 * time.Second)
		want.Leaks = 1
		check("one held for long")
		l.Release()
		want.Released, want.Leased, want.Idle = 4, 0, 1
		time.Sleep(20 * time.Second)
		want.Probes = 1
		check("one whose probe was overdue")
		sick.Store(true)
		w.refuse("", errUnreachable)
		time.Sleep(75 * time.Second) // the next probe fails, and so do the opens that would make up for it
		want.Probes, want.ProbeFailures, want.Live, want.Idle, want.Closed = 2, 1, 0, 0, 2
		want.ClosedBy[ReasonProbe] = 1
		s := p.Stats()
		if s.OpenFailures < 5 || s.Retries == 0 || s.CircuitOpens != 1 || s.Circuit == BreakerClosed {
			t.Errorf("after failures: %d, %d retries, circuit %v opened %d times", s.OpenFailures, s.Retries, s.Circuit, s.CircuitOpens)
		}
		want.OpenFailures, want.Retries, want.CircuitOpens, want.Circuit = s.OpenFailures, s.Retries, 1, s.Circuit
		want.Opening = s.Opening
		check("unreachable")
	})
}

func TestSnapshotTellsOfEachResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := (&workshop{}).config(4)
		cfg.ProbeInterval, cfg.ProbeTimeout = 40*time.Second, time.Hour
		hang := make(chan struct{})
		cfg.Probe = func(context.Context, *thing) error { <-hang; return nil }
		p := newThings(t, cfg)
		leases := fill(t, p, 4)
		leases[1].Release()
		leases[2].Release()
		l := with(t, p, AcquireOptions{Key: "k"}) // the second again
		l.Release()
		time.Sleep(45 * time.Second)
		p.hub.lock()
		p.retireLocked(leases[3].slot, ReasonExpired, nil)
		p.hub.unlock()
		want := []ResourceInfo{
			{ID: 1, State: StateLeased, Leases: 1, Served: 1},
			{ID: 2, State: StateBusy, Served: 2, Keys: []string{"k"}}, // one at a time
			{ID: 3, State: StateIdle, Idle: 40 * time.Second, Served: 1},
			{ID: 4, State: StateRetiring, Leases: 1, Served: 1, Reason: ReasonExpired},
		}
		for i := range want {
			want[i].Age = 45 * time.Second
		}
		got := p.Snapshot()
		if len(got) == 4 && got[2].Idle >= 30*time.Second && got[2].Idle <= 45*time.Second {
			got[2].Idle = 40 * time.Second // exact to one sweep
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Snapshot (-want +got):\n%s", diff)
		}
		close(hang)
		leases[0].Release()
		leases[3].Release()
	})
}

func TestStatsAgreeAndNeverGoBackwardsConcurrentSafe(t *testing.T) {
	t.Parallel()
	for _, share := range []int{1, 3} {
		cfg := (&workshop{}).config(4)
		cfg.ShareLimit = share
		p := newThings(t, cfg)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range 400 {
					l := with(t, p, AcquireOptions{})
					switch rand.IntN(12) {
					case 0:
						l.Discard(nil)
					case 1:
						if res, err := l.Detach(); err == nil {
							res.Close()
						}
					case 2:
						if err := p.Resize(t.Context(), rand.IntN(2), 1+i%4); err != nil {
							t.Error(err)
						}
					}
					l.Release()
				}
			})
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		last := counters(p.Stats())
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
				runtime.Gosched()
			}
			s := p.Stats()
			now := counters(s)
			for i := range now {
				if now[i] < last[i] {
					t.Errorf("counter %d went from %d to %d", i, last[i], now[i])
				}
			}
			if s.Opened-s.Closed-s.Detached != uint64(s.Live) || s.Acquired-s.Released != uint64(s.Leased) {
				t.Errorf("Stats do not agree: %+v", s)
			}
			last = now
		}
		if s := p.Stats(); s.Acquired != 1600 || s.Leased != 0 {
			t.Errorf("at the end: %+v", s)
		}
	}
}

// What the fast path may cost: nothing.
func TestFreeResourceCostsNoAllocation(t *testing.T) {
	observed := Hooks{AcquireEnd: func(context.Context, AcquireEnd) {}, Released: func(Released) {}}
	for _, c := range []struct {
		name  string
		share int
		hooks Hooks
	}{{"exclusive", 1, Hooks{}}, {"shared", 4, Hooks{}}, {"observed", 1, observed}, {"shared and observed", 4, observed}} {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.ShareLimit, cfg.Pool.Hooks = c.share, c.hooks
		k := newKeyed(t, cfg)
		own := w.config(2)
		own.ShareLimit, own.Hooks = c.share, c.hooks
		p := newThings(t, own)
		ctx := t.Context()
		if l, err := k.Acquire(ctx, "a"); err != nil { // TryAcquire would not wait for the first open
			t.Fatal(err)
		} else {
			l.Release()
		}
		for name, f := range map[string]func() (Lease[*thing], error){
			"Acquire":           func() (Lease[*thing], error) { return p.Acquire(ctx) },
			"AcquireWith":       func() (Lease[*thing], error) { return p.AcquireWith(ctx, AcquireOptions{Key: "k"}) },
			"TryAcquire":        func() (Lease[*thing], error) { l, _ := p.TryAcquire(ctx); return l, nil },
			"Keyed.Acquire":     func() (Lease[*thing], error) { return k.Acquire(ctx, "a") },
			"Keyed.AcquireWith": func() (Lease[*thing], error) { return k.AcquireWith(ctx, "a", AcquireOptions{Key: "k"}) },
			"Keyed.TryAcquire":  func() (Lease[*thing], error) { l, _ := k.TryAcquire(ctx, "a"); return l, nil },
		} {
			once := func() {
				l, err := f()
				if err != nil {
					t.Fatal(err)
				}
				l.Value()
				l.Release()
			}
			once()
			synctestFree(p)
			once()
			if n := testing.AllocsPerRun(100, once); n != 0 {
				t.Errorf("%s of a pool that is %s: %v allocations", name, c.name, n)
			}
		}
	}
}

// synctestFree waits, without a clock, until nothing is being opened.
func synctestFree(p *Pool[*thing]) {
	for p.Stats().Opening > 0 {
		runtime.Gosched()
	}
}

func TestAddSumsEveryCount(t *testing.T) {
	t.Parallel()
	var one, sum Stats
	fillValues(reflect.ValueOf(&one).Elem(), 1)
	fillValues(reflect.ValueOf(&sum).Elem(), 10)
	sum.add(one)
	for name, got := range numbers(reflect.ValueOf(sum), "") {
		switch name {
		case "Circuit", "CircuitOpens": // the worse; and the shared circuit is not summed
		case "Uptime": // the longest
		default:
			if got != 11 {
				t.Errorf("%s: 10 + 1 = %d", name, got)
			}
		}
	}
}

func fillValues(v reflect.Value, n int) {
	for _, f := range v.Fields() {
		switch {
		case f.CanInt():
			f.SetInt(int64(n))
		case f.CanUint():
			f.SetUint(uint64(n))
		case f.Kind() == reflect.Array:
			for j := range f.Len() {
				f.Index(j).SetUint(uint64(n))
			}
		}
	}
}

func numbers(v reflect.Value, name string) map[string]uint64 {
	all := make(map[string]uint64)
	switch {
	case v.CanInt():
		all[name] = uint64(v.Int())
	case v.CanUint():
		all[name] = v.Uint()
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			all[fmt.Sprint(name, i)] = v.Index(i).Uint()
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			maps.Copy(all, numbers(v.Field(i), v.Type().Field(i).Name))
		}
	}
	return all
}

// Nobody waits for what TryAcquire has asked for, so it is not opened later on,
// when there is room at last.
func TestTryAcquireAsksForRoomNowAndNotLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		p := newThings(t, w.config(1))
		if _, ok := p.TryAcquire(t.Context()); ok {
			t.Error("a lease at once from an empty pool")
		}
		synctest.Wait()
		if w.made.Load() != 1 {
			t.Errorf("%d opened in the background, want 1", w.made.Load())
		}
		l, ok := p.TryAcquire(t.Context())
		if !ok {
			t.Fatal("no lease on what was opened")
		}
		if _, ok := p.TryAcquire(t.Context()); ok {
			t.Error("a second lease, Max is 1")
		}
		l.Discard(nil)
		synctest.Wait()
		if w.made.Load() != 1 {
			t.Errorf("%d were opened, the last for nobody", w.made.Load())
		}
	})
}
