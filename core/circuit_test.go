package core

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tripped is a stage whose circuit has just opened, after five failures with no
// pause to speak of; open decides about the opens after those.
func tripped(t *testing.T, cfg Config[*part], open func(ctx context.Context, n int) error) *stage {
	t.Helper()
	cfg.OpenRetries = 4
	cfg.RetryMin, cfg.RetryMax = 1, 1
	s := setStage(t, cfg, func(ctx context.Context, n int) error {
		if n <= 5 {
			return fmt.Errorf("failure %d: %w", n, errDown)
		}
		if open != nil {
			return open(ctx, n-5)
		}
		return nil
	})
	c := s.claim(t.Context())
	s.until(time.Microsecond)
	same(t, "attempts", as[*OpenError](t, c.failed(t)).Attempts, 5)
	same(t, "circuit", s.Stats().Circuit, BreakerOpen)
	return s
}

func TestTheFifthFailureInARowOpensTheCircuit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var failing atomic.Bool
		s := setStage(t, Config[*part]{OpenRetries: Off}, func(context.Context, int) error {
			if failing.Load() {
				return errDown
			}
			return nil
		})
		for i := range 9 {
			fail := i != 4 // a success in between starts the count again
			failing.Store(fail)
			if c := s.claim(t.Context()); fail {
				is(t, c.failed(t), errDown)
			} else {
				c.got(t).Discard(nil)
			}
			synctest.Wait()
			same(t, "circuit", s.Stats().Circuit, BreakerClosed)
		}
		failing.Store(true)
		is(t, s.claim(t.Context()).failed(t), errDown)
		same(t, "circuit", s.Stats().Circuit, BreakerOpen)
		same(t, "times opened", s.Stats().CircuitOpens, uint64(1))
	})
}

func TestOpensThatOverlapAFailureDoNotCountAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{OpenRetries: Off, MaxOpening: 4}, func(context.Context, int) error {
			time.Sleep(time.Second)
			return errDown
		})
		for round := 1; round <= 5; round++ {
			for range 4 {
				s.claim(t.Context())
			}
			s.until(time.Duration(round) * time.Second)
			same(t, "circuit open", s.Stats().Circuit == BreakerOpen, round == 5)
		}
		same(t, "calls of Open", len(s.starts()), 20)
	})
}

func TestAnOpenBetweenTwoAttemptsStopsWhenTheCircuitOpens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{CircuitFailures: 2, OpenRetries: 9, RetryMin: 100 * time.Millisecond}
		s := setStage(t, cfg, func(_ context.Context, n int) error {
			if n <= 2 { // the first attempts overlap, the second ones do not
				time.Sleep(time.Millisecond)
			}
			return errDown
		})
		first, second := s.claim(t.Context()), s.claim(t.Context())
		s.until(900 * time.Millisecond)
		same(t, "calls of Open before the first trial", len(s.starts()), 3)
		same(t, "both told", []bool{first.done(), second.done()}, []bool{true, true})
	})
}

func TestTrialsComeAfterJitteredDoublingPauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		drawn := make(map[time.Duration]bool)
		for range 10 {
			s := tripped(t, Config[*part]{Max: 4}, func(context.Context, int) error { return errDown })
			if err := s.Resize(t.Context(), 2, 4); err != nil { // Min is no reason for more than one trial
				t.Fatal(err)
			}
			for range 8 {
				s.claim(t.Context()) // and those who wait are none
			}
			s.pass(5 * time.Minute)
			at := s.starts()[4:]
			for i, d := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
				d *= time.Second
				pause := at[i+1] - at[i]
				between(t, "a pause", pause, max(d*3/4, time.Second), max(d, 1250*time.Millisecond))
				drawn[pause] = true
			}
			if err := s.Resize(t.Context(), 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		if len(drawn) < 75 { // of 80 drawn in nanoseconds
			t.Errorf("only %d different pauses", len(drawn))
		}
	})
}

