package core

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWarmingStartsAtOnceAndEndsReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 3, MaxOpening: 2}, func(ctx context.Context, _ int) error { return pause(ctx, time.Second) })
		waited := make(chan error, 1)
		go func() { waited <- s.WaitReady(t.Context()) }()
		synctest.Wait()
		same(t, "starts", s.starts(), []time.Duration{0, 0})
		same(t, "ready", s.Ready(), false)
		s.until(2 * time.Second)
		same(t, "ready", s.Ready(), true)
		same(t, "ready in Stats", s.Stats().Ready, true)
		if err := <-waited; err != nil {
			t.Error(err)
		}
		s.Evict() // and stays so
		same(t, "ready", s.Ready(), true)
	})
}

func TestMinZeroIsReadyAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		same(t, "ready", s.Ready(), true)
		if err := s.WaitReady(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestReadinessComesLateAfterAFailedWarmUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := setStage(t, Config[*part]{Min: 2}, func(context.Context, int) error {
			if up.Load() {
				return nil
			}
			return errDown
		})
		err := s.WaitReady(within(t, time.Minute))
		is(t, err, context.DeadlineExceeded)
		is(t, err, errDown)
		same(t, "when it gave up", s.at(), time.Minute)
		up.Store(true)
		if err := s.WaitReady(within(t, 31*time.Second)); err != nil { // CircuitMax and a little
			t.Error(err)
		}
		same(t, "alive", s.Stats().Live >= 2, true)
	})
}

func TestWaitReadyEndsWhenThePoolCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 1}, func(ctx context.Context, _ int) error { return pause(ctx, time.Hour) })
		waited := make(chan error, 1)
		go func() { waited <- s.WaitReady(t.Context()) }()
		s.until(time.Second)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		is(t, <-waited, ErrClosed)
		is(t, s.WaitReady(t.Context()), ErrClosed)
		same(t, "ready", s.Ready(), false)
		is(t, s.WaitReady(noContext), ErrNilContext)
	})
}

func TestAReadyPoolIsReadyWhateverTheContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 {
			if err := s.WaitReady(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLoweringMinMakesThePoolReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 2}, func(_ context.Context, n int) error {
			if n > 1 {
				return errDown
			}
			return nil
		})
		s.until(time.Second)
		same(t, "ready", s.Ready(), false)
		if err := s.Resize(t.Context(), 1, 10); err != nil {
			t.Fatal(err)
		}
		same(t, "ready", s.Ready(), true)
	})
}

// degrading is a pool that cannot warm up until *warm is set; Open itself works.
func degrading(t *testing.T, cfg Config[*part], warm *atomic.Bool, open func(context.Context, int) error) (*stage, *journal) {
	t.Helper()
	events := &journal{}
	cfg.Degrade = true
	cfg.Warmup = func(context.Context, *part) error {
		if warm.Load() {
			return nil
		}
		return errBroken
	}
	cfg.Hooks.Degraded = func(e Degraded) { events.note("%s degraded: %v", e.Pool, errors.Is(e.Cause, errBroken)) }
	cfg.Hooks.Recovered = func(e Recovered) { events.note("%s recovered", e.Pool) }
	return setStage(t, cfg, open), events
}

func TestADegradedPoolLendsOneOffsWithinMax(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var warm atomic.Bool
		s, events := degrading(t, Config[*part]{Min: 2, Max: 3}, &warm, nil)
		s.until(time.Second)
		same(t, "degraded", s.Degraded(), true)
		same(t, "ready", s.Ready(), false)
		ls := s.leases(3)
		ids := map[uint64]bool{ls[0].ID(): true, ls[1].ID(): true, ls[2].ID(): true}
		same(t, "different resources", len(ids), 3)
		fourth := s.claim(t.Context())
		s.pass(5 * time.Second)
		same(t, "a fourth within Max", fourth.done(), false)
		closed := len(s.ends())
		ls[0].Release()
		s.pass(time.Second)
		if len(s.ends()) == closed {
			t.Error("a one-off outlived its lease")
		}
		fourth.got(t).Release()
		ls[1].Release()
		ls[2].Release()
		s.pass(time.Second)
		same(t, "one-offs closed", s.Stats().ClosedBy[ReasonOneOff], uint64(4))
		same(t, "alive", s.Stats().Live, 0)
		if most := s.peak(); most > 3 {
			t.Errorf("%d resources at once", most)
		}
		warm.Store(true)
		s.pass(35 * time.Second)
		same(t, "ready", s.Ready(), true)
		same(t, "degraded", s.Degraded(), false)
		l := s.lease()
		l.Release()
		s.pass(time.Second)
		same(t, "back to normal", s.Stats().Live, 2)
		same(t, "events", events.all(), []string{"pool degraded: true", "pool recovered"})
	})
}

