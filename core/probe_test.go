package core

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// probes writes down when which resource was probed.
type probes struct {
	mu      sync.Mutex
	at      map[int][]time.Duration
	running int
	most    int
}

func (ps *probes) begin(s *part) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.at == nil {
		ps.at = make(map[int][]time.Duration)
	}
	ps.at[s.id] = append(ps.at[s.id], s.stage.at())
	ps.running++
	ps.most = max(ps.most, ps.running)
}

func (ps *probes) end() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.running--
}

func (ps *probes) of(id int) []time.Duration {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return append([]time.Duration(nil), ps.at[id]...)
}

func (ps *probes) total() (n int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, at := range ps.at {
		n += len(at)
	}
	return n
}

// lasting makes a probe that takes d.
func (ps *probes) lasting(d time.Duration) func(context.Context, *part) error {
	return func(ctx context.Context, p *part) error {
		ps.begin(p)
		defer ps.end()
		return pause(ctx, d)
	}
}

func TestIdleResourcesAreProbedAtTheInterval(t *testing.T) {
	for _, duration := range []time.Duration{0, time.Millisecond, 3 * time.Second} {
		bubble(t, func(t *testing.T) {
			var ps probes
			s := setStage(t, Config[*part]{Min: 1, Max: 1, MaxLifetime: Off, Probe: ps.lasting(duration)}, nil)
			s.until(10 * time.Minute)
			at := ps.of(1)
			for i := 1; i < len(at); i++ {
				between(t, "from probe to probe", at[i]-at[i-1], 30*time.Second, 30*time.Second)
			}
			if len(at) < 19 {
				t.Errorf("%d probes in 10 min: %v", len(at), at)
			}
			same(t, "probes", s.Stats().Probes, uint64(len(at)))
		})
	}
}

// Probes that take the whole pool (pgx), and those that never get round to some.
func TestProbesTakeOneSlotAtATimeAndLeaveNoneOut(t *testing.T) {
	for _, test := range []struct {
		atOnce          int
		takes           time.Duration
		soonest, latest time.Duration // from one probe of a resource to the next
	}{
		{1, time.Second, 30 * time.Second, 45 * time.Second},
		{3, time.Second, 30 * time.Second, 45 * time.Second},
		{1, 4 * time.Second, 80 * time.Second, 90 * time.Second}, // more than there is time for
	} {
		bubble(t, func(t *testing.T) {
			var ps probes
			s := setStage(t, Config[*part]{
				Min: 20, Max: 20, MaxOpening: Off, MaxLifetime: Off, MaxProbing: test.atOnce, Probe: ps.lasting(test.takes),
			}, nil)
			for range 600 {
				s.pass(time.Second)
				if busy := s.Stats().Live - s.Stats().Idle; busy > test.atOnce {
					t.Fatalf("%d resources are out for a probe", busy)
				}
			}
			same(t, "most at once", ps.most, test.atOnce)
			for id := 1; id <= 20; id++ {
				at := ps.of(id)
				if len(at) < int(570*time.Second/test.latest) {
					t.Errorf("resource %d was probed %d times in 10 min", id, len(at))
				}
				for i := 1; i < len(at); i++ {
					between(t, "from probe to probe", at[i]-at[i-1], test.soonest, test.latest)
				}
			}
		})
	}
}

func TestNoLeasedSlotIsProbed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ps probes
		s := setStage(t, Config[*part]{Max: 2, Probe: ps.lasting(0)}, nil)
		ls := s.leases(2)
		s.until(10 * time.Minute)
		same(t, "probes", ps.total(), 0)
		ls[1].Release()
		s.until(20 * time.Minute)
		same(t, "probes of what is leased", len(ps.of(1)), 0)
		if len(ps.of(2)) == 0 {
			t.Error("what is idle is not probed")
		}
		ls[0].Release()
	})
}

func TestNoProbeBeginsWhileSomebodyWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ps probes
		s := setStage(t, Config[*part]{Max: 2, Probe: ps.lasting(time.Second)}, nil)
		// A pin waits for what is taken; the other resource is idle all the while.
		pin := AcquireOptions{Key: "k", Affinity: Pin}
		l, err := s.AcquireWith(t.Context(), pin)
		if err != nil {
			t.Fatal(err)
		}
		s.lease().Release()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = s.AcquireWith(ctx, pin) }()
		s.until(5 * time.Minute)
		same(t, "waiting", s.Stats().Waiting, 1)
		same(t, "probes", ps.total(), 0)
		cancel()
		s.until(6 * time.Minute)
		if ps.total() == 0 {
			t.Error("no probe after that")
		}
		l.Release()
	})
}

func TestAFailedProbeRetiresAndMinIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ends journal
		cfg := Config[*part]{Min: 2, Max: 2, Probe: func(_ context.Context, p *part) error {
			if p.id == 2 {
				return errBroken
			}
			return nil
		}}
		cfg.Hooks.ProbeEnd = func(_ context.Context, e ProbeEnd) {
			if e.Err != nil {
				ends.note("probe of %d: %v", e.ID, e.Err)
			}
		}
		cfg.Hooks.CloseEnd = func(_ context.Context, e CloseEnd) {
			if e.Reason == ReasonProbe {
				ends.note("close of %d: %v, %v", e.ID, e.Reason, e.Cause)
			}
		}
		s := setStage(t, cfg, nil)
		s.until(time.Minute)
		same(t, "alive", s.Stats().Live, 2)
		same(t, "failures", s.Stats().ProbeFailures, uint64(1))
		same(t, "events", len(ends.all()), 2)
		same(t, "closed", s.ends()[0].part.id, 2)
	})
}