func TestTrialsRunOneAtATimeAndSuccessClosesTheCircuit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var events journal
		cfg := Config[*part]{Hooks: Hooks{
			CircuitOpened: func(e CircuitOpened) {
				between(t, "the first trial", time.Until(e.Next), time.Second, 1250*time.Millisecond)
				events.note("opened: %v", e.Cause)
			},
			CircuitClosed: func(CircuitClosed) { events.note("closed") },
			OpenStart: func(ctx context.Context, e OpenStart) context.Context {
				if e.Trial {
					events.note("trial")
				}
				return ctx
			},
		}}
		s := tripped(t, cfg, func(_ context.Context, n int) error {
			if n == 1 {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		var claims []*claim
		for range 10 {
			claims = append(claims, s.claim(t.Context()))
		}
		s.until(5 * time.Second)
		same(t, "calls of Open", len(s.starts()), 6)
		same(t, "circuit", s.Stats().Circuit, BreakerHalfOpen)
		s.until(10 * time.Second)
		same(t, "circuit", s.Stats().Circuit, BreakerClosed)
		for _, c := range claims {
			c.got(t).Release()
		}
		same(t, "all were opened once it closed", s.Stats().Live, 10)
		same(t, "events", events.all(), []string{"opened: failure 5: the peer is down", "trial", "closed"})
	})
}

func TestATrialIsNotLostToACancelledCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := tripped(t, Config[*part]{}, func(context.Context, int) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		c := s.claim(within(t, 3*time.Second))
		s.until(4 * time.Second)
		is(t, c.failed(t), context.DeadlineExceeded)
		same(t, "circuit", s.Stats().Circuit, BreakerHalfOpen)
		s.until(7 * time.Second)
		same(t, "circuit", s.Stats().Circuit, BreakerClosed)
		same(t, "alive", s.Stats().Live, 1)
	})
}

func TestACallerCancelledBeforeTheTrialDoesNotStopTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := tripped(t, Config[*part]{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		c := s.claim(ctx)
		s.until(500 * time.Millisecond)
		cancel()
		synctest.Wait()
		is(t, c.failed(t), context.Canceled)
		s.until(time.Minute)
		s.lease().Release()
	})
}

func TestATrialWhoseResourceIsUnwantedStillClosesTheCircuit(t *testing.T) {
	for name, unwant := range map[string]func(s *stage){
		"evicted": func(s *stage) { s.Evict() },
		"shrunk": func(s *stage) {
			_ = s.Resize(context.Background(), 0, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := tripped(t, Config[*part]{Max: 2}, func(context.Context, int) error {
					time.Sleep(5 * time.Second)
					return nil
				})
				c := s.claim(t.Context())
				s.until(4 * time.Second)
				same(t, "circuit", s.Stats().Circuit, BreakerHalfOpen)
				unwant(s)
				s.until(time.Minute)
				c.got(t).Release()
				same(t, "circuit", s.Stats().Circuit, BreakerClosed)
			})
		})
	}
}

func TestWhoCannotLiveToSeeTheNextTrialIsToldAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := tripped(t, Config[*part]{}, func(context.Context, int) error { return errDown })
		began := s.at()
		check := func(err error) {
			t.Helper()
			is(t, err, ErrCircuitOpen)
			is(t, err, errDown)
			e := as[*CircuitOpenError](t, err)
			same(t, "pool", e.Pool, "pool")
			between(t, "the next trial", e.Next.Sub(s.start), time.Second, 1251*time.Millisecond)
		}
		check(s.claim(within(t, 900*time.Millisecond)).failed(t))
		_, err := s.AcquireWith(t.Context(), AcquireOptions{NoWait: true})
		check(err)
		same(t, "time it took", s.at(), began)
		// Who can see it waits; if it fails, the oldest learns that, and those who
		// cannot see the one after it are told.
		oldest, short, long := s.claim(t.Context()), s.claim(within(t, 2*time.Second)), s.claim(t.Context())
		s.until(1300 * time.Millisecond)
		as[*OpenError](t, oldest.failed(t))
		is(t, short.failed(t), ErrCircuitOpen)
		same(t, "when both were told", []time.Duration{oldest.at, short.at}, []time.Duration{s.starts()[5], s.starts()[5]})
		if long.done() {
			t.Errorf("told too early: %v", long.err)
		}
	})
}

