package core

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdleResourcesBeyondMinAreTrimmedFromTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 2, MaxLifetime: Off}, nil) // idle for 10 min, a sweep every 10 s
		s.pass(time.Second)
		for _, l := range s.leases(6) {
			l.Release()
		}
		s.until(10 * time.Minute)
		same(t, "closed before their time", len(s.ends()), 0)
		s.until(10*time.Minute + 20*time.Second)
		same(t, "closed", s.Stats().ClosedBy[ReasonIdle], uint64(4))
		var kept []uint64
		for _, r := range s.Snapshot() {
			kept = append(kept, r.ID)
		}
		slices.Sort(kept) // the two of Min were opened side by side
		same(t, "kept", kept, []uint64{1, 2})
		s.until(10 * time.Hour)
		same(t, "alive", s.Stats().Live, 2)
		same(t, "opened", s.Stats().Opened, uint64(6))
	})
}

// The first slots are filled first, so surplus goes idle although all are used in turn.
func TestALightLoadLetsTheSurplusGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{MaxIdleTime: time.Minute}, nil)
		for _, l := range s.leases(10) {
			l.Release()
		}
		for range 100 {
			l := s.lease()
			s.pass(time.Second)
			l.Release()
		}
		same(t, "alive", s.Stats().Live, 1)
	})
}

func TestIdleTimeIsExactToOneSweep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{MaxIdleTime: 40 * time.Second, MaxLifetime: Off}, nil) // sweeps every 10 s
		for i := range 20 {
			s.pass(time.Duration(i) * 1700 * time.Millisecond)
			l := s.lease()
			l.Release()
			released := s.at()
			s.pass(35 * time.Second)
			idle := s.Snapshot()[0].Idle
			between(t, "idle time", idle, 25*time.Second, 35*time.Second)
			s.pass(25 * time.Second)
			ends := s.ends()
			if len(ends) != i+1 {
				t.Fatalf("%d closed in round %d", len(ends), i)
			}
			between(t, "closed after", ends[i].at-released, 40*time.Second, 60*time.Second)
		}
	})
}

func TestAPoolOpensMinAtOnceAndKeepsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 3}, nil)
		synctest.Wait()
		same(t, "alive", s.Stats().Live, 3)
		for range 3 {
			s.lease().Discard(errBroken)
			synctest.Wait()
			same(t, "alive", s.Stats().Live, 3)
		}
		if _, err := s.lease().Detach(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		same(t, "alive", s.Stats().Live, 3)
		same(t, "time it took", s.at(), 0*time.Second)
	})
}

// Reconnect storms without backoff (pgx, go-redis).
func TestRefillingBacksOffWhileOpensFail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var down atomic.Bool
		s := setStage(t, Config[*part]{Min: 2, OpenRetries: Off, CircuitFailures: Off}, func(context.Context, int) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		synctest.Wait()
		down.Store(true)
		s.Evict()
		synctest.Wait()
		before := len(s.starts())
		s.until(10 * time.Minute)
		// Pauses double to 2 s: 2 opens each 1.5 to 2 s, and a few at first.
		if n := len(s.starts()) - before; n < 500 || n > 900 {
			t.Errorf("%d calls of Open in 10 min", n)
		}
		at := s.starts()[before:]
		for i := 10; i+2 < len(at); i++ {
			if at[i+2]-at[i] < 1500*time.Millisecond {
				t.Fatalf("three opens within %v", at[i+2]-at[i])
			}
		}
		down.Store(false)
		s.pass(2 * time.Second)
		same(t, "alive", s.Stats().Live, 2)
	})
}

func TestPausesBetweenRefillsDoubleFromRetryMinToRetryMaxAndStartAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 1, OpenRetries: Off, CircuitFailures: Off}, func(_ context.Context, n int) error {
			if n == 9 {
				return nil
			}
			return errDown
		})
		s.until(time.Minute)
		s.Evict()
		s.pass(time.Minute)
		at := s.starts()
		for _, first := range []int{0, 9} {
			for i, d := range []time.Duration{100, 200, 400, 800, 1600, 2000, 2000, 2000} {
				d *= time.Millisecond
				between(t, "a pause", at[first+i+1]-at[first+i], max(d*3/4, 100*time.Millisecond), max(d, 125*time.Millisecond))
			}
		}
	})
}

