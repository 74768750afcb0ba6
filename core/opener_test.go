package core

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOpenKnowsNothingOfItsCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		s := setStage(t, Config[*part]{}, func(ctx context.Context, _ int) error {
			if v := ctx.Value(key{}); v != nil {
				t.Errorf("Open sees the caller's value %v", v)
			}
			if d, ok := ctx.Deadline(); !ok || time.Until(d) != 10*time.Second {
				t.Errorf("Open has until %v, not for OpenTimeout", d)
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "tenant"), time.Second)
		defer cancel()
		l, err := s.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	})
}

func TestACallerThatGivesUpDoesNotCancelAnOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, func(ctx context.Context, _ int) error {
			select {
			case <-time.After(2 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		c := s.claim(within(t, time.Second))
		s.until(time.Second)
		is(t, c.failed(t), context.DeadlineExceeded)
		is(t, c.failed(t), ErrExhausted)
		s.until(2 * time.Second)
		same(t, "resources alive", s.Stats().Live, 1)
		s.lease().Release()
		same(t, "calls of Open", len(s.starts()), 1)
	})
}

func TestEachAttemptHasTheWholeOpenTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{OpenTimeout: time.Second, RetryMin: time.Second, RetryMax: time.Second}
		cfg.Warmup = func(ctx context.Context, _ *part) error {
			<-ctx.Done() // what Open left of the time is Warmup's
			return ctx.Err()
		}
		s := setStage(t, cfg, func(context.Context, int) error {
			time.Sleep(400 * time.Millisecond)
			return nil
		})
		c := s.claim(t.Context())
		s.until(6 * time.Second)
		same(t, "starts", s.starts(), []time.Duration{0, 2 * time.Second, 4 * time.Second})
		e := as[*OpenError](t, c.failed(t))
		same(t, "attempts", e.Attempts, 3)
		same(t, "elapsed", e.Elapsed, 5*time.Second)
		is(t, e, context.DeadlineExceeded)
		same(t, "closed after a failed Warmup", len(s.ends()), 3)
	})
}

func TestAtMostMaxOpeningOpensRunAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var running, most atomic.Int32
		s := setStage(t, Config[*part]{MaxOpening: 3}, func(context.Context, int) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Second)
			return nil
		})
		var claims []*claim
		for range 10 {
			claims = append(claims, s.claim(t.Context()))
		}
		s.until(time.Minute)
		for i, c := range claims {
			same(t, "when it was served", c.at, time.Duration(i/3+1)*time.Second)
			c.got(t).Release()
		}
		same(t, "opens at once", most.Load(), int32(3))
	})
}

func TestMaxOpeningOutlivesASmallMax(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1}, func(context.Context, int) error {
			time.Sleep(time.Second)
			return nil
		})
		if err := s.Resize(t.Context(), 4, 4); err != nil {
			t.Fatal(err)
		}
		s.until(time.Second)
		same(t, "opened after a second", s.Stats().Live, 4)
	})
}

func TestRetriesPauseBetweenRetryMinAndRetryMaxWithJitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		drawn := make(map[time.Duration]bool)
		for range 20 {
			s := setStage(t, Config[*part]{OpenRetries: 7, CircuitFailures: Off}, func(context.Context, int) error { return errDown })
			c := s.claim(t.Context())
			s.pass(time.Minute)
			same(t, "attempts", as[*OpenError](t, c.failed(t)).Attempts, 8)
			same(t, "retries", s.Stats().Retries, uint64(7))
			at := s.starts()
			for i, d := range []time.Duration{100, 200, 400, 800, 1600, 2000, 2000} {
				d *= time.Millisecond
				pause := at[i+1] - at[i]
				between(t, "a pause", pause, max(d*3/4, 100*time.Millisecond), max(d, 125*time.Millisecond))
				between(t, "a pause", pause, 100*time.Millisecond, 2*time.Second)
				drawn[pause] = true
			}
		}
		if len(drawn) < 130 { // of 140 drawn in nanoseconds
			t.Errorf("only %d different pauses", len(drawn))
		}
	})
}

func TestAPermanentErrorIsNotTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{Permanent: func(err error) bool { return errors.Is(err, errBroken) }}
		s := setStage(t, cfg, func(_ context.Context, n int) error {
			if n == 1 {
				return errDown
			}
			return errBroken
		})
		c := s.claim(t.Context())
		s.until(time.Minute)
		e := as[*OpenError](t, c.failed(t))
		same(t, "attempts", e.Attempts, 2)
		is(t, e, errBroken)
	})
}

func TestAHungOpenIsAbandonedAndItsLateResultClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{OpenTimeout: time.Second, OpenRetries: Off}, func(_ context.Context, n int) error {
			if n == 1 {
				time.Sleep(10 * time.Second) // deaf to its context
			}
			return nil
		})
		c := s.claim(t.Context())
		s.until(time.Second + grace)
		e := as[*TimeoutError](t, as[*OpenError](t, c.failed(t)))
		same(t, "timeout", *e, TimeoutError{Callback: "Open", After: time.Second})
		is(t, c.failed(t), context.DeadlineExceeded)
		same(t, "when it was given up", c.at, time.Second+grace)
		same(t, "abandoned", s.Stats().Abandoned, 1)
		s.lease().Release() // its place is free
		s.until(10 * time.Second)
		same(t, "abandoned", s.Stats().Abandoned, 0)
		ends := s.ends()
		if len(ends) != 1 || ends[0].part.id != 1 || ends[0].at != 10*time.Second {
			t.Errorf("closed: %+v", ends)
		}
		same(t, "opened", s.Stats().Opened, uint64(1))
	})
}