func TestWhoseAcquireTimeoutEndsBeforeTheNextTrialIsToldAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := tripped(t, Config[*part]{AcquireTimeout: 900 * time.Millisecond}, nil)
		c := s.claim(t.Context())
		is(t, c.failed(t), ErrCircuitOpen)
		s.until(time.Second) // from now on it would live to see it
		c = s.claim(t.Context())
		s.until(2 * time.Second)
		if c.err != nil {
			t.Errorf("after the pause: %v", c.err)
		}
		c.got(t).Release()
	})
}

func TestATrialThatHangsOrPanicsIsFollowedByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := tripped(t, Config[*part]{OpenTimeout: time.Second}, func(_ context.Context, n int) error {
			switch n {
			case 1:
				time.Sleep(time.Minute)
			case 2:
				panic(errBroken)
			case 3:
				runtime.Goexit()
			}
			return nil
		})
		for range 3 {
			c := s.claim(t.Context())
			s.pass(10 * time.Second)
			as[*OpenError](t, c.failed(t))
		}
		s.lease().Release()
		same(t, "circuit", s.Stats().Circuit, BreakerClosed)
		s.until(time.Hour)
	})
}

// A pool whose callers are all in a hurry must still find out that its peer is up.
func TestARefusedCallerLeavesATrialBehind(t *testing.T) {
	for name, opts := range map[string]AcquireOptions{"no wait": {NoWait: true}, "short deadline": {}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := tripped(t, Config[*part]{}, nil)
				_, err := s.AcquireWith(within(t, time.Millisecond), opts)
				is(t, err, ErrCircuitOpen)
				s.until(10 * time.Second)
				same(t, "circuit", s.Stats().Circuit, BreakerClosed)
				same(t, "trials", len(s.starts()), 6)
			})
		})
	}
}

func TestNoWaitLearnsOfTheOpenCircuitDuringATrialToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := tripped(t, Config[*part]{Max: 1}, func(context.Context, int) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		c := s.claim(t.Context())
		s.until(3 * time.Second)
		same(t, "circuit", s.Stats().Circuit, BreakerHalfOpen)
		_, err := s.AcquireWith(t.Context(), AcquireOptions{NoWait: true})
		is(t, err, ErrCircuitOpen)
		s.until(7 * time.Second)
		c.got(t).Release()
	})
}

func TestAnOpenCircuitDoesNotKeepAnyoneFromLiveResources(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var down atomic.Bool
		s := setStage(t, Config[*part]{Max: 2, CircuitFailures: 1, OpenRetries: Off}, func(context.Context, int) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		l := s.lease()
		down.Store(true)
		c := s.claim(within(t, 800*time.Millisecond)) // its open fails and opens the circuit
		same(t, "circuit", s.Stats().Circuit, BreakerOpen)
		if c.done() {
			t.Fatalf("told although something is alive: %v", c.err)
		}
		late := s.claim(within(t, 700*time.Millisecond)) // ends before the next trial
		s.until(500 * time.Millisecond)
		l.Release()
		synctest.Wait()
		if c.err != nil || !c.done() {
			t.Fatalf("not served by a release: %+v", c)
		}
		s.until(700 * time.Millisecond)
		e := as[*ExhaustedError](t, late.failed(t)) // it had a chance until the end
		is(t, e, errDown)
		c.got(t).Release()
		s.lease().Release() // and with what is idle nobody notices
	})
}

func TestFailuresDoNotCountWithTheCircuitOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{CircuitFailures: Off, OpenRetries: Off}, func(context.Context, int) error { return errDown })
		for range 100 {
			as[*OpenError](t, s.claim(t.Context()).failed(t))
		}
		same(t, "circuit", s.Stats().Circuit, BreakerClosed)
	})
}
