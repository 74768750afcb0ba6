package core

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Shutdown wakes nobody (puddle, the Python pool).
func TestCloseWakesEveryWaiter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1, ShareLimit: 2}, nil)
		ls := s.leases(2)
		errs := make(chan error)
		for _, o := range []AcquireOptions{{}, {Exclusive: true}, {Key: "k"}, {}} {
			go func() {
				_, err := s.AcquireWith(t.Context(), o)
				errs <- err
			}()
		}
		synctest.Wait()
		same(t, "waiting", s.Stats().Waiting, 4)
		closed := make(chan error, 1)
		go func() { closed <- s.Close(context.Background()) }()
		for range 4 {
			is(t, <-errs, ErrClosed)
		}
		same(t, "time it took", s.at(), 0*time.Second)
		for _, l := range ls {
			l.Release()
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestAClosedPoolAnswersEveryCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 1}, nil)
		l := s.lease()
		l.Release()
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := s.Acquire(t.Context())
		is(t, err, ErrClosed)
		_, err = s.AcquireWith(t.Context(), AcquireOptions{NoWait: true})
		is(t, err, ErrClosed)
		_, ok := s.TryAcquire(t.Context())
		same(t, "TryAcquire", ok, false)
		is(t, s.Do(t.Context(), func(context.Context, *part) error { return nil }), ErrClosed)
		is(t, s.Resize(t.Context(), 1, 1), ErrClosed)
		is(t, s.WaitReady(t.Context()), ErrClosed)
		is(t, s.Close(noContext), ErrNilContext)
		s.Evict()
		l.Release()
		l.Discard(nil)
		_, err = l.Detach()
		is(t, err, ErrReleased)
		same(t, "stale", s.Stats().StaleReleases, uint64(3))
		same(t, "snapshot", len(s.Snapshot()), 0)
		same(t, "calls of Open", len(s.starts()), 1)
	})
}

func TestCloseOfNilContextChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		is(t, s.Close(noContext), ErrNilContext)
		s.lease().Release()
	})
}

func TestCloseWaitsForLeasesAsLongAsItsContextLasts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		s.lapse = true
		ls := s.leases(3)
		closed := make(chan error, 1)
		ctx := within(t, 10*time.Second)
		go func() { closed <- s.Close(ctx) }()
		s.until(4 * time.Second)
		ls[0].Release()
		synctest.Wait()
		same(t, "closed as it came back", len(s.ends()), 1)
		same(t, "the rest is valid", ls[1].Value() != nil, true)
		s.until(10 * time.Second)
		err := <-closed
		same(t, "what Close says", *as[*CloseError](t, err), CloseError{Pool: "pool", Revoked: 2, Cause: context.DeadlineExceeded}, cmpErrors)
		is(t, err, context.DeadlineExceeded)
		same(t, "reasons", []uint64{s.Stats().ClosedBy[ReasonClosed], s.Stats().ClosedBy[ReasonRevoked]}, []uint64{1, 2})
		same(t, "its value", ls[1].Value(), (*part)(nil))
		ls[1].Release()
		same(t, "stale", s.Stats().StaleReleases, uint64(1))
		same(t, "revoked", s.Stats().Revoked, uint64(2))
	})
}

func TestAContextThatHasEndedLeavesNoTimeForLeases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		s.lapse = true
		s.lease()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		same(t, "revoked", as[*CloseError](t, s.Close(ctx)).Revoked, 1)
		same(t, "time it took", s.at(), 0*time.Second)
	})
}

func TestEveryCloseReturnsTheSame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{CloseTimeout: time.Second}, func(_ context.Context, n int) error {
			if n == 2 {
				time.Sleep(time.Minute) // deaf
			}
			return nil
		})
		s.lapse = true
		s.lease()
		s.claim(within(t, time.Millisecond))
		errs := make(chan error)
		for _, ctx := range []context.Context{context.Background(), within(t, 3*time.Second), within(t, time.Hour)} {
			go func() { errs <- s.Close(ctx) }()
		}
		want := CloseError{Pool: "pool", Revoked: 1, Abandoned: 1, Cause: context.DeadlineExceeded}
		for range 3 {
			same(t, "what Close says", *as[*CloseError](t, <-errs), want, cmpErrors)
		}
		same(t, "when", s.at(), 3*time.Second)
		same(t, "what Close says again", *as[*CloseError](t, s.Close(t.Context())), want, cmpErrors)
		s.until(2 * time.Minute) // the deaf one has come back
		same(t, "and later", *as[*CloseError](t, s.Close(t.Context())), want, cmpErrors)
		same(t, "abandoned", s.Stats().Abandoned, 0)
		same(t, "the late resource is closed", len(s.ends()), 2)
	})
}

func TestCloseCountsTheCallbacksThatIgnoreTheirContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{
			CloseTimeout: 2 * time.Second,
			Close:        func(context.Context, *part) error { time.Sleep(10 * time.Minute); return nil },
			Probe:        func(_ context.Context, p *part) error { time.Sleep(10 * time.Minute); return nil },
		}
		s := setStage(t, cfg, func(_ context.Context, n int) error {
			if n == 3 {
				time.Sleep(10 * time.Minute)
			}
			return nil
		})
		s.lapse = true
		for _, l := range s.leases(2) {
			l.Release()
		}
		s.until(31 * time.Second) // one is being probed
		l := s.lease()
		s.claim(within(t, time.Millisecond)) // one is being opened
		s.pass(time.Millisecond)
		l.Release()
		began := s.at()
		e := as[*CloseError](t, s.Close(context.Background()))
		same(t, "what Close says", *e, CloseError{Pool: "pool", Abandoned: 4}, cmpErrors)
		between(t, "Close", s.at()-began, 2*time.Second, 2*time.Second+2*grace)
		same(t, "abandoned", s.Stats().Abandoned, 4)
		s.pass(time.Hour)
		same(t, "abandoned", s.Stats().Abandoned, 0)
	})
}

func TestCloseEndsOpensAndRetriesUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{RetryMin: time.Minute, RetryMax: time.Minute}, func(ctx context.Context, n int) error {
			if n == 1 {
				return errDown // and pauses for a minute
			}
			return pause(ctx, 5*time.Second)
		})
		first, second := s.claim(context.Background()), s.claim(context.Background())
		s.until(time.Second)
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		same(t, "time it took", s.at(), time.Second)
		synctest.Wait()
		is(t, first.failed(t), ErrClosed)
		is(t, second.failed(t), ErrClosed)
	})
}

func TestAnOpenThatSucceedsAsThePoolClosesIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return nil
		})
		s.claim(context.Background())
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		same(t, "closed", s.Stats().ClosedBy[ReasonClosed], uint64(1))
	})
}

func TestCloseMayBeCalledFromEveryCallbackAndHook(t *testing.T) {
	for _, name := range []string{
		"Open", "Warmup", "Close", "Probe", "Reset", "Broken", "Permanent",
		"OpenStart", "OpenEnd", "CloseStart", "CloseEnd", "ProbeStart", "ProbeEnd",
		"CircuitOpened", "CircuitClosed", "Resized", "Leaked", "Degraded", "Recovered", "Panicked",
		"AcquireStart", "Released",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var s *stage
				var began, took atomic.Int64
				took.Store(-1)
				closing := once(func() {
					began.Store(int64(s.at()))
					_ = s.Close(context.Background()) // with no end of its own
					took.Store(int64(s.at()) - began.Load())
				})
				at := func(callback string) {
					if callback == name {
						closing()
					}
				}
				fails := 1
				if name == "Degraded" || name == "Recovered" {
					fails = 2
				}
				cfg := Config[*part]{
					LeakAfter: 30 * time.Second, CircuitFailures: 1, OpenRetries: Off, Degrade: true,
					Warmup:    func(context.Context, *part) error { at("Warmup"); return nil },
					Close:     func(context.Context, *part) error { at("Close"); return nil },
					Probe:     func(context.Context, *part) error { at("Probe"); return nil },
					Reset:     func(context.Context, *part) error { at("Reset"); return nil },
					Broken:    func(error) bool { at("Broken"); return true },
					Permanent: func(error) bool { at("Permanent"); return false },
					Hooks: Hooks{
						OpenStart:     func(ctx context.Context, _ OpenStart) context.Context { at("OpenStart"); return ctx },
						OpenEnd:       func(context.Context, OpenEnd) { at("OpenEnd") },
						CloseStart:    func(ctx context.Context, _ CloseStart) context.Context { at("CloseStart"); return ctx },
						CloseEnd:      func(context.Context, CloseEnd) { at("CloseEnd") },
						ProbeStart:    func(ctx context.Context, _ ProbeStart) context.Context { at("ProbeStart"); return ctx },
						ProbeEnd:      func(context.Context, ProbeEnd) { at("ProbeEnd") },
						CircuitOpened: func(CircuitOpened) { at("CircuitOpened") },
						CircuitClosed: func(CircuitClosed) { at("CircuitClosed") },
						Resized:       func(Resized) { at("Resized") },
						Leaked:        func(Leaked) { at("Leaked") },
						Degraded:      func(Degraded) { at("Degraded") },
						Recovered:     func(Recovered) { at("Recovered") },
						Panicked:      func(Panicked) { at("Panicked") },
						AcquireStart:  func(ctx context.Context, _ AcquireStart) context.Context { at("AcquireStart"); return ctx },
						Released:      func(Released) { at("Released") },
					},
				}
				if name == "Degraded" || name == "Recovered" {
					cfg.Min = 1
				}
				ready := make(chan struct{})
				s = setStage(t, cfg, func(_ context.Context, n int) error {
					<-ready
					at("Open")
					if name == "Panicked" && n == 2 {
						panic("so that there is something to report")
					}
					if n <= fails {
						return errDown
					}
					return nil
				})
				close(ready)
				s.lapse = true
				s.pass(2 * time.Minute)
				for range 3 {
					if c := s.claim(within(t, time.Minute)); c.err == nil && c.done() {
						c.lease.Release()
					}
					s.pass(time.Minute)
				}
				if s.Stats().Live > 0 {
					_ = s.Do(t.Context(), func(context.Context, *part) error { return errBroken })
				}
				if name == "Leaked" {
					l := s.lease()
					s.pass(time.Minute)
					l.Release()
				}
				_ = s.Resize(t.Context(), cfg.Min, 5)
				s.pass(time.Minute)
				if took.Load() < 0 {
					t.Fatalf("%s was never called, or Close never returned: began at %v", name, began.Load())
				}
				limit := s.cfg.CloseTimeout + grace
				if name == "Leaked" { // there is a lease to wait for
					limit = time.Minute
				}
				between(t, "Close", time.Duration(took.Load()), 0, limit)
			})
		})
	}
}

func TestAHolderThatClosesWithAnEndGetsItsLeaseTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		s.lapse = true
		err := s.Do(t.Context(), func(context.Context, *part) error { return s.Close(within(t, time.Second)) })
		same(t, "revoked", as[*CloseError](t, err).Revoked, 1)
		if errors.Is(err, ErrClosed) {
			t.Error("it is not the caller who was refused")
		}
	})
}