func TestAHookThatDetachesItsContextDoesNotUnbindAnOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		cfg := Config[*part]{OpenTimeout: time.Second, OpenRetries: Off}
		cfg.Hooks.OpenStart = func(context.Context, OpenStart) context.Context {
			return context.WithValue(context.Background(), key{}, "span")
		}
		s := setStage(t, cfg, func(ctx context.Context, _ int) error {
			same(t, "the hook's value", ctx.Value(key{}), "span")
			<-ctx.Done()
			return ctx.Err()
		})
		c := s.claim(within(t, time.Minute))
		s.until(time.Second)
		as[*OpenError](t, c.failed(t))
		same(t, "when it failed", c.at, time.Second)
	})
}

func TestTheOpenerStopsAtMaxAbandonedOpensAndGoesOnWhenOneReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var up atomic.Bool
		s := setStage(t, Config[*part]{Max: 2, OpenTimeout: time.Second, CircuitFailures: Off}, func(context.Context, int) error {
			if !up.Load() {
				<-release
			}
			return nil
		})
		// The second hung attempt is a retry of the first; there is no third.
		failed := s.claim(t.Context())
		s.pass(time.Minute)
		is(t, failed.failed(t), context.DeadlineExceeded)
		same(t, "attempts", as[*OpenError](t, failed.failed(t)).Attempts, 2)
		c := s.claim(t.Context())
		s.pass(time.Hour)
		if c.done() {
			t.Fatalf("a stopped opener served somebody: %v", c.err)
		}
		same(t, "calls of Open", len(s.starts()), 2)
		same(t, "abandoned", s.Stats().Abandoned, 2)
		if l, ok := s.TryAcquire(t.Context()); ok {
			l.Release()
			t.Error("TryAcquire found something")
		}
		up.Store(true)
		release <- struct{}{} // one comes back
		synctest.Wait()
		c.got(t).Release()
		close(release)
		synctest.Wait()
		same(t, "late results closed", len(s.ends()), 2)
	})
}

func TestTheOpenerStopsAtMaxAbandonedClosesAndGoesOnWhenOneReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		cfg := Config[*part]{Max: 2, CloseTimeout: time.Second}
		cfg.Close = func(context.Context, *part) error { <-release; return nil }
		s := setStage(t, cfg, nil)
		for range 2 {
			s.lease().Discard(nil)
			synctest.Wait()
			same(t, "closing", s.Stats().Closing, 1)
			s.pass(time.Second + grace)
			same(t, "closing", s.Stats().Closing, 0) // given up: its place is free
		}
		same(t, "close errors", s.Stats().CloseErrors, uint64(2))
		c := s.claim(t.Context())
		s.pass(time.Hour)
		if c.done() {
			t.Fatal("a stopped opener served somebody")
		}
		release <- struct{}{}
		synctest.Wait()
		if !c.done() || c.err != nil {
			t.Fatalf("the opener did not go on: %+v", c)
		}
		close(release)
		synctest.Wait()
		c.got(t).Release()
	})
}

func TestAnOpenOutOfRetriesFailsTheOldestWaiterWhenNothingIsAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{MaxOpening: 1, OpenRetries: Off, CircuitFailures: Off}, func(_ context.Context, n int) error {
			time.Sleep(time.Second)
			if n <= 2 {
				return errDown
			}
			return nil
		})
		first, second, third := s.claim(t.Context()), s.claim(t.Context()), s.claim(t.Context())
		s.until(time.Second)
		same(t, "who came back", []bool{first.done(), second.done(), third.done()}, []bool{true, false, false})
		e := as[*OpenError](t, first.failed(t))
		is(t, e, errDown)
		same(t, "attempts", e.Attempts, 1)
		same(t, "elapsed", e.Elapsed, time.Second)
		same(t, "pool", e.Pool, "pool")
		s.until(3 * time.Second)
		is(t, second.failed(t), errDown)
		third.got(t).Release()
	})
}

func TestAnOpenOutOfRetriesFailsNobodyWhileSomethingIsAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, func(_ context.Context, n int) error {
			if n > 1 {
				return errDown
			}
			return nil
		})
		l := s.lease()
		short, long := s.claim(within(t, 5*time.Second)), s.claim(t.Context())
		s.until(5 * time.Second)
		if long.done() {
			t.Fatalf("failed although something is alive: %v", long.err)
		}
		e := as[*ExhaustedError](t, short.failed(t))
		is(t, e, errDown)
		is(t, e, context.DeadlineExceeded)
		same(t, "what it learns", *e, ExhaustedError{
			Pool: "pool", Waited: 5 * time.Second, Max: 10, Live: 1, Leased: 1, Waiting: 1, Open: e.Open, Cause: e.Cause,
		}, cmpErrors)
		l.Release()
		synctest.Wait()
		long.got(t).Release()
	})
}

func TestWhateverComesFirstGoesToTheHeadOfTheQueue(t *testing.T) {
	for _, releaseFirst := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s := setStage(t, Config[*part]{Max: 2}, func(_ context.Context, n int) error {
				if n > 1 {
					time.Sleep(2 * time.Second)
				}
				return nil
			})
			l := s.lease()
			head, next := s.claim(t.Context()), s.claim(t.Context())
			if releaseFirst {
				s.until(time.Second)
			} else {
				s.until(3 * time.Second)
			}
			l.Release()
			s.until(time.Minute)
			headID, nextID := head.lease.ID(), next.lease.ID()
			if head.at > next.at || releaseFirst != (headID == 1) || headID+nextID != 3 {
				t.Errorf("release first %v: head got %d at %v, next %d at %v", releaseFirst, headID, head.at, nextID, next.at)
			}
			head.got(t).Release()
			next.got(t).Release()
		})
	}
}
