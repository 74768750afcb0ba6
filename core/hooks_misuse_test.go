package core

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// everyHook runs a pool through everything that is told to hooks.
func everyHook(t *testing.T, hooks Hooks) (*Pool[*thing], Stats) {
	t.Helper()
	w := &workshop{}
	cfg := w.config(2)
	cfg.Hooks = hooks
	cfg.Min, cfg.Degrade, cfg.LeakAfter, cfg.ProbeInterval = 1, true, 15*time.Second, 10*time.Second
	cfg.CircuitFailures, cfg.CircuitMin, cfg.RetryMin, cfg.CloseTimeout = 1, 2*time.Second, time.Second, time.Second
	cfg.Probe = func(context.Context, *thing) error { return nil }
	cfg.Reset = func(context.Context, *thing) error { panic("reset") }
	w.refuse("", errUnreachable)
	p := newThings(t, cfg)
	time.Sleep(time.Second)
	w.refuse("", nil)
	time.Sleep(10 * time.Second)
	if err := p.Resize(t.Context(), 1, 3); err != nil {
		t.Error(err)
	}
	l := with(t, p, AcquireOptions{})
	time.Sleep(30 * time.Second)
	l.Release()
	time.Sleep(30 * time.Second)
	l = with(t, p, AcquireOptions{})
	if l.Value() == nil {
		t.Error("the pool does not work any more")
	}
	l.Discard(nil)
	time.Sleep(20 * time.Second)
	synctest.Wait()
	return p, p.Stats()
}

func TestEveryHookMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, calm := everyHook(t, Hooks{})
		all := reflect.TypeFor[Hooks]()
		for i := range all.NumField() {
			var hooks Hooks
			calls := 0
			var mu sync.Mutex
			var reports []*PanicError
			hooks.Panicked = func(e Panicked) {
				mu.Lock()
				defer mu.Unlock()
				reports = append(reports, e.Err)
			}
			hook := reflect.ValueOf(&hooks).Elem().Field(i)
			hook.Set(reflect.MakeFunc(hook.Type(), func([]reflect.Value) []reflect.Value {
				mu.Lock()
				defer mu.Unlock()
				calls++
				panic("a hook")
			}))
			_, s := everyHook(t, hooks)
			name := all.Field(i).Name
			if calls == 0 {
				t.Errorf("%s was never called", name)
			}
			if s.Panics != calm.Panics+uint64(calls) {
				t.Errorf("%s panicked %d times, beside %d other panics %d were counted", name, calls, calm.Panics, s.Panics)
			}
			if name == "Panicked" {
				continue // it is not told of itself
			}
			told := 0
			for _, e := range reports {
				if e.Callback == name && e.Value == "a hook" && len(e.Stack) > 0 {
					told++
				}
			}
			if told != calls {
				t.Errorf("%s panicked %d times, and %d were reported", name, calls, told)
			}
		}
	})
}

func TestEveryHookMayCallThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := reflect.TypeFor[Hooks]()
		for i := range all.NumField() {
			var hooks Hooks
			var pool atomic.Pointer[Pool[*thing]]
			var called atomic.Bool
			var calls atomic.Int64
			hook := reflect.ValueOf(&hooks).Elem().Field(i)
			hook.Set(reflect.MakeFunc(hook.Type(), func(args []reflect.Value) []reflect.Value {
				calls.Add(1)
				if p := pool.Load(); p != nil && !called.Swap(true) { // once: what it calls, calls it again
					p.Stats()
					p.Snapshot()
					l, _ := p.TryAcquire(t.Context())
					l.Release()
					p.Evict()
					p.Resize(t.Context(), 1, 3)
				}
				return args[:hook.Type().NumOut()]
			}))
			p, _ := everyHook(t, hooks)
			pool.Store(p)
			if calls.Load() == 0 {
				t.Errorf("%s was never called", all.Field(i).Name)
			}
			p.Evict()
			time.Sleep(time.Minute)
			if s := p.Stats(); s.Live == 0 {
				t.Errorf("%s called the pool, and it is empty: %+v", all.Field(i).Name, s)
			}
		}
	})
}

// A hook on the caller's goroutine may end that goroutine; nothing is lost.
func TestGoexitInAHookOfTheCallerLosesNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hooks := range []Hooks{
			{AcquireStart: func(context.Context, AcquireStart) context.Context { runtime.Goexit(); return nil }},
			{AcquireEnd: func(context.Context, AcquireEnd) { runtime.Goexit() }},
			{Released: func(Released) { runtime.Goexit() }},
		} {
			cfg := (&workshop{}).config(1)
			cfg.Hooks = hooks
			p := newThings(t, cfg)
			for range 2 {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					l, err := p.Acquire(t.Context())
					l.Release()
					t.Errorf("the goroutine goes on with %v", err)
				}()
				<-ended
			}
			if s := p.Stats(); s.Leased != 0 || s.Waiting != 0 {
				t.Errorf("%d leases are lost, %d still waiting", s.Leased, s.Waiting)
			}
		}
	})
}

func TestHookThatHangsDelaysNothingForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		cfg := (&workshop{}).config(1)
		cfg.CloseTimeout = time.Second
		cfg.Hooks.OpenStart = func(ctx context.Context, _ OpenStart) context.Context { <-hang; return ctx }
		cfg.Hooks.Resized = func(Resized) { <-hang }
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		l := with(t, p, AcquireOptions{})
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("a hook that hangs delayed an open by %v, CloseTimeout is 1s", took)
		}
		for range 3 {
			if err := p.Resize(t.Context(), 0, 1); err != nil {
				t.Error(err)
			}
		}
		l.Release()
		var e *CloseError
		if err := p.Close(t.Context()); !errors.As(err, &e) || e.Abandoned < 2 {
			t.Errorf("Close = %v, want it to tell of the hooks that still run", err)
		}
	})
}

func TestStartHookThatMakesNoContextChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := (&workshop{}).config(1)
		cfg.Hooks.AcquireStart = func(context.Context, AcquireStart) context.Context { return nil }
		cfg.Hooks.OpenStart = func(context.Context, OpenStart) context.Context { return nil }
		p := newThings(t, cfg)
		with(t, p, AcquireOptions{}).Release()
		if _, err := p.AcquireWith(context.WithValue(t.Context(), nameKey{}, "x"), AcquireOptions{}); err != nil {
			t.Error(err)
		}
		p.slots()[0].tokens(func(token uint64) { Lease[*thing]{slot: p.slots()[0], token: token}.Release() })
	})
}
