package mcpool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

var errCold = errors.New("the warm-up failed")

// coldConfig is of a pool that cannot warm up while cold is set.
func coldConfig(cold *atomic.Bool) Config {
	return Config{
		Transport: InMemory(memoryServer()), Lazy: true, Min: 2, Max: 3, RestartGrace: Off,
		WarmupHook: func(context.Context, *Session) error {
			if cold.Load() {
				return errCold
			}
			return nil
		},
	}
}

func TestDegradedModeServesCallsUntilThePoolIsWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cold atomic.Bool
		cold.Store(true)
		cfg := coldConfig(&cold)
		cfg.Degrade = true
		var degraded, recovered atomic.Int32
		cfg.Hooks.Core = core.Hooks{
			Degraded: func(e core.Degraded) {
				if errors.Is(e.Cause, errCold) {
					degraded.Add(1)
				}
			},
			Recovered: func(core.Recovered) { recovered.Add(1) },
		}
		p, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := p.Call(t.Context(), "sleep", nil); err != nil {
				t.Errorf("a call of a degraded pool: %v", err)
			}
		}
		synctest.Wait()
		if !p.Degraded() || p.Ready() || degraded.Load() != 1 || recovered.Load() != 0 {
			t.Errorf("degraded %v, ready %v, told %d and %d times", p.Degraded(), p.Ready(), degraded.Load(), recovered.Load())
		}
		if st := p.Stats().Sessions; st.Live != 0 || st.Opened != st.Closed || st.Opened < 3 {
			t.Errorf("each call had a session of its own, and the pool says %+v", st)
		}
		cold.Store(false)
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if p.Degraded() || recovered.Load() != 1 {
			t.Errorf("warm, and degraded %v, told %d times", p.Degraded(), recovered.Load())
		}
		opened := p.Stats().Sessions.Opened
		if _, err := p.Call(t.Context(), "sleep", nil); err != nil {
			t.Error(err)
		}
		if n := p.Stats().Sessions.Opened; n != opened {
			t.Errorf("a call of a warm pool opened %d sessions", n-opened)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutDegradedModeCallsFailWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cold atomic.Bool
		cold.Store(true)
		p, err := Open(t.Context(), coldConfig(&cold))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := p.Call(ctx, "sleep", nil); !errors.Is(err, errCold) {
			t.Errorf("got %v", err)
		}
		if p.Degraded() {
			t.Error("degraded")
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestDegradedModeKeepsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cold atomic.Bool
		cold.Store(true)
		cfg := coldConfig(&cold)
		cfg.Degrade, cfg.AcquireTimeout = true, 10*time.Second
		p, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var leases []*Session
		for {
			l, err := p.Acquire(t.Context())
			if err != nil {
				if !errors.Is(err, core.ErrExhausted) {
					t.Errorf("got %v", err)
				}
				break
			}
			leases = append(leases, l)
		}
		if len(leases) == 0 || len(leases) > 3 {
			t.Errorf("%d leases of at most 3", len(leases))
		}
		for _, l := range leases {
			l.Release()
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