func TestRefillingWaitsForTheTrialsOfAnOpenCircuit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 5}, func(context.Context, int) error { return errDown })
		s.until(10 * time.Minute)
		// 5 failures and those that overlap them, 5 trials to 30 s, then one in 22.5 to 30 s.
		if n := len(s.starts()); n < 25 || n > 60 {
			t.Errorf("%d calls of Open in 10 min", n)
		}
	})
}

// A waiter with something alive is no reason to dial in a loop.
func TestOpensForWaitersBackOffWhileSomethingIsAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{OpenRetries: Off, CircuitFailures: Off}, func(_ context.Context, n int) error {
			if n > 1 {
				return errDown
			}
			return nil
		})
		l := s.lease()
		c := s.claim(t.Context())
		s.until(time.Minute)
		if n := len(s.starts()); n < 30 || n > 50 {
			t.Errorf("%d calls of Open in a minute", n)
		}
		l.Release()
		synctest.Wait()
		c.got(t).Release()
	})
}

func TestNothingIsOpenedForNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		s.until(10 * time.Hour)
		same(t, "calls of Open", len(s.starts()), 0)
	})
}

// A pool that was full when it was asked has no standing order for one more.
func TestTryAcquireOnAFullPoolOpensNothingLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1}, nil)
		l := s.lease()
		if _, ok := s.TryAcquire(t.Context()); ok {
			t.Error("two leases on one resource")
		}
		l.Discard(nil)
		s.until(time.Minute)
		same(t, "calls of Open", len(s.starts()), 1)
	})
}

func acquireForLeak(s *stage) Lease[*part] { return s.lease() }

func TestALeakIsReportedOnceWithItsStack(t *testing.T) {
	for _, stacks := range []bool{true, false} {
		for _, share := range []int{1, 4} {
			bubble(t, func(t *testing.T) {
				leaks := make(chan Leaked, 10)
				cfg := Config[*part]{LeakAfter: time.Minute, Stacks: stacks, ShareLimit: share, MaxLifetime: Off}
				cfg.Hooks.Leaked = func(e Leaked) { leaks <- e }
				s := setStage(t, cfg, nil)
				s.pass(3 * time.Second)
				l := acquireForLeak(s)
				s.pass(time.Minute)
				same(t, "leaks before its time", s.Stats().Leaks, uint64(0))
				s.pass(20 * time.Second) // two sweeps of 10 s
				e := <-leaks
				same(t, "pool", e.Pool, "pool")
				same(t, "resource", e.ID, l.ID())
				between(t, "held", e.Held, time.Minute, 80*time.Second)
				same(t, "its stack", strings.Contains(e.Stack, "acquireForLeak"), stacks)
				same(t, "stack", e.Stack != "", stacks)
				s.pass(time.Hour)
				same(t, "leaks", s.Stats().Leaks, uint64(1))
				same(t, "it is still valid", l.Value() != nil, true)
				l.Release()
				l = s.lease()
				s.pass(time.Hour)
				same(t, "leaks", s.Stats().Leaks, uint64(2)) // another lease, another leak
				l.Release()
			})
		}
	}
}

func TestLeasesHeldNotTooLongAreNoLeaks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{LeakAfter: time.Minute, Max: 1}, nil)
		for range 100 { // always the same resource, always leased when the keeper looks
			l := s.lease()
			s.pass(59 * time.Second)
			l.Release()
		}
		same(t, "leaks", s.Stats().Leaks, uint64(0))
	})
}

// A lease that leaks keeps its slot from retiring: all the more reason to say so.
func TestALeakOnARetiringSlotIsReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{LeakAfter: time.Minute}, nil)
		l := s.lease()
		s.Evict()
		s.pass(2 * time.Minute)
		same(t, "leaks", s.Stats().Leaks, uint64(1))
		l.Release()
	})
}