func TestAWaiterOfTheWarmUpIsServedAOneOffWhenThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var warm atomic.Bool
		s, _ := degrading(t, Config[*part]{Min: 1}, &warm, nil)
		c := s.claim(t.Context())
		s.until(time.Second) // three attempts
		l := c.got(t)
		same(t, "state", s.Snapshot()[0].Reason, ReasonOneOff)
		l.Release()
	})
}

func TestAOneOffThatFailsTellsTheOldestWaiter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var warm atomic.Bool
		s, _ := degrading(t, Config[*part]{Min: 1}, &warm, func(context.Context, int) error { return errDown })
		s.until(time.Second)
		same(t, "degraded", s.Degraded(), true)
		e := as[*OpenError](t, s.claim(t.Context()).failed(t))
		same(t, "attempts", e.Attempts, 1)
		is(t, e, errDown)
	})
}

func TestRecoveryBacksOffWhateverOneOffsDo(t *testing.T) {
	for _, oneOffs := range []error{nil, errDown} {
		t.Run(fmt.Sprint("one-offs: ", oneOffs), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var warm, serving atomic.Bool
				var tries atomic.Int32
				cfg := Config[*part]{Min: 1, Max: 5, OpenRetries: Off, CircuitFailures: Off, RetryMin: time.Second, RetryMax: 8 * time.Second}
				// Only what is meant to stay is warmed up, and fails with errBroken.
				cfg.Hooks.OpenEnd = func(_ context.Context, e OpenEnd) {
					if errors.Is(e.Err, errBroken) {
						tries.Add(1)
					}
				}
				s, _ := degrading(t, cfg, &warm, func(context.Context, int) error {
					if serving.Load() {
						return oneOffs
					}
					return nil
				})
				s.until(20 * time.Second)
				before := tries.Load()
				for range 4000 { // callers come and go all the time
					serving.Store(true)
					c := s.claim(within(t, time.Millisecond))
					serving.Store(false)
					s.pass(10 * time.Millisecond)
					if c.err == nil {
						c.lease.Release()
					}
				}
				if n := tries.Load() - before; n < 4 || n > 9 { // 40 s, 6 to 8 s apart
					t.Errorf("%d tries to warm up in 40 s", n)
				}
				warm.Store(true)
				s.pass(9 * time.Second)
				same(t, "ready", s.Ready(), true)
			})
		})
	}
}

func TestOneOffsAreDrainedOnClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var warm atomic.Bool
		s, _ := degrading(t, Config[*part]{Min: 1, Max: 4}, &warm, nil)
		s.until(time.Second)
		back, lost := s.lease(), s.lease()
		closed := make(chan error, 1)
		ctx := within(t, 3*time.Second)
		go func() { closed <- s.Close(ctx) }()
		s.until(2 * time.Second)
		back.Release()
		s.until(4 * time.Second)
		e := as[*CloseError](t, <-closed)
		same(t, "revoked", e.Revoked, 1)
		same(t, "its value", lost.Value(), (*part)(nil))
		s.lapse = true
	})
}

func TestAPoolThatIsNotToDegradeDoesNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 1}, func(context.Context, int) error { return errDown })
		s.until(time.Minute)
		same(t, "degraded", s.Degraded(), false)
	})
}