func TestAProbeIsBoundedByProbeTimeoutAndItsFailureRetires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Min: 1, Probe: func(ctx context.Context, _ *part) error {
			<-ctx.Done()
			return ctx.Err()
		}}, nil)
		s.until(34 * time.Second)
		same(t, "closed", s.Stats().Closed, uint64(0))
		s.until(43 * time.Second) // a sweep of 7.5 s later at most
		same(t, "closed", s.Stats().ClosedBy[ReasonProbe], uint64(1))
	})
}

func TestAResourceIsProbedBeforeALeaseAfterLongIdleness(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ps probes
		s := setStage(t, Config[*part]{
			Max: 1, ProbeInterval: Off, ProbeAfterIdle: time.Minute, MaxIdleTime: Off, MaxLifetime: Off, Probe: ps.lasting(time.Second),
		}, nil)
		s.lease().Release()
		s.until(59 * time.Second)
		s.lease().Release()
		same(t, "probes", ps.total(), 0) // it was not idle for long
		s.until(149 * time.Second)       // idle 90 s, seen by one sweep at least
		if _, ok := s.TryAcquire(t.Context()); ok {
			t.Error("TryAcquire waited for a probe, or did without")
		}
		synctest.Wait()
		same(t, "a probe begins", ps.total(), 1)
		s.pass(time.Second)
		l, ok := s.TryAcquire(t.Context())
		same(t, "leased after it", ok, true)
		l.Release()
		s.pass(2 * time.Minute)
		began := s.at()
		l = s.lease()
		same(t, "wait for the probe", s.at()-began, time.Second)
		same(t, "probes", ps.total(), 2)
		l.Release()
	})
}

func TestAProbeNotLongAgoIsGoodEnoughForALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ps probes
		s := setStage(t, Config[*part]{Min: 1, ProbeAfterIdle: time.Minute, MaxLifetime: Off, Probe: ps.lasting(time.Second)}, nil)
		s.until(9*time.Minute + 10*time.Second)
		n, began := ps.total(), s.at()
		s.lease().Release()
		same(t, "probes for it", ps.total()-n, 0)
		same(t, "wait", s.at()-began, 0*time.Second)
	})
}

func TestAProbeBeforeALeaseThatFailsIsFollowedByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{Max: 2, ProbeInterval: Off, ProbeAfterIdle: time.Minute, MaxIdleTime: Off, Probe: func(_ context.Context, p *part) error {
			time.Sleep(time.Second)
			if p.id == 1 {
				return errBroken
			}
			return nil
		}}
		s := setStage(t, cfg, func(_ context.Context, n int) error {
			if n > 2 {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		for _, l := range s.leases(2) {
			l.Release()
		}
		s.until(2 * time.Minute)
		first, second := s.claim(t.Context()), s.claim(t.Context())
		s.until(2*time.Minute + time.Second)
		same(t, "closed", s.Stats().ClosedBy[ReasonProbe], uint64(1))
		same(t, "leased", first.got(t).ID(), uint64(2))
		s.until(2*time.Minute + 6*time.Second)
		same(t, "a replacement", second.got(t).ID(), uint64(3))
		first.lease.Release()
		second.lease.Release()
	})
}

func TestACallerIsNotLeftWaitingForAnOpenWhileAnotherCouldBeProbed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{Max: 2, ProbeInterval: Off, ProbeAfterIdle: time.Minute, MaxIdleTime: Off, Probe: func(_ context.Context, p *part) error {
			time.Sleep(time.Second)
			if p.id == 1 {
				return errBroken
			}
			return nil
		}}
		s := setStage(t, cfg, func(_ context.Context, n int) error {
			if n > 2 {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		for _, l := range s.leases(2) {
			l.Release()
		}
		s.until(2 * time.Minute)
		c := s.claim(t.Context())
		s.pass(2 * time.Second) // the first fails, the second does not
		same(t, "leased", c.got(t).ID(), uint64(2))
		c.lease.Release()
		s.pass(5 * time.Second) // the open that began meanwhile
	})
}

func TestAsManyAreProbedBeforeALeaseAsThereAreCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ps probes
		s := setStage(t, Config[*part]{
			Max: 10, ProbeInterval: Off, ProbeAfterIdle: time.Minute, MaxIdleTime: Off, MaxLifetime: Off, Probe: ps.lasting(time.Second),
		}, nil)
		for _, l := range s.leases(10) {
			l.Release()
		}
		s.until(2 * time.Minute)
		var claims []*claim
		for range 3 {
			claims = append(claims, s.claim(t.Context()))
		}
		s.pass(time.Second)
		for _, c := range claims {
			c.got(t).Release()
		}
		same(t, "probes", ps.total(), 3)
	})
}

func TestAPinAndAnExclusiveClaimWaitForTheProbeOfAStaleResource(t *testing.T) {
	for name, o := range map[string]AcquireOptions{"pin": {Key: "k", Affinity: Pin}, "exclusive": {Exclusive: true}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var ps probes
				s := setStage(t, Config[*part]{
					Max: 1, ShareLimit: 2, ProbeInterval: Off, ProbeAfterIdle: time.Minute, MaxIdleTime: Off, MaxLifetime: Off,
					Probe: ps.lasting(time.Second),
				}, nil)
				l, err := s.AcquireWith(t.Context(), AcquireOptions{Key: "k"})
				if err != nil {
					t.Fatal(err)
				}
				l.Release()
				s.until(2 * time.Minute)
				l, err = s.AcquireWith(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				same(t, "probes", ps.of(1), []time.Duration{2 * time.Minute})
				same(t, "wait", s.at(), 2*time.Minute+time.Second)
				l.Release()
			})
		})
	}
}
